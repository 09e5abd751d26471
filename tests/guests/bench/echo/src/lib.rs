//! Answers with what it was given: what is left is the cost of the call itself.

use syncline_sdk::prelude::*;

plugin! {
    /// Appends the data of every event, as it came.
    Echo { process: echo }
}

fn echo(event: &Event) -> Effect {
    Effect::append("echo").data("application/octet-stream", event.data())
}
