//! Why there is no answer.

use std::time::Duration;

/// Why a plugin's request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It was not permitted, and nothing was sent.
    #[error("{0}")]
    Denied(String),
    /// The name stands for no address that may be reached, and nothing was sent.
    #[error("{0}")]
    Address(String),
    /// The name stands for no address.
    #[error("{0}")]
    Name(String),
    /// Nobody answers there.
    #[error("{0}")]
    Connect(String),
    /// Who answers there is not who should, or speaks no TLS.
    #[error("{0}")]
    Encryption(String),
    /// It took too long.
    #[error("there was no whole answer within {0:?}")]
    Late(Duration),
    /// The event has ended.
    #[error("the event ended before there was an answer")]
    Over,
    /// What was to be sent is longer than it may be.
    #[error("the request has more than {0} bytes, the limit `http_request`")]
    RequestSize(u64),
    /// What came is longer than it may be.
    #[error("the answer has more than {0} bytes, the limit `http_response`")]
    AnswerSize(u64),
    /// The event has read as much as it may.
    #[error("more than {0} bytes read for one event, the limit `memory`")]
    Memory(u64),
    /// The plugin gave up what it was sending.
    #[error("the plugin did not finish its request")]
    Unfinished,
    /// What came is no HTTP, or was cut.
    #[error("{0}")]
    Protocol(String),
    /// It cannot be passed on.
    #[error("{0}")]
    Withheld(String),
}

impl Refusal {
    /// Whether it was refused here: no host was at fault.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::Address(_)
                | Self::RequestSize(_)
                | Self::AnswerSize(_)
                | Self::Memory(_)
                | Self::Withheld(_)
        )
    }
}
