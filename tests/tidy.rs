//! Rules about the text of this repository that no compiler checks.
//!
//! They read lines, not syntax trees: rustfmt has brought every file into one form before.

mod docs;
mod names;
mod rooms;
mod size;
mod sources;
mod supply;
mod tree;

/// Fails with every fault at once: they are corrected in one go.
fn no_faults(rule: &str, faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{rule}; {} faults:\n  {}",
        faults.len(),
        faults.join("\n  ")
    );
}
