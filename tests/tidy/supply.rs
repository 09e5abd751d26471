//! Under which licences the code we link comes.

use super::no_faults;
use super::sources::root;
use serde::Deserialize;
use std::process::Command;

/// Licences that ask for no more than to be named. Extend it with a reason, not in passing.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

#[test]
fn every_dependency_has_a_licence_we_can_live_with() {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", &host()])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "cargo metadata failed: {said}");
    let metadata: Metadata = serde_json::from_slice(&cargo.stdout).expect("cargo prints JSON");
    assert!(metadata.packages.len() > 200);
    let mut faults = Vec::new();
    for package in metadata.packages {
        let license = package.license.unwrap_or_default();
        if !is_allowed(&license) {
            let (name, version) = (package.name, package.version);
            faults.push(format!("{name} {version}: {license:?}"));
        }
    }
    no_faults("licences that are not on the list", &faults);
}

fn host() -> String {
    let rustc = Command::new("rustc").arg("-vV").output();
    let said = String::from_utf8(rustc.expect("rustc runs").stdout).expect("rustc prints text");
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

/// Of an `OR` one side is enough, of an `AND` both are needed. Old manifests write `/` for `OR`.
fn is_allowed(license: &str) -> bool {
    let license = license.replace('/', " OR ").replace(['(', ')'], " ");
    license.split(" AND ").all(|part| {
        part.split(" OR ").any(|choice| {
            let choice = choice.split_whitespace().collect::<Vec<_>>().join(" ");
            ALLOWED.contains(&choice.as_str())
        })
    })
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "Apache-2.0/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
