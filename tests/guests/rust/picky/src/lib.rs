//! Wants the capability `state`, the secret `token` and lookups of the target `crm`, and takes only
//! events whose type begins with `picky.`; it stamps those.

use syncline_sdk::prelude::*;

plugin! {
    Picky {
        accepts: ["picky.*"],
        capabilities: ["state"],
        secrets: ["token"],
        lookups: ["crm"],
        process: stamp,
    }
}

fn stamp(event: &Event) -> Result<Verdict> {
    let mut data: Value = event.json()?;
    data["stamped"] = json!("picky");
    Ok(event.with_json(&data)?.into())
}
