//! Calls that make the host keep things, and the question what it gives away ungranted.

use crate::memory::Shared;
use crate::outside;
use crate::types::{Error, Verdict};
use syncline_sdk::bindings::syncline::plugin::{log, lookup, metrics, secrets, state};

/// Does what `word` stands for and drops the event, with what came of it as the reason.
pub(crate) fn verdict(word: &str, n: usize, bytes: usize) -> Option<Verdict> {
    Some(Verdict::Drop(match word {
        "every-capability" => every_capability().join("; "),
        "outside" => outside::everything().join("; "),
        "leak-pollables" => outside::leak_pollables(n),
        "random" => outside::random(n),
        "state-puts" => state_puts(n, bytes),
        "state-reads" => state_reads(n, bytes),
        "count" => match state::add("n", 1) {
            Ok(count) => count.to_string(),
            Err(error) => word_for::<()>(Err(error)),
        },
        "long-label" => long_labels(n, bytes),
        "long-log" => {
            log::write(log::Level::Info, &Shared::new(bytes).text(), &[]);
            "logged".to_owned()
        }
        _ => return None,
    }))
}

/// What each capability answers, `NAME: ANSWER`.
pub(crate) fn every_capability() -> Vec<String> {
    let address = || lookup::Address {
        target: "crm".to_owned(),
        entity: None,
        key: "1".to_owned(),
    };
    let key = || "key".to_owned();
    log::write(log::Level::Info, "hostile", &[]);
    metrics::count("hostile", 1, &[]);
    vec![
        said("state.get", state::get(&key())),
        said("state.get-many", state::get_many(&[key()])),
        said("state.put", state::put(&key(), b"1", None)),
        said("state.put-new", state::put_new(&key(), b"1", None)),
        said("state.add", state::add(&key(), 1)),
        said("state.delete", state::delete(&key())),
        said("lookup.get", lookup::get(&address())),
        said("lookup.get-many", lookup::get_many(&[address()])),
        said("secrets.get", secrets::get("token")),
    ]
}

fn said<T>(call: &str, answer: Result<T, Error>) -> String {
    format!("{call}: {}", word_for(answer))
}

fn word_for<T>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(_) => "given".to_owned(),
        Err(Error::Denied(_)) => "denied".to_owned(),
        Err(Error::Invalid(why)) => format!("invalid, {why}"),
        Err(Error::Unavailable(why)) => format!("unavailable, {why}"),
    }
}

/// `n` values of `bytes` bytes under as many keys, all from the same memory.
fn state_puts(n: usize, bytes: usize) -> String {
    let value = Shared::new(bytes).bytes();
    for index in 0..n {
        if let Err(error) = state::put(&format!("key-{index}"), &value, None) {
            return format!("{index} puts, then {}", word_for::<()>(Err(error)));
        }
    }
    format!("{n} puts")
}

/// One value of `bytes` bytes, asked for `n` times in one call.
fn state_reads(n: usize, bytes: usize) -> String {
    let key = "large".to_owned();
    if let Err(error) = state::put(&key, &Shared::new(bytes).bytes(), None) {
        return format!("put: {}", word_for::<()>(Err(error)));
    }
    format!("reads: {}", word_for(state::get_many(&vec![key; n])))
}

/// `n` series, each with a label of `bytes` bytes.
fn long_labels(n: usize, bytes: usize) -> String {
    for index in 0..n {
        let label = format!("{index}-{}", "x".repeat(bytes));
        metrics::count("long", 1, &[("label".to_owned(), label)]);
    }
    "counted".to_owned()
}
