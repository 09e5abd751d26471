//! What Syncline makes on the server, and what it finds there.

use tracing::warn;

/// What becomes of a stream, bucket or consumer that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Create {
    /// It is made.
    Missing,
    /// It has to be there: the start is refused, naming it.
    #[default]
    Check,
    /// It is taken to be there and nobody asks about it; of a consumer it is asked.
    Adopt,
}

/// How a stream or bucket is made, and where the API for it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// How many servers of a cluster hold each stream that is made.
    pub replicas: usize,
    /// What stands before the subjects of buckets when they are written; none: nothing.
    pub prefix: Option<String>,
}

impl Default for Provision {
    fn default() -> Self {
        Self {
            replicas: 1,
            prefix: None,
        }
    }
}

impl Provision {
    /// Says when what is there has fewer replicas than are asked for. It is left as it is: moving a
    /// stream is for its operator to decide.
    pub fn compare(&self, stream: &str, found: usize) {
        if found < self.replicas {
            warn!(%stream, found, wanted = self.replicas, "the stream has fewer replicas than \
                `replicas` under [nats] asks for, and is left so: `nats stream edit` changes it");
        }
    }

    /// The subject at which a bucket's entry is written.
    #[must_use]
    pub fn written(&self, subject: String) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}.{subject}"),
            None => subject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_elsewhere_is_written_through_its_prefix() {
        let here = Provision::default();
        assert_eq!(here.written("$KV.b.k".to_owned()), "$KV.b.k");
        let there = Provision {
            prefix: Some("$JS.hub.API".to_owned()),
            ..here
        };
        assert_eq!(there.written("$KV.b.k".to_owned()), "$JS.hub.API.$KV.b.k");
    }
}
