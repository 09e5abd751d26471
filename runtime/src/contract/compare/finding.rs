//! What differs between two files of a contract, and whom it breaks.

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the earlier file, at this JSON pointer: the later one has no such place.
    Old(String),
    /// In the later file.
    New(String),
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What differs, in one word.
    pub change: &'static str,
    /// The later file refuses what the earlier one allowed: who writes by that one is refused.
    pub breaks_writers: bool,
    /// The later file allows what the earlier one did not: who reads by that one meets it.
    pub breaks_readers: bool,
    /// What differs, in a sentence.
    pub message: String,
}

impl Finding {
    /// Whether somebody who keeps to the earlier file is worse off.
    #[must_use]
    pub fn is_breaking(&self) -> bool {
        self.breaks_writers || self.breaks_readers
    }

    /// Who is worse off.
    #[must_use]
    pub fn breaks(&self) -> Vec<&'static str> {
        let parties = [
            (self.breaks_writers, "writers"),
            (self.breaks_readers, "readers"),
        ];
        let broken = parties.iter().filter(|(is_broken, _)| *is_broken);
        broken.map(|(_, name)| *name).collect()
    }

    /// Less is allowed than before.
    pub(super) fn narrower(place: Place, change: &'static str, message: String) -> Self {
        Self {
            place,
            change,
            breaks_writers: true,
            breaks_readers: false,
            message,
        }
    }

    /// More is allowed than before.
    pub(super) fn wider(place: Place, change: &'static str, message: String) -> Self {
        Self {
            breaks_writers: false,
            breaks_readers: true,
            ..Self::narrower(place, change, message)
        }
    }

    /// Something else is allowed, or it cannot be told.
    pub(super) fn other(place: Place, change: &'static str, message: String) -> Self {
        Self {
            breaks_readers: true,
            ..Self::narrower(place, change, message)
        }
    }

    /// Nobody notices who does not look for it.
    pub(super) fn compatible(place: Place, change: &'static str, message: String) -> Self {
        Self {
            breaks_writers: false,
            ..Self::narrower(place, change, message)
        }
    }

    /// The same where it cannot be told whom it breaks.
    pub(super) fn for_both(self) -> Self {
        Self {
            breaks_writers: true,
            breaks_readers: true,
            ..self
        }
    }

    /// The same within a `not`: what is less there is more without.
    pub(super) fn turned(self) -> Self {
        Self {
            breaks_writers: self.breaks_readers,
            breaks_readers: self.breaks_writers,
            ..self
        }
    }
}
