//! `Idempotency-Key`: what a module knows a request again by, as the draft of the IETF has it, a string
//! of structured headers. The same request has the same key, and no other request has it.

use crate::event::encode_hash;
use sha2::{Digest as _, Sha256};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The effect, which nobody takes back.
    Apply,
    /// The effect, which may be taken back.
    Do,
    /// Taking it back from an entity that is at this version.
    Undo {
        /// The version; empty: it is not there.
        seen: &'a str,
    },
}

/// The key of a request because of the effect with this message id.
pub(super) fn key_of(message_id: &str, step: Step<'_>) -> String {
    match step {
        Step::Apply => format!("\"{message_id}\""),
        Step::Do => format!("\"{message_id}:do\""),
        // On another condition it is another request.
        Step::Undo { seen } => {
            let seen = encode_hash(&Sha256::digest(seen));
            format!("\"{message_id}:undo:{seen}\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_a_key_of_its_own_that_a_header_can_hold() {
        let keys = [
            Step::Apply,
            Step::Do,
            Step::Undo { seen: "" },
            Step::Undo { seen: "\"7\"" },
        ]
        .map(|step| key_of("m-_.k.0.3.1", step));
        for (n, key) in keys.iter().enumerate() {
            let inside = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
            assert!(inside.unwrap().chars().all(fits), "{key}");
            assert!(keys.iter().skip(n + 1).all(|other| other != key), "{key}");
        }
        assert_eq!(keys[1], "\"m-_.k.0.3.1:do\"");
    }
}
