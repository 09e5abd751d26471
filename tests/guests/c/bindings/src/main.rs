//! `bindings WIT OUT`: writes `plugin.h`, `plugin.c` and the object with the component type of
//! world `plugin`.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use wit_bindgen_core::{Files, wit_parser::Resolve};

fn main() -> Result<()> {
    let mut args = env::args_os().skip(1);
    let wit = args.next().context("which WIT folder?")?;
    let out = args.next().context("which output folder?")?;

    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some("plugin"))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;

    for (name, contents) in files.iter() {
        fs::write(Path::new(&out).join(name), contents).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}
