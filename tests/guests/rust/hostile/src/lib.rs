//! A guest that goes below the SDK: it lies about its memory in answers, leaks what the host keeps
//! for it, and looks for a way out of the sandbox.
//!
//! The data of an event is a word and numbers: `overlap 500 8388608`. See `answer.rs` and `host.rs`.
//! What it does before the first event is written into the component file itself, see [`mode`].

mod answer;
mod host;
mod memory;
mod outside;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline_sdk::bindings::exports::syncline::plugin::handler::Guest;
use syncline_sdk::bindings::syncline::plugin::types;
use types::{Context, Incoming, Manifest, Verdict};

struct Hostile;

syncline_sdk::bindings::export!(Hostile with_types_in syncline_sdk::bindings);

/// Tests overwrite the dots, in the file.
#[used]
static MODE: [u8; 32] = *b"HOSTILE-MODE:...................";

/// What follows the colon: empty, or `FUNCTION-MISDEED`.
fn mode() -> String {
    let mode = std::hint::black_box(&raw const MODE);
    // SAFETY: it points to a static. Volatile, or the compiler would know the dots.
    let mode = unsafe { mode.read_volatile() };
    let text = String::from_utf8_lossy(&mode[b"HOSTILE-MODE:".len()..]);
    text.trim_end_matches('.').to_owned()
}

impl Guest for Hostile {
    fn describe() -> Manifest {
        let mut manifest = plain_manifest();
        let misdeed = mode();
        match misdeed.strip_prefix("describe-") {
            Some("calls") => manifest.description = host::every_capability().join("; "),
            Some("giant") => manifest.lookups = giant_list(),
            Some("bad-schema") => manifest.config_schema = Some("{".to_owned()),
            Some(misdeed) => start(misdeed),
            None => {}
        }
        manifest
    }

    fn init(_: Context) -> Result<(), String> {
        if let Some(misdeed) = mode().strip_prefix("init-") {
            start(misdeed);
        }
        Ok(())
    }

    fn process(incoming: Incoming) -> Verdict {
        let text = String::from_utf8_lossy(&incoming.data).into_owned();
        let mut words = text.split_whitespace();
        let word = words.next().unwrap_or_default();
        let numbers = words.map(|word| word.parse().expect("a number"));
        let numbers: Vec<usize> = numbers.collect();
        let number = |index: usize| numbers.get(index).copied().unwrap_or(1);
        answer::verdict(word, number(0), number(1))
            .or_else(|| host::verdict(word, number(0), number(1)))
            .or_else(|| worn(word))
            .unwrap_or_else(|| panic!("nobody told me how to {word}"))
    }
}

/// Tells whether this instance was used before; `wear-out` is good for one event.
fn worn(word: &str) -> Option<Verdict> {
    static WORN: AtomicBool = AtomicBool::new(false);
    let was_worn = WORN.swap(true, Ordering::Relaxed);
    let said = if was_worn { "worn" } else { "fresh" };
    match word {
        "wear-out" => assert!(!was_worn, "worn out"),
        "is-worn" => {}
        "reject-after-state" => {
            let _kept = host::every_capability();
            return Some(Verdict::Reject(said.to_owned()));
        }
        _ => return None,
    }
    Some(Verdict::Drop(said.to_owned()))
}

fn start(misdeed: &str) {
    match misdeed {
        "traps" => panic!("told to trap at the start"),
        "loops" => loop {
            std::hint::black_box(());
        },
        "sleeps" => std::thread::sleep(Duration::from_secs(3_600)),
        other => panic!("nobody told me how to {other}"),
    }
}

fn plain_manifest() -> Manifest {
    Manifest {
        name: "hostile".to_owned(),
        version: "1.0.0".to_owned(),
        description: String::new(),
        accepts: vec![],
        targets: vec![],
        lookups: vec![],
        secrets: vec![],
        capabilities: vec!["state".to_owned()],
        config_schema: None,
        attributes: vec![],
    }
}

/// Far more text than this guest has memory.
fn giant_list() -> Vec<String> {
    let shared = memory::Shared::new(8 << 20);
    (0..500).map(|_| shared.text()).collect()
}
