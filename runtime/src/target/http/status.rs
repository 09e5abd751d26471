//! What a module's answer means: one table.

use crate::event::Operation;

/// What is meant by a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The module holds the effect.
    Applied,
    /// It will never take it.
    Refused,
    /// What the effect depends on does not hold.
    Conflict,
    /// It may hold it or not, or cannot take it now. It was heard.
    Unknown,
    /// The same, and it was not the module that answered, or it is not itself.
    Silence,
}

/// What the answer to an effect with this operation means.
pub(super) fn meaning_of(status: u16, operation: Operation) -> Meaning {
    match (status, operation) {
        (200..=299, _) => Meaning::Applied,
        // What is not there is deleted.
        (404 | 410, Operation::Delete) => Meaning::Applied,
        (412, _) => Meaning::Conflict,
        // We are not let in, here or by a proxy: that is nothing that the effect did.
        (401 | 407, _) => Meaning::Silence,
        // Too slow, in progress, too early, too often.
        (408 | 409 | 423 | 425 | 429, _) => Meaning::Unknown,
        // Redirects are not followed: the effect would go to somebody who was not named.
        (300..=499, _) => Meaning::Refused,
        // Somebody in front of the module, or the module about itself.
        (502..=504, _) => Meaning::Silence,
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_no_and_no_is_not_unknown() {
        let upsert = |status| meaning_of(status, Operation::Upsert);
        for (statuses, expected) in [
            (&[200, 201, 202, 204][..], Meaning::Applied),
            (
                &[301, 302, 307, 400, 403, 404, 405, 410, 413, 415, 422, 428],
                Meaning::Refused,
            ),
            (&[412], Meaning::Conflict),
            (
                &[100, 408, 409, 423, 425, 429, 500, 501, 599, 999],
                Meaning::Unknown,
            ),
            (&[401, 407, 502, 503, 504], Meaning::Silence),
        ] {
            for status in statuses {
                assert_eq!(upsert(*status), expected, "{status}");
            }
        }
        for status in [404, 410] {
            assert_eq!(meaning_of(status, Operation::Delete), Meaning::Applied);
            assert_eq!(meaning_of(status, Operation::Merge), Meaning::Refused);
        }
    }
}
