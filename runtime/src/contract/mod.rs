//! What a target module takes and gives: a contract, its file, and what follows from it.
//!
//! A contract has a name and a major version, and says of each kind of entity what it looks like
//! (JSON Schema 2020-12), what its key is, which operations there are, and how its etags are used.
//! [`Contract::check`] says whether an effect keeps to it; [`compare`] what a later file of it
//! breaks. [`Adapted`] is a version that is served beside a target's own. Pure but for reading files.

mod adapted;
mod cases;
mod check;
mod compare;
mod document;
mod export;
mod fault;
mod key;
mod patch;
mod pointer;
mod references;
mod schema;

#[cfg(test)]
mod check_tests;
#[cfg(test)]
mod compare_tests;
#[cfg(test)]
mod document_tests;

pub use adapted::{
    Adapt, Adapted, AdaptedVersions, Beside, Direction, Retirement, Told, Unadapted, UpError,
};
pub use cases::Case;
pub use check::{Violation, Wrong};
pub use compare::{Finding, Place, compare};
pub use document::{Contract, Entity, EtagPolicy, Verb};
pub use fault::ContractError;
