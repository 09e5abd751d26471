//! What no library does: requests that nobody waits for, bodies that never end, hoards.

use serde::Deserialize;
use std::mem::forget;
use syncline_sdk::serde;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, FutureIncomingResponse, OutgoingBody, OutgoingRequest, Scheme};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Misdeed {
    /// Sends `times` requests to `http://AUTHORITY PATH` and goes without waiting or letting go.
    Flood {
        authority: String,
        path: String,
        times: u32,
    },
    /// Begins a body, never ends it, and waits for the answer.
    Dangle { authority: String },
    /// Looks for the answer again and again, without waiting.
    Spin { authority: String, path: String },
    /// Asks for `http://AUTHORITY/` so many times, and keeps what the host holds of it for ever.
    KeepAnswers { authority: String, times: u32 },
    /// Fills as many bodies as it can hold, and sends none.
    HoardBodies,
    /// Fills as many fields as it can hold.
    HoardFields,
    /// Sets each of these headers below the SDK; says which were taken.
    Headers { names: Vec<String> },
}

impl Misdeed {
    pub(crate) fn commit(self) -> String {
        match self {
            Self::Flood {
                authority,
                path,
                times,
            } => {
                for _ in 0..times {
                    forget(begin(&authority, &path));
                }
                format!("{times} begun")
            }
            Self::Dangle { authority } => dangle(&authority),
            Self::Spin { authority, path } => {
                let answered = begin(&authority, &path);
                while answered.get().is_none() {}
                "answered".to_owned()
            }
            Self::KeepAnswers { authority, times } => {
                for _ in 0..times {
                    let answered = begin(&authority, "/");
                    answered.subscribe().block();
                    forget(answered);
                }
                "kept".to_owned()
            }
            Self::HoardBodies => hoard_bodies(),
            Self::HoardFields => hoard_fields(),
            Self::Headers { names } => taken(names).join(", "),
        }
    }
}

fn request(authority: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http)).expect("a scheme");
    request
        .set_authority(Some(authority))
        .expect("an authority");
    request.set_path_with_query(Some("/")).expect("a path");
    request
}

fn begin(authority: &str, path: &str) -> FutureIncomingResponse {
    let request = request(authority);
    request.set_path_with_query(Some(path)).expect("a path");
    handle(request, None).expect("it is sent")
}

fn dangle(authority: &str) -> String {
    let request = request(authority);
    let body = request.body().expect("a body");
    let answered = handle(request, None).expect("it is sent");
    answered.subscribe().block();
    let said = match answered.get() {
        Some(Ok(Ok(_))) => "answered".to_owned(),
        Some(Ok(Err(code))) => code.to_string(),
        _ => "nothing".to_owned(),
    };
    drop(OutgoingBody::finish(body, None));
    said
}

fn hoard_bodies() -> String {
    loop {
        let request = request("127.0.0.1:1");
        let body = request.body().expect("a body");
        let stream = body.write().expect("a stream");
        while let Ok(room @ 1..) = stream.check_write() {
            stream.write(&vec![b'x'; room as usize]).expect("room");
        }
        forget((stream, body, request));
    }
}

fn hoard_fields() -> String {
    let long = vec![b'x'; 4_096];
    loop {
        let fields = Fields::new();
        for n in 0..3 {
            let name = format!("x-{n}");
            fields.append(&name, &long).expect("a field");
        }
        forget(fields);
    }
}

fn taken(names: Vec<String>) -> Vec<String> {
    let fields = Fields::new();
    let is_taken = |name: &String| fields.append(name, b"x").is_ok();
    names.into_iter().filter(is_taken).collect()
}
