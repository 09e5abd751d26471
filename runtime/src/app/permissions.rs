//! What the server does not permit us. It answers such a request with nothing but a line on the
//! connection: whoever waits for the answer would never learn why there is none.

use super::AppError;
use super::connection::urls;
use crate::config::Nats;
use std::future::Future;
use tokio::sync::watch;

/// What the server did not permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied {
    /// Publishing or subscribing, and to which subject.
    pub(super) operation: String,
    /// What would help.
    pub(super) remedy: String,
}

/// Writes down what was denied.
#[derive(Debug)]
pub(super) struct Notes(watch::Sender<Option<Denied>>);

/// Tells what was denied.
#[derive(Debug)]
pub(super) struct Denials(watch::Receiver<Option<Denied>>);

/// Both ends of the notes.
pub(super) fn notes() -> (Notes, Denials) {
    let (sender, receiver) = watch::channel(None);
    (Notes(sender), Denials(receiver))
}

impl Notes {
    /// Takes down what the server says, if that is about a permission that is needed.
    pub(super) fn take(&self, said: &str) {
        if let Some(denied) = Denied::read(said) {
            self.0.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(denied);
                is_first
            });
        }
    }
}

impl Denials {
    /// The outcome of `work`, unless something that it needs is denied meanwhile.
    pub(super) async fn during<T>(mut self, work: impl Future<Output = T>) -> Result<T, Denied> {
        let denied = async {
            match self.0.wait_for(Option::is_some).await {
                Ok(denied) => denied.clone(),
                Err(_) => None,
            }
        };
        tokio::select! {
            biased;
            Some(denied) = denied => Err(denied),
            outcome = work => Ok(outcome),
        }
    }
}

impl Denied {
    /// As the error that ends a start.
    pub(super) fn into_error(self, nats: &Nats) -> AppError {
        let Self { operation, remedy } = self;
        AppError::Denied {
            urls: urls(nats),
            operation,
            remedy,
        }
    }

    /// Reads `Permissions Violation for Publish to "SUBJECT"`.
    fn read(said: &str) -> Option<Self> {
        let (_, what) = said.split_once("Permissions Violation for ")?;
        let (verb, rest) = what.split_once(" to \"")?;
        let subject = rest.split('"').next()?;
        // Setting a consumer back is done where it can be, and said where it cannot.
        if subject.contains(".CONSUMER.RESET.") {
            return None;
        }
        let verb = match verb {
            "Publish" => "publish to",
            _ => "subscribe to",
        };
        Some(Self {
            operation: format!("{verb} `{subject}`"),
            remedy: remedy(subject),
        })
    }
}

/// What would help where `subject` is denied: besides permitting it, what makes it needless.
fn remedy(subject: &str) -> String {
    let request = ["STREAM.", "CONSUMER."].into_iter().find_map(|kind| {
        let start = subject.find(&format!(".{kind}"))?;
        subject.get(start + 1..)
    });
    let words: Vec<&str> = request.unwrap_or_default().split('.').collect();
    let instead = match words.as_slice() {
        ["STREAM", "INFO", stream] => {
            format!(
                "write `create = false` where the stream `{stream}` is named, so that it is not looked at"
            )
        }
        ["STREAM", "CREATE", stream] => format!("make the stream `{stream}` beforehand"),
        ["STREAM", "UPDATE", stream] => {
            format!("give the stream `{stream}` the subjects of the source beforehand")
        }
        ["CONSUMER", "CREATE", stream, consumer, ..]
        | ["CONSUMER", "DURABLE", "CREATE", stream, consumer] => format!(
            "make the consumer `{consumer}` on `{stream}` beforehand, and write `create = false` \
             in the source"
        ),
        _ => String::new(),
    };
    let permit = "permit it to our user";
    match instead.as_str() {
        "" => permit.to_owned(),
        instead => format!("{permit}, or {instead}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_subject_and_what_makes_it_needless() {
        let said =
            |subject: &str| format!("nats: Permissions Violation for Publish to \"{subject}\"");
        let cases = [
            (
                "$JS.API.STREAM.INFO.SRC",
                "`create = false` where the stream `SRC`",
            ),
            (
                "$JS.hub.API.STREAM.CREATE.SRC",
                "make the stream `SRC` beforehand",
            ),
            (
                "$JS.API.CONSUMER.CREATE.SRC.syncline-p.src.>",
                "make the consumer `syncline-p` on `SRC` beforehand",
            ),
            ("src.a", "permit it to our user"),
        ];
        for (subject, expected) in cases {
            let denied = Denied::read(&said(subject)).unwrap();
            assert_eq!(denied.operation, format!("publish to `{subject}`"));
            assert!(denied.remedy.contains(expected), "{}", denied.remedy);
        }
        assert_eq!(Denied::read(&said("$JS.API.CONSUMER.RESET.SRC.c")), None);
        assert_eq!(Denied::read("nats: maximum connections exceeded"), None);
        let subscription = Denied::read("Permissions Violation for Subscription to \"_INBOX.x.*\"");
        assert_eq!(subscription.unwrap().operation, "subscribe to `_INBOX.x.*`");
    }

    #[tokio::test]
    async fn work_ends_at_the_first_denial() {
        let (notes, denials) = notes();
        notes.take("Permissions Violation for Publish to \"a\"");
        notes.take("Permissions Violation for Publish to \"b\"");
        let denied = denials.during(std::future::pending::<()>()).await;
        assert_eq!(denied.unwrap_err().operation, "publish to `a`");
        let (_notes, denials) = super::notes();
        assert_eq!(denials.during(async { 7 }).await, Ok(7));
    }
}
