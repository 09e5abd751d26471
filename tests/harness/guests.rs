//! The guests that the build script made, by the name that configurations use.

use std::path::Path;

/// `(NAME, file)`: `PROBE` is `tests/guests/rust/probe`, `ENRICH` is `plugins/enrich`.
const TABLE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// A guest's file, if there is such a guest.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    let found = TABLE.iter().find(|(known, _)| *known == name);
    found.map(|(_, file)| *file)
}

/// A guest's file.
pub(crate) fn file(name: &str) -> &'static Path {
    Path::new(find(name).unwrap_or_else(|| panic!("there is no guest {name}")))
}

/// A guest's bytes.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// Every guest, for the environment of a program.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().copied()
}
