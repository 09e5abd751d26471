//! Says that it writes the first major version of the contract of the target `crm`.

use syncline_sdk::prelude::*;

plugin! {
    FirstVersion { targets: ["crm@1"], process: copy }
}

fn copy(event: &Event) -> Result<Verdict> {
    let data: Value = event.json()?;
    let effect = Effect::upsert(&*event.id).to("crm").json(&data)?;
    Ok(Verdict::apply([effect]))
}
