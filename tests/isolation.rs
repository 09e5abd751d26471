//! Hostile plugins in the real host: whatever a guest does, the host answers for it in words, gives
//! nothing away, keeps its memory, and goes on.

mod answers;
mod capabilities;
mod ends;
mod files;
mod host;
mod lab;
mod pipeline;
mod resources;
mod starts;

/// Does what the event says.
const PROBE: &str = "PROBE";
/// Lies about its memory, leaks the host's, looks for a way out.
const HOSTILE: &str = "HOSTILE";
/// Exports the handler of a contract from before.
const OLDER_CONTRACT: &str = "OLDER_CONTRACT";
/// Exports something else.
const OTHER_WORLD: &str = "OTHER_WORLD";
/// Imports a database.
const FOREIGN_IMPORT: &str = "FOREIGN_IMPORT";
