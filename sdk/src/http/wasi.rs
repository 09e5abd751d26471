//! Requests through `wasi:http`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use super::{Fault, Request, Response};

/// The most that one call may write.
const PIECE: usize = 4_096;
/// The most that one call reads.
const READ: u64 = 64 * 1024;

pub(super) fn carry(request: &Request) -> Result<Response, Fault> {
    let outgoing = outgoing(request)?;
    let body = outgoing.body().map_err(|()| refused("its body"))?;
    let options = RequestOptions::new();
    if let Some(timeout) = request.timeout {
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let _set = options.set_first_byte_timeout(Some(nanoseconds));
    }
    let answered = handle(outgoing, Some(options)).map_err(fault)?;
    write(body, &request.body);
    read(&wait(&answered)?)
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Fault> {
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(refused("its URL, which is neither https:// nor http://")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    // Without a path a URL is none to the host.
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    let pairs = request.headers.iter();
    let pairs: Vec<_> = pairs
        .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
        .collect();
    let fields =
        Fields::from_list(&pairs).map_err(|error| refused(&format!("a header: {error}")))?;
    let outgoing = OutgoingRequest::new(fields);
    let set = outgoing
        .set_method(&method(&request.method))
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&path)));
    set.map_err(|()| refused("its URL or method"))?;
    Ok(outgoing)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Why it could not be written is told in place of the answer.
fn write(body: OutgoingBody, bytes: &[u8]) {
    if let Ok(stream) = body.write() {
        for piece in bytes.chunks(PIECE) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    let _finished = OutgoingBody::finish(body, None);
}

fn wait(answered: &FutureIncomingResponse) -> Result<IncomingResponse, Fault> {
    answered.subscribe().block();
    match answered.get() {
        Some(Ok(answer)) => answer.map_err(fault),
        Some(Err(())) | None => Err(Fault::Away("there is no answer".to_owned())),
    }
}

fn read(answer: &IncomingResponse) -> Result<Response, Fault> {
    let cut = || Fault::Away("the answer was cut".to_owned());
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = answer.headers().entries();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), text(value)));
    let incoming = answer.consume().map_err(|()| cut())?;
    let mut body = Vec::new();
    {
        let stream = incoming.stream().map_err(|()| cut())?;
        loop {
            match stream.blocking_read(READ) {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(_)) => return Err(cut()),
            }
        }
    }
    Ok(Response {
        status: answer.status(),
        headers: headers.collect(),
        body,
    })
}

fn refused(what: &str) -> Fault {
    Fault::Refused(format!("the host does not take {what}"))
}

/// What can pass, and what cannot.
fn fault(code: ErrorCode) -> Fault {
    match code {
        ErrorCode::HttpRequestDenied => Fault::Refused(
            "not granted: see `http` in the plugin's `grants`; the host's log has the reason"
                .to_owned(),
        ),
        ErrorCode::DestinationIpProhibited => Fault::Refused(
            "its address is not of the public internet: see `networks` of the plugin's `http`"
                .to_owned(),
        ),
        ErrorCode::HttpRequestBodySize(_) => {
            Fault::Refused("more than the limit `http_request`".to_owned())
        }
        ErrorCode::HttpResponseBodySize(_) => Fault::Refused(
            "the answer is more than the limit `http_response` or `memory`".to_owned(),
        ),
        ErrorCode::InternalError(Some(why)) => Fault::Refused(why),
        ErrorCode::DnsError(payload) => Fault::Away(
            payload
                .rcode
                .unwrap_or_else(|| "its name is not known".to_owned()),
        ),
        ErrorCode::ConnectionReadTimeout => Fault::Away("it takes too long".to_owned()),
        ErrorCode::ConnectionRefused => Fault::Away("nobody answers there".to_owned()),
        ErrorCode::TlsProtocolError => {
            Fault::Away("TLS with it fails: see the host's log".to_owned())
        }
        other => Fault::Away(other.to_string()),
    }
}
