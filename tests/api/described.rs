//! The description of the API against what it does: requests made up by schemathesis.

use super::TOKEN;
use super::changes::World;
use super::python;
use serde_json::json;
use tokio::process::Command;

/// How many requests are made up for each operation; `SCHEMATHESIS_EXAMPLES` for more, by hand.
const EXAMPLES: &str = "25";

/// The target `crm` serves another version as well, in which `n` is called `count`.
fn earlier_version(world: &World) -> String {
    let schema = json!({
        "type": "object",
        "properties": { "id": { "type": "string" }, "count": { "type": "integer" } },
        "required": ["count"],
        "not": { "required": ["n"] },
    });
    let operations = ["retrieve", "upsert", "merge", "delete"];
    let customer = json!({ "operations": operations, "schema": schema });
    let entities = json!({ "customer": customer });
    let contract =
        json!({ "name": "crm", "version": 1, "default": "customer", "entities": entities });
    let cases = json!([{ "key": "a", "data": { "count": 1 }, "patch": { "count": 2 } }]);
    for (file, content) in [("crm.v1.json", contract), ("cases.json", cases)] {
        std::fs::write(world.env.folder().join(file), content.to_string()).unwrap();
    }
    r#"
[plugins.adapt]
path = "${ADAPT_MEMBERS}"
config = { rename = { "/count" = "/n" } }

[[targets.crm.versions]]
version = 1
schema = "crm.v1.json"
adapter = "adapt"
cases = "cases.json"
"#
    .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_described_is_what_it_does() {
    let world = World::start().await;
    let config = world.config() + &earlier_version(&world);
    let runtime = world.env.run(&config).await;
    let document = format!("http://{}/openapi.json", runtime.api());
    let examples = std::env::var("SCHEMATHESIS_EXAMPLES");
    let mut client = Command::new(python::program("schemathesis"));
    client
        .args(["run", &document, "--header"])
        .arg(format!("Authorization: Bearer {TOKEN}"))
        .args(["--max-examples", examples.as_deref().unwrap_or(EXAMPLES)])
        // What it makes up is the same each time, and nothing of it is kept.
        .args(["--seed", "1", "--generation-database", "none"])
        // What a table has no column for, and versions that are not there, no schema can tell.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(world.env.folder());
    let told = python::run(&mut client).await;
    // As in `1872 generated, 1872 passed, 48 skipped`.
    let counts = told.lines().find(|line| line.contains(" generated, "));
    let mut counts = counts.unwrap_or(&told).trim().split(", ");
    let count = |text: Option<&str>| text.and_then(|text| text.split(' ').next()?.parse().ok());
    let n_generated: Option<u32> = count(counts.next());
    assert_eq!(
        count(counts.find(|it| it.ends_with(" passed"))),
        n_generated,
        "{told}"
    );
    assert!(n_generated > Some(500), "{told}");
    assert!(runtime.drain().await.drained);
}
