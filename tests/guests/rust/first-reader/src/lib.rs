//! Reads and writes the first major version of the contract of the target `crm`.

use syncline_sdk::prelude::*;

plugin! {
    FirstReader { targets: ["crm@1"], lookups: ["crm@1"], process: greet }
}

/// Adds to the name what the event says, or writes the event's entity where nothing is there.
fn greet(event: &Event) -> Result<Verdict> {
    let key: String = event.get("/key")?;
    let effect = match lookup::get("crm", &key)? {
        None => Effect::upsert(key).json(&event.json::<Value>()?)?,
        Some(found) => {
            let held: Value = found.json()?;
            let name = held["name"].as_str();
            let name = name.or_reject("it has no name in the first version")?;
            let name = format!("{name}, {}", event.get::<String>("/name")?);
            Effect::merge(key)
                .json(&json!({ "name": name }))?
                .if_etag(found.etag)
        }
    };
    Ok(Verdict::apply([effect.to("crm")]))
}
