//! Decisions that are stored together with what they change on the stream `TX` itself: all that waited
//! while the last batch was on its way is the next one. A batch costs the server the same whatever its
//! size, so that many go as fast as one.

use super::stream::Written;
use crate::atomic_batch::{self, BatchError, LARGEST, Message};
use crate::shutdown::Tasks;
use async_nats::Client;
use std::collections::{HashMap, HashSet};
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
    stored: oneshot::Sender<Result<Stored, String>>,
}

/// What became of what was to be written together.
#[derive(Debug)]
pub(super) enum Stored {
    /// It is there, the first message of it at this position.
    At(u64),
    /// What one of the messages depends on is not so: nothing is.
    TooLate,
    /// It is more than the server takes at once: nothing is.
    TooLarge(String),
}

impl From<Written> for Stored {
    fn from(written: Written) -> Self {
        match written {
            Written::At(position) => Self::At(position),
            Written::TooLate => Self::TooLate,
        }
    }
}

/// What the decisions of a group depend on together.
#[derive(Default)]
struct Conditions {
    /// Subjects that are as they were read: several may rest on that.
    read: HashMap<String, u64>,
    /// Subjects of which the last message is replaced: nobody else may rest on that.
    replaced: HashSet<String>,
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
    pub(super) async fn write(&self, messages: Vec<Message>) -> Result<Stored, String> {
        let (stored, hears) = oneshot::channel();
        let gone = || "the runtime ends".to_owned();
        let sent = self.queue.send(Waiting { messages, stored }).await;
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

impl Conditions {
    /// Whether what `one` depends on can be so together with what the others depend on.
    fn allow(&self, one: &Waiting) -> bool {
        let mut depends = one.messages.iter().filter_map(|message| {
            let (subject, at) = message.depends_on()?;
            Some((subject, message.guard().map(|_| at)))
        });
        depends.all(|(subject, read_at)| {
            let read = self.read.get(subject);
            let is_clear = read.is_none() || read == read_at.as_ref();
            is_clear && !self.replaced.contains(subject)
        })
    }

    fn add(&mut self, one: &Waiting) {
        for message in &one.messages {
            match (message.guard(), message.depends_on()) {
                (Some((subject, at)), _) => drop(self.read.insert(subject.to_owned(), at)),
                (None, Some((subject, _))) => drop(self.replaced.insert(subject.to_owned())),
                (None, None) => {}
            }
        }
    }
}

/// Takes out what can be one batch, in the order in which it came. Of two of which one replaces the last message of a
/// subject that the other depends on the second waits: it could not hold together with the first.
fn next_group(waiting: &mut Vec<Waiting>) -> Vec<Waiting> {
    let (mut group, mut left) = (Vec::new(), Vec::new());
    let (mut n_messages, mut n_bytes) = (0, 0);
    let mut conditions = Conditions::default();
    for one in waiting.drain(..) {
        let fits = n_messages + one.messages.len() <= LARGEST && n_bytes < FULL;
        if group.is_empty() || (fits && conditions.allow(&one)) {
            conditions.add(&one);
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

/// The messages of a group, what several depend on said once; and for each of those who wait, how many messages come
/// before its own.
fn messages_of(group: &[Waiting]) -> (Vec<&Message>, Vec<u64>) {
    let (mut messages, mut places) = (Vec::new(), Vec::new());
    let mut said = HashSet::new();
    for one in group {
        places.push(u64::try_from(messages.len()).unwrap_or_default());
        for message in &one.messages {
            if message.guard().is_none_or(|guard| said.insert(guard)) {
                messages.push(message);
            }
        }
    }
    (messages, places)
}

/// Writes a group, and where one of it does not hold, the halves of it: so that all others are written.
async fn write_all(client: &Client, group: Vec<Waiting>) {
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        let (messages, places) = messages_of(&group);
        let n_messages = u64::try_from(messages.len()).unwrap_or_default();
        let is_alone = group.len() == 1;
        match atomic_batch::publish(client, &messages, PATIENCE).await {
            Ok(last) => answer_stored(group, (last.saturating_sub(n_messages), &places)),
            Err(BatchError::Conflict(_)) if is_alone => answer(group, || Ok(Stored::TooLate)),
            Err(BatchError::TooLarge(why)) if is_alone => {
                let why = too_large(n_messages, &why);
                answer(group, || Ok(Stored::TooLarge(why.clone())));
            }
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

fn too_large(n_messages: u64, why: &str) -> String {
    format!(
        "the event writes {n_messages} messages together with its decision, and the server takes fewer at once \
         ({why}): set `max_msgs` in its `jetstream {{ limits {{ batch }} }}` to {n_messages} or more, or let the event \
         write less"
    )
}

fn answer_stored(group: Vec<Waiting>, (before, places): (u64, &[u64])) {
    for (one, place) in group.into_iter().zip(places) {
        // Whoever waited may have been given up.
        let _gone = one.stored.send(Ok(Stored::At(before + 1 + place)));
    }
}

fn answer(group: Vec<Waiting>, stored: impl Fn() -> Result<Stored, String>) {
    for one in group {
        let _gone = one.stored.send(stored());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_batch::Expected;
    use async_nats::HeaderMap;
    use bytes::Bytes;

    fn message(subject: &str, expected: Option<u64>) -> Message {
        Message {
            subject: subject.into(),
            headers: HeaderMap::new(),
            payload: Bytes::from_static(b"1234"),
            expects: expected.map(|sequence| Expected {
                other: None,
                sequence,
            }),
        }
    }

    /// What says nothing but that `subject` is as it was read.
    fn guard(subject: &str, sequence: u64) -> Message {
        let other = Some(subject.into());
        Message {
            expects: Some(Expected { other, sequence }),
            ..message("_", None)
        }
    }

    fn waiting(messages: Vec<Message>) -> Waiting {
        let (stored, _nobody) = oneshot::channel();
        Waiting { messages, stored }
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

    #[test]
    fn those_who_rest_on_what_none_of_them_changes_go_together() {
        let reads = |at| waiting(vec![message("out.a", None), guard("a", at)]);
        let writes = |at| waiting(vec![message("out.a", None), message("a", Some(at))]);
        let mut all = vec![reads(1), reads(1), writes(1), reads(1)];
        let group = next_group(&mut all);
        assert_eq!(group.len(), 3, "who changes it waits for who read it");
        let (messages, places) = messages_of(&group);
        assert_eq!(messages.len(), 4, "it is said once");
        assert_eq!(places, [0, 2, 3]);
        assert_eq!(next_group(&mut all).len(), 1);
        let mut all = vec![writes(1), reads(1), reads(1)];
        assert_eq!(next_group(&mut all).len(), 1);
        assert_eq!(next_group(&mut all).len(), 2);
        // One of them has read what is not so any more.
        let mut all = vec![reads(1), reads(2)];
        assert_eq!(next_group(&mut all).len(), 1);
    }

    #[tokio::test]
    async fn each_hears_where_its_first_message_lies() {
        let (mut group, mut hears) = (Vec::new(), Vec::new());
        for n in [3, 1, 2] {
            let (stored, heard) = oneshot::channel();
            let messages = (0..n).map(|_| message("a", None)).collect();
            group.push(Waiting { messages, stored });
            hears.push(heard);
        }
        let (_, places) = messages_of(&group);
        answer_stored(group, (10, &places));
        let mut heard_of = Vec::new();
        for heard in hears {
            match heard.await.unwrap() {
                Ok(Stored::At(place)) => heard_of.push(place),
                _ => panic!("not written"),
            }
        }
        assert_eq!(heard_of, [11, 14, 15]);
    }
}
