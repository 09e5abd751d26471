//! Entries of a bucket, listed in the order in which they were written last.
//!
//! They are read by their positions in the stream, without a consumer. What is written meanwhile moves to the end, so that
//! an entry may come twice, and one that was there all the time comes at least once.

use super::{Current, Kv};
use crate::event::{KeyAlphabet, escape_key, unescape_key};
use crate::next_messages::{BYTES, MOST, Messages};
use crate::target::list::{Listed, Page, Position, Wanted};
use crate::target::{Found, ReadError};
use async_nats::jetstream::message::StreamMessage;
use futures::{StreamExt as _, TryStreamExt as _};

/// How often messages are asked for until a page ends, however few of them were entries that are wanted.
const LOOKS: usize = 32;
/// Where fewer than one of so many entries are wanted the others are not read.
const FEW: u64 = 8;
/// Questions about older values that are on their way at once.
const QUESTIONS: usize = 64;

/// Which entries are wanted, as far as their subjects say.
struct Names<'a> {
    /// What all their subjects begin with.
    base: String,
    /// What the server sees of the choice: whole tokens.
    filter: String,
    /// What their keys begin with.
    prefix: &'a str,
    entity: Option<&'a str>,
}

impl<'a> Names<'a> {
    fn of(kv: &Kv, wanted: &Wanted<'a>) -> Self {
        let base = match wanted.entity {
            Some(entity) => {
                let token = escape_key(entity, KeyAlphabet::Token);
                format!("{}{token}.", kv.prefix)
            }
            None => kv.prefix.clone(),
        };
        let filter = match whole_tokens(wanted.prefix) {
            "" => format!("{base}>"),
            tokens => {
                let tokens = escape_key(tokens, KeyAlphabet::BucketKey);
                format!("{base}{tokens}.>")
            }
        };
        Self {
            base,
            filter,
            prefix: wanted.prefix,
            entity: wanted.entity,
        }
    }

    /// Whether all entries of the bucket are wanted.
    fn is_every(&self) -> bool {
        self.entity.is_none() && self.prefix.is_empty()
    }

    /// Whether the entry at `subject` is among those that the server would choose.
    fn means(&self, subject: &str) -> bool {
        let begins = self.filter.strip_suffix('>').unwrap_or_default();
        subject.starts_with(begins)
    }

    /// The key of the entry at `subject`; none: no key is written there.
    fn key_of(&self, kv: &Kv, subject: &str) -> Option<String> {
        let key = unescape_key(subject.strip_prefix(&self.base)?)?;
        (kv.subject(self.entity, &key) == subject).then_some(key)
    }
}

/// The part of a key's beginning that is whole tokens of the subject, whatever follows.
fn whole_tokens(prefix: &str) -> &str {
    let bytes = prefix.as_bytes();
    let is_other = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(|byte| *byte != b'.')
    };
    let parts = |at: &usize| {
        bytes.get(*at) == Some(&b'.') && is_other(at.checked_sub(1)) && is_other(Some(at + 1))
    };
    let last = (0..bytes.len()).rev().find(parts);
    last.and_then(|at| prefix.get(..at)).unwrap_or_default()
}

impl Kv {
    pub(in crate::target) async fn list(&self, wanted: &Wanted<'_>) -> Result<Page, ReadError> {
        let names = Names::of(self, wanted);
        let mut reached: u64 = match wanted.after {
            None => 0,
            Some(position) => position.as_str().parse().map_err(|_| position.unknown())?,
        };
        let (mut page, mut n_bytes) = (Page::default(), 0);
        // The server counts what a filter matches in the whole bucket before it answers, which takes longer than
        // many entries too many: it is given one only where most entries are others.
        let mut reads_all = self.stream.allows_direct();
        for _ in 0..LOOKS {
            let (filter, n_wanted) = match reads_all {
                true => (">", wanted.limit() - page.entities.len()),
                false => (names.filter.as_str(), MOST),
            };
            let n_wanted = if names.is_every() { n_wanted } else { MOST };
            let messages = self.after(filter, reached, n_wanted.min(MOST)).await?;
            let Some(last) = messages.last() else {
                return Ok(page);
            };
            let n_passed = match reads_all {
                true => u64::try_from(messages.len()).unwrap_or(u64::MAX),
                false => last.sequence - reached,
            };
            let n_meant = messages
                .iter()
                .filter(|it| names.means(&it.subject))
                .count();
            let n_meant = u64::try_from(n_meant).unwrap_or_default();
            reads_all = self.stream.allows_direct() && n_meant.saturating_mul(FEW) >= n_passed;
            for (message, is_last) in self.lasting(messages, &names).await? {
                let sequence = message.sequence;
                reached = sequence;
                if !is_last {
                    continue;
                }
                n_bytes += message.payload.len();
                names.take(self, message, &mut page);
                if page.entities.len() >= wanted.limit() || n_bytes >= BYTES {
                    page.next = Some(Position::new(reached.to_string()));
                    return Ok(page);
                }
            }
        }
        page.next = Some(Position::new(reached.to_string()));
        Ok(page)
    }

    /// Some messages behind `position`, the next ones first; none: there are no more.
    async fn after(
        &self,
        filter: &str,
        position: u64,
        n_wanted: usize,
    ) -> Result<Vec<StreamMessage>, ReadError> {
        let messages = Messages {
            stream: self.stream.stream(),
            name: &self.stream.name,
            client: self.context.client(),
            api: self.provision.prefix.as_deref(),
            is_direct: self.stream.allows_direct(),
        };
        let next = Box::pin(messages.from(filter, position + 1, n_wanted));
        next.await.map_err(ReadError::Unavailable)
    }

    /// The messages, and whether each is the last of its subject.
    async fn lasting(
        &self,
        messages: Vec<StreamMessage>,
        names: &Names<'_>,
    ) -> Result<Vec<(StreamMessage, bool)>, ReadError> {
        let keeps_one = self.stream.keeps_one();
        let asked = messages.into_iter().map(|message| async move {
            // Nobody needs to know of others, and where there is only one it is the last.
            if keeps_one || !names.means(&message.subject) {
                return Ok((message, true));
            }
            let last = self.stream.last_message(&message.subject).await?;
            // A bucket whose entries expire forgets them too.
            let is_last = last.is_some_and(|last| last.sequence == message.sequence);
            Ok((message, is_last))
        });
        let asked = futures::stream::iter(asked).buffered(QUESTIONS);
        asked.try_collect().await
    }
}

impl Names<'_> {
    /// Puts an entry on the page, if it is one that is wanted.
    fn take(&self, kv: &Kv, message: StreamMessage, page: &mut Page) {
        if !self.means(&message.subject) {
            return;
        }
        let key = self.key_of(kv, &message.subject);
        let current = Current::of(message);
        let (Some(key), Some(data)) = (&key, current.value) else {
            page.n_nameless += u64::from(key.is_none());
            return;
        };
        if key.starts_with(self.prefix) {
            page.entities.push(Listed {
                entity: self.entity.map(str::to_owned),
                key: key.clone(),
                found: Found {
                    content_type: current
                        .content_type
                        .unwrap_or_else(|| "application/json".to_owned()),
                    etag: current.revision.to_string(),
                    data,
                },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_beginning_is_cut_where_a_token_surely_ends() {
        let cases = [
            ("", ""),
            ("eu", ""),
            ("eu.", ""),
            ("eu.c", "eu"),
            ("eu.c.", "eu"),
            ("eu.c.x", "eu.c"),
            (".eu.c", ".eu"),
            ("eu..c", ""),
            ("a.eu..c", "a"),
            ("é.c", "é"),
        ];
        for (prefix, expected) in cases {
            assert_eq!(whole_tokens(prefix), expected, "{prefix}");
        }
    }

    proptest! {
        #[test]
        fn whole_tokens_are_tokens_of_every_key_that_begins_so(
            prefix in "[a.é]{0,8}", rest in "[a.%]{0,4}"
        ) {
            let key = format!("{prefix}{rest}");
            let tokens = whole_tokens(&prefix);
            if !tokens.is_empty() {
                let escaped = escape_key(&key, KeyAlphabet::BucketKey).into_owned();
                let begins = format!("{}.", escape_key(tokens, KeyAlphabet::BucketKey));
                prop_assert!(escaped.starts_with(&begins), "{escaped} {begins}");
            }
        }
    }
}
