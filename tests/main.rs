//! The system tests: the whole runtime against a real nats-server, its command line, its guests and
//! its own source. One binary; `harness` has what they share.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod harness;

mod api;
mod atomic;
mod attempts;
mod backfill;
mod bench;
mod chaos;
mod cli;
mod contracts;
mod dead_letter;
mod dedupe;
mod delivery;
mod drift;
mod failures;
mod flow;
mod hot_load;
mod http;
mod isolation;
mod languages;
mod lists;
mod lookup;
mod nats;
mod ordering;
mod outbound;
mod parking;
mod partitions;
mod pause;
mod postgres;
mod replay;
mod routing;
mod sdk;
mod soak;
mod standby;
mod state;
mod stop;
mod targets;
mod tidy;

use std::path::Path;

/// With `autotests = false` a file that nobody names would never be compiled.
#[test]
fn no_test_file_is_forgotten() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    check_modules(folder, &folder.join("main.rs"));
}

/// Every Rust file in a folder is a module of the file that the folder belongs to.
fn check_modules(folder: &Path, parent: &Path) {
    let named = std::fs::read_to_string(parent).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source && path != parent && !["main", "build"].contains(&name) {
            let is_named = named
                .lines()
                .any(|line| line.ends_with(&format!("mod {name};")));
            assert!(
                is_named,
                "{} is not part of {}",
                path.display(),
                parent.display()
            );
        }
        let own = [path.with_extension("rs"), path.join("mod.rs")];
        if path.is_dir()
            && let Some(own) = own.iter().find(|file| file.is_file())
        {
            check_modules(&path, own);
        }
    }
}
