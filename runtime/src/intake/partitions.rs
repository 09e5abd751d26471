//! How a pipeline's events are shared out: a subject names its partition. Pure.

use crate::event::{OrderingKey, SubjectPattern};

/// Partitions of a pipeline's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// How many.
    pub count: u32,
    /// What a partition is told by.
    pub by: PartitionBy,
}

/// What a partition is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionBy {
    /// The hash of a token of the subject, counted from 1: the server puts the partition in front of
    /// the subject, in a stream of its own.
    Hash(usize),
    /// A token of the subject, counted from 1, that is the partition's number already.
    Token(usize),
    /// The hash of the ordering key, wherever that is: one of the runtimes writes each event to the
    /// partition's subject, in a stream of its own.
    Key,
}

/// One partition, as an intake needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub number: u32,
    /// Among which.
    pub of: Partitions,
    /// The stream that its events came from first, where they were shared out into another.
    pub(super) origin: Option<String>,
    /// The consumer of the whole pipeline, whose place a new one of a partition begins at.
    pub(super) whole: Option<String>,
}

/// A subject of the source, and what the server makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transform {
    pub(super) from: String,
    pub(super) to: String,
}

impl Partition {
    /// Whether an event of this subject belongs to it, or one of this key where the subject does not
    /// say. One that names no partition goes to the first.
    pub fn takes(&self, subject: &str, key: impl FnOnce() -> OrderingKey) -> bool {
        let partition = match self.of.by {
            PartitionBy::Key => Some(self.of.of_key(key().as_str())),
            PartitionBy::Hash(_) | PartitionBy::Token(_) => self.of.of(subject),
        };
        partition.unwrap_or(0) == self.number
    }
}

impl Partitions {
    /// Which partition a subject of the source belongs to; none when it names none.
    #[must_use]
    pub fn of(&self, subject: &str) -> Option<u32> {
        match self.by {
            PartitionBy::Hash(token) => Some(match subject.split('.').nth(token - 1) {
                Some(key) => fnv1a(key) % self.count,
                None => 0,
            }),
            PartitionBy::Token(token) => {
                let number = subject.split('.').nth(token - 1)?;
                let partition: u32 = number.parse().ok()?;
                (partition < self.count && number == partition.to_string()).then_some(partition)
            }
            PartitionBy::Key => None,
        }
    }

    /// Which partition the events of an ordering key belong to, where they are shared out by it.
    pub(super) fn of_key(&self, key: &str) -> u32 {
        fnv1a(key) % self.count
    }

    /// What puts the partition in front of the subjects of `pattern`; none when they all have the
    /// same.
    pub(super) fn transforms(&self, pattern: &SubjectPattern) -> Option<Vec<Transform>> {
        let PartitionBy::Hash(token) = self.by else {
            return None;
        };
        let variants = variants(pattern.as_str(), token);
        variants
            .into_iter()
            .map(|variant| self.transform(&variant, token))
            .collect()
    }

    fn transform(&self, pattern: &[&str], token: usize) -> Option<Transform> {
        let (mut n_wildcards, mut partition) = (0, "0".to_owned());
        let mut to = Vec::new();
        for (index, part) in pattern.iter().enumerate() {
            if *part != "*" {
                if index + 1 == token {
                    return None;
                }
                to.push((*part).to_owned());
                continue;
            }
            n_wildcards += 1;
            if index + 1 == token {
                partition = format!("{{{{partition({},{n_wildcards})}}}}", self.count);
            }
            to.push(format!("{{{{wildcard({n_wildcards})}}}}"));
        }
        Some(Transform {
            from: pattern.join("."),
            to: format!("{partition}.{}", to.join(".")),
        })
    }

    /// The subjects of `pattern` whose token is `number`; none when it has no such token.
    pub(super) fn subjects_of(&self, pattern: &SubjectPattern, number: u32) -> Vec<String> {
        let PartitionBy::Token(token) = self.by else {
            return vec![format!("{number}.>")];
        };
        let number = number.to_string();
        let variants = variants(pattern.as_str(), token);
        let of_partition = variants.into_iter().filter_map(|mut variant| {
            let part = variant.get_mut(token - 1)?;
            if *part != "*" && *part != number {
                return None;
            }
            *part = &number;
            Some(variant.join("."))
        });
        of_partition.collect()
    }
}

/// Patterns that match what `pattern` does, each with a token of its own at that place, or shorter.
fn variants(pattern: &str, token: usize) -> Vec<Vec<&str>> {
    let parts: Vec<&str> = pattern.split('.').collect();
    let (Some(">"), true) = (parts.last().copied(), parts.len() <= token) else {
        return vec![parts];
    };
    let fixed = parts.len() - 1;
    let mut variants: Vec<Vec<&str>> = Vec::new();
    for length in parts.len()..=token {
        let mut variant: Vec<&str> = parts.iter().take(fixed).copied().collect();
        variant.resize(length, "*");
        variants.push(variant);
    }
    let mut longer = variants.last().cloned().unwrap_or_default();
    longer.push(">");
    variants.push(longer);
    variants
}

/// The hash that the server's `partition` is made of.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(count: u32, token: usize) -> Partitions {
        Partitions {
            count,
            by: PartitionBy::Hash(token),
        }
    }

    fn pattern(text: &str) -> SubjectPattern {
        text.parse().unwrap()
    }

    #[test]
    fn the_hash_is_the_servers() {
        // As nats-server 2.15.1 answered.
        let expected = [14, 1, 8, 11, 10, 13];
        for (key, expected) in expected.into_iter().enumerate() {
            let subject = format!("src.k{key}.a");
            assert_eq!(hashed(16, 2).of(&subject), Some(expected));
        }
        assert_eq!(hashed(16, 5).of("src.a"), Some(0));
    }

    #[test]
    fn every_subject_of_a_pattern_gets_a_partition() {
        let transforms = |text: &str, token: usize| -> Vec<(String, String)> {
            let transforms = hashed(4, token).transforms(&pattern(text)).unwrap();
            transforms.into_iter().map(|t| (t.from, t.to)).collect()
        };
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(
            transforms("a.*.b.*", 4),
            [pair(
                "a.*.b.*",
                "{{partition(4,2)}}.a.{{wildcard(1)}}.b.{{wildcard(2)}}"
            )]
        );
        assert_eq!(
            transforms("a.*.>", 2),
            [pair("a.*.>", "{{partition(4,1)}}.a.{{wildcard(1)}}.>")]
        );
        assert_eq!(
            transforms("a.>", 3),
            [
                pair("a.*", "0.a.{{wildcard(1)}}"),
                pair(
                    "a.*.*",
                    "{{partition(4,2)}}.a.{{wildcard(1)}}.{{wildcard(2)}}"
                ),
                pair(
                    "a.*.*.>",
                    "{{partition(4,2)}}.a.{{wildcard(1)}}.{{wildcard(2)}}.>"
                ),
            ]
        );
        assert_eq!(hashed(4, 1).transforms(&pattern("a.*")), None);
    }

    #[test]
    fn a_token_that_is_a_partition_is_taken_as_it_is() {
        let partitions = Partitions {
            count: 4,
            by: PartitionBy::Token(2),
        };
        let subjects = |text: &str| partitions.subjects_of(&pattern(text), 3);
        assert_eq!(subjects("a.*.x"), ["a.3.x"]);
        assert_eq!(subjects("a.>"), ["a.3", "a.3.>"]);
        assert_eq!(subjects("a.2.x"), Vec::<String>::new());
        let of = ["a.3", "a.0.x", "a.4", "a.03", "a.x", "a"].map(|subject| partitions.of(subject));
        assert_eq!(of, [Some(3), Some(0), None, None, None, None]);
    }
}
