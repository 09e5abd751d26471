//! Decisions that are stored together with what they change on the stream `TX` itself: all that waited
//! while the last batch was on its way is the next one. A batch costs the server the same whatever its
//! size, so that many go as fast as one.

use super::stream::Written;
use crate::atomic_batch::{self, BatchError, EXPECTED_SUBJECT, LARGEST, Message};
use crate::shutdown::Tasks;
use async_nats::Client;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Bytes of one batch, after which no decision is added.
const FULL: usize = 4 << 20;
/// Decisions that may wait.
const QUEUE: usize = 1_024;
/// How long the server may take for one batch.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way of one pipeline's decisions to the stream, in batches.
pub(super) struct Groups {
    queue: mpsc::Sender<Waiting>,
}

/// What one event's decision writes, and who waits for what becomes of it.
struct Waiting {
    messages: Vec<Message>,
    written: oneshot::Sender<Result<Written, String>>,
}

impl Groups {
    pub(super) fn open(client: Client) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        // Ends with the last of those who write.
        Tasks::new().spawn(run(client, waiting));
        Self { queue }
    }

    /// Writes `messages`, all or none, each on its own condition; gives the position of the first.
    ///
    /// # Errors
    /// When it is not known whether they are there.
    pub(super) async fn write(&self, messages: Vec<Message>) -> Result<Written, String> {
        let (written, hears) = oneshot::channel();
        let gone = || "the runtime ends".to_owned();
        let sent = self.queue.send(Waiting { messages, written }).await;
        sent.map_err(|_| gone())?;
        hears.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn run(client: Client, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && queue.recv_many(&mut waiting, QUEUE).await == 0 {
            return;
        }
        while let Ok(more) = queue.try_recv() {
            waiting.push(more);
        }
        let group = next_group(&mut waiting);
        write_all(&client, group).await;
    }
}

/// Takes out what can be one batch, in the order in which it came. Of two that depend on the last message
/// of one subject the second waits: it could not hold together with the first.
fn next_group(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let (mut group, mut left) = (Vec::new(), Vec::new());
    let (mut n_messages, mut n_bytes) = (0, 0);
    let mut subjects: HashSet<String> = HashSet::new();
    for one in waiting.drain(..) {
        let depends = || one.messages.iter().filter_map(depends_on);
        let fits = n_messages + one.messages.len() <= LARGEST && n_bytes < FULL;
        let is_clear = depends().all(|subject| !subjects.contains(subject));
        if group.is_empty() || (fits && is_clear) {
            subjects.extend(depends().map(str::to_owned));
            n_messages += one.messages.len();
            let payloads = one.messages.iter().map(|message| message.payload.len());
            n_bytes += payloads.sum::<usize>();
            group.push(one);
        } else {
            left.push(one);
        }
    }
    *waiting = left;
    group
}

/// The subject whose last message is expected at a position.
fn depends_on(message: &Message) -> Option<&str> {
    let headers = &message.headers;
    headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE)?;
    let other = headers.get(EXPECTED_SUBJECT);
    Some(other.map_or(message.subject.as_str(), |other| other.as_str()))
}

/// Writes a group, and where one of it does not hold, the halves of it: so that all others are written.
async fn write_all(client: &Client, group: Vec<Waiting>) {
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        let messages = group.iter().flat_map(|one| one.messages.iter().cloned());
        let messages: Vec<_> = messages.collect();
        let n_messages = messages.len();
        let is_alone = group.len() == 1;
        match atomic_batch::publish(client, messages, PATIENCE).await {
            Ok(last) => {
                let n_messages = u64::try_from(n_messages).unwrap_or_default();
                let before = last.saturating_sub(n_messages);
                answer_stored(group, before);
            }
            Err(BatchError::Conflict(_)) if is_alone => answer(group, || Ok(Written::TooLate)),
            // One of them may be the reason, whatever it is; but not where nobody answers.
            Err(BatchError::Conflict(_) | BatchError::TooLarge(_) | BatchError::Refused(_))
                if !is_alone =>
            {
                let second = group.split_off(group.len() / 2);
                // The earlier half is written first.
                groups.extend([second, group]);
            }
            Err(error) => answer(group, || Err(error.to_string())),
        }
    }
}

fn answer_stored(group: Vec<Waiting>, before: u64) {
    let mut position = before + 1;
    for one in group {
        let n_messages = u64::try_from(one.messages.len()).unwrap_or_default();
        // Whoever waited may have been given up.
        let _gone = one.written.send(Ok(Written::At(position)));
        position += n_messages;
    }
}

fn answer(group: Vec<Waiting>, written: impl Fn() -> Result<Written, String>) {
    for one in group {
        let _gone = one.written.send(written());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::HeaderMap;
    use bytes::Bytes;

    fn message(subject: &str, expected: Option<u64>) -> Message {
        let mut headers = HeaderMap::new();
        if let Some(expected) = expected {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        }
        Message {
            subject: subject.into(),
            headers,
            payload: Bytes::from_static(b"1234"),
        }
    }

    fn waiting(messages: Vec<Message>) -> Waiting {
        let (written, _nobody) = oneshot::channel();
        Waiting { messages, written }
    }

    fn sizes(group: &[Waiting]) -> Vec<usize> {
        group.iter().map(|one| one.messages.len()).collect()
    }

    #[test]
    fn a_group_is_what_waited_up_to_what_the_server_takes() {
        let of = |n| waiting((0..n).map(|_| message("out.a", None)).collect());
        let mut all = vec![of(600), of(300), of(200), of(100)];
        assert_eq!(sizes(&next_group(&mut all)), [600, 300, 100]);
        assert_eq!(sizes(&next_group(&mut all)), [200]);
        assert!(all.is_empty());
    }

    #[test]
    fn two_that_depend_on_one_subject_go_one_after_the_other() {
        let of = |subject: &str, expected| waiting(vec![message(subject, expected)]);
        let mut all = vec![
            of("a", Some(1)),
            of("a", Some(2)),
            of("b", Some(0)),
            of("a", None),
        ];
        assert_eq!(next_group(&mut all).len(), 3);
        assert_eq!(next_group(&mut all).len(), 1);
    }

    #[tokio::test]
    async fn each_hears_where_its_first_message_lies() {
        let (mut group, mut hears) = (Vec::new(), Vec::new());
        for n in [3, 1, 2] {
            let (written, heard) = oneshot::channel();
            let messages = (0..n).map(|_| message("a", None)).collect();
            group.push(Waiting { messages, written });
            hears.push(heard);
        }
        answer_stored(group, 10);
        let mut places = Vec::new();
        for heard in hears {
            match heard.await.unwrap() {
                Ok(Written::At(place)) => places.push(place),
                _ => panic!("not written"),
            }
        }
        assert_eq!(places, [11, 14, 15]);
    }
}
