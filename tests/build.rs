//! Builds what the tests load: `plugins/*` and `guests/rust/*` as components, and says where they are
//! in `guests.rs` below OUT_DIR.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const WASM: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

fn main() -> Result<(), Box<dyn Error>> {
    let tests = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let root = tests.parent().ok_or("the tests lie in no workspace")?;
    let guests = tests.join("guests/rust");
    for changed in [
        "plugins",
        "sdk/src",
        "sdk/Cargo.toml",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(changed).display());
    }
    println!("cargo::rerun-if-changed={}", guests.display());

    // Not the target directory of the outer cargo: that one is locked while this script runs.
    let target = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR is not below a target directory")?;
    let target = target.join("guests-build");
    let mut names = Vec::new();
    for folder in [root.join("plugins"), guests] {
        let found = packages(&folder)?;
        let manifest = match folder.join("Cargo.toml") {
            own if own.is_file() => own,
            _ => root.join("Cargo.toml"),
        };
        build(&manifest, &found, &target)?;
        names.extend(found);
    }
    warn_of_unused(&tests, &names)?;
    std::fs::write(out.join("guests.rs"), table(&names, &target)?)?;
    Ok(())
}

fn variable(name: &str) -> Result<String, Box<dyn Error>> {
    let value = std::env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))?;
    Ok(value
        .into_string()
        .map_err(|_| format!("{name} is not text"))?)
}

/// The packages in a folder; each is named as its own folder.
fn packages(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(manifest: &Path, packages: &[String], target: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--lib",
        "--target",
        WASM,
        "--profile",
        PROFILE,
    ]);
    command.arg("--manifest-path").arg(manifest);
    command.arg("--target-dir").arg(target);
    for package in packages {
        command.arg("--package").arg(package);
    }
    // Meant for the host's code: with them the guests would be built anew for every command.
    for host in [
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
    ] {
        command.env_remove(host);
    }
    if command.status()?.success() {
        return Ok(());
    }
    let advice = format!("if the target {WASM} is missing: `make setup`");
    Err(format!(
        "the guests of {} do not build; {advice}",
        manifest.display()
    )
    .into())
}

/// `PROBE` for `probe`: what configurations name as `${PROBE}`.
fn constant(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

fn table(names: &[String], target: &Path) -> Result<String, Box<dyn Error>> {
    let built = target.join(WASM).join(PROFILE);
    let mut text = "&[\n".to_owned();
    for name in names {
        let file = built.join(format!("{}.wasm", name.replace('-', "_")));
        writeln!(text, "    ({:?}, {file:?}),", constant(name))?;
    }
    text.push_str("]\n");
    Ok(text)
}

/// A guest that no test names is dead weight.
fn warn_of_unused(tests: &Path, names: &[String]) -> Result<(), Box<dyn Error>> {
    let text = sources(tests)?;
    for name in names {
        let constant = constant(name);
        let used = [format!("${{{constant}}}"), format!("\"{constant}\"")];
        if !used.iter().any(|used| text.contains(used)) {
            println!("cargo::warning=no test uses the guest {name} (as \"{constant}\")");
        }
    }
    Ok(())
}

/// The text of every test file. The guests' own sources do not count.
fn sources(folder: &Path) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("guests") {
            text.push_str(&sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            println!("cargo::rerun-if-changed={}", path.display());
            text.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(text)
}
