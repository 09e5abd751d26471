//! Messages of core NATS that came while there was no room: as many as may wait, and no more. The
//! client's own buffer would keep any number of bytes, and drop messages uncounted.

use super::jetstream::Surroundings;
use super::pull::size;
use async_nats::Message;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// Between two looks at the connection, and between two warnings of one kind.
pub(super) const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Pending {
    messages: VecDeque<Message>,
    n_bytes: u64,
    /// How many, and of how many bytes in all.
    limits: (usize, u64),
    warned: Option<Instant>,
}

impl Pending {
    pub(super) fn new(n_messages: usize, n_bytes: u64) -> Self {
        Self {
            messages: VecDeque::new(),
            n_bytes: 0,
            limits: (n_messages, n_bytes),
            warned: None,
        }
    }

    /// Keeps the message, or gives it back where there is no room. One alone is kept, whatever its
    /// size.
    pub(super) fn push(&mut self, message: Message) -> Option<Message> {
        let n_bytes = self.n_bytes.saturating_add(size(&message));
        let (most, most_bytes) = self.limits;
        let is_first = self.messages.is_empty();
        if !is_first && (self.messages.len() >= most || n_bytes > most_bytes) {
            return Some(message);
        }
        self.n_bytes = n_bytes;
        self.messages.push_back(message);
        None
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.n_bytes = self.n_bytes.saturating_sub(size(&message));
        Some(message)
    }

    /// The size of the next one.
    pub(super) fn next(&self) -> Option<u64> {
        self.messages.front().map(size)
    }

    /// Counts a message that is thrown away, and says so now and then.
    pub(super) fn miss(&mut self, at: &Surroundings<'_>) {
        at.metrics.missed.increment();
        if self.warned.is_none_or(|warned| warned.elapsed() >= LOOK) {
            self.warned = Some(Instant::now());
            warn!(pipeline = %at.config.pipeline, missed = at.metrics.missed.get(),
                waiting = self.messages.len(), "messages come faster than they are handled, and \
                those for which there is no room are lost: core NATS sends nothing again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n_bytes: usize) -> Message {
        Message {
            subject: "a".into(),
            reply: None,
            payload: vec![0; n_bytes].into(),
            headers: None,
            status: None,
            description: None,
            length: n_bytes,
        }
    }

    #[test]
    fn no_more_wait_than_may_or_one() {
        let mut pending = Pending::new(3, 10);
        let kept = [4, 6, 1].map(|n_bytes| pending.push(message(n_bytes)).is_none());
        assert_eq!((kept, pending.next()), ([true, true, false], Some(4)));
        while pending.pop().is_some() {}
        assert_eq!(pending.n_bytes, 0);
        assert!(pending.push(message(20)).is_none(), "one alone is kept");
        assert!(pending.push(message(1)).is_some());
        let mut pending = Pending::new(2, 10);
        let kept = [1, 1, 1].map(|n_bytes| pending.push(message(n_bytes)).is_none());
        assert_eq!(kept, [true, true, false]);
    }
}
