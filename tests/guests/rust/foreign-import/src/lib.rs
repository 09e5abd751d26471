//! A plugin that imports a database: the host must refuse to load it and name the import.

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "
        package acme:database@1.0.0;

        interface query {
            rows: func(sql: string) -> list<string>;
        }

        world guest {
            import query;
            export syncline:plugin/handler@0.1.0;
        }
    ",
    world: "acme:database/guest",
    generate_all,
});

use exports::syncline::plugin::handler::Guest;
use syncline::plugin::types::{Context, Incoming, Manifest, Verdict};

struct Foreign;

export!(Foreign);

impl Guest for Foreign {
    fn describe() -> Manifest {
        Manifest {
            name: "foreign-import".into(),
            version: "1.0.0".into(),
            description: String::new(),
            accepts: vec![],
            targets: vec![],
            lookups: vec![],
            secrets: vec![],
            capabilities: vec![],
            config_schema: None,
            attributes: vec![],
        }
    }

    fn init(_: Context) -> Result<(), String> {
        Ok(())
    }

    fn process(_: Incoming) -> Verdict {
        Verdict::Drop(acme::database::query::rows("select 1").join(" "))
    }
}
