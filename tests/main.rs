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

mod cli;
mod dead_letter;
mod delivery;
mod failures;
mod hot_load;
mod isolation;
mod languages;
mod ordering;
mod routing;
mod sdk;
mod state;
mod targets;
mod tidy;

/// With `autotests = false` a file that nobody names would never be compiled.
#[test]
fn no_test_file_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source && !["main", "build"].contains(&stem) {
            let line = format!("\nmod {stem};\n");
            assert!(
                named.contains(&line),
                "{} is not part of main.rs",
                path.display()
            );
        }
    }
}
