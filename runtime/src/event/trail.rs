//! How an event came about: through which pipelines, one after the other.

use super::cloud_event::Event;
use std::fmt;

/// The attribute that says it.
const ATTRIBUTE: &str = "synclinetrail";

/// The pipelines that led to an event, the first one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail(Vec<String>);

impl Trail {
    /// That of an event: empty where it came from outside.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let text = event.attribute(ATTRIBUTE).unwrap_or_default();
        let names = text.split(',').filter(|name| !name.is_empty());
        Self(names.map(str::to_owned).collect())
    }

    /// Whether `pipeline` had a part in it.
    #[must_use]
    pub fn leads_through(&self, pipeline: &str) -> bool {
        self.0.iter().any(|name| name == pipeline)
    }

    /// How many pipelines there were.
    #[must_use]
    pub fn n_hops(&self) -> usize {
        self.0.len()
    }

    /// The same, and then `pipeline`.
    #[must_use]
    pub fn through(mut self, pipeline: &str) -> Self {
        self.0.push(pipeline.to_owned());
        self
    }

    /// As an attribute.
    #[must_use]
    pub fn to_attribute(&self) -> (String, String) {
        (ATTRIBUTE.to_owned(), self.0.join(","))
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_goes_on_from_event_to_event() {
        assert_eq!(Trail::of(&Event::default()).n_hops(), 0);
        let trail = Trail::default().through("a2b").through("b-2-c");
        let event = Event {
            attributes: vec![trail.to_attribute()],
            ..Event::default()
        };
        assert_eq!(Trail::of(&event), trail);
        assert!(trail.leads_through("a2b") && !trail.leads_through("a2"));
        assert_eq!(trail.n_hops(), 2);
    }
}
