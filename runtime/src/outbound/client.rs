//! Sends what a plugin asks for, where its grants permit it.

use super::answer::{self, Body};
use super::connection::{Connection, Failure};
use super::grant::Grant;
use super::header;
use super::idle::Idle;
use super::origin::Origin;
use super::recorded::{self, Recorded};
use super::refusal::Refusal;
use super::resolver::Resolver;
use crate::tls::Tls;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri};
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How much requests may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The time of one, from its beginning to the last byte of the answer.
    pub time: Duration,
    /// Bytes of what is sent.
    pub request: u64,
    /// Bytes of what comes.
    pub response: u64,
    /// How many may be on their way at once.
    pub connections: u32,
}

/// How answers are come by.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Over the network.
    Network(Resolver),
    /// Out of a list.
    Recorded(Arc<[Recorded]>),
}

impl Default for Transport {
    fn default() -> Self {
        Self::Recorded(Arc::from([]))
    }
}

/// Sends the requests of one plugin in one pipeline. Its connections are used for nobody else.
pub struct Client {
    places: Vec<Place>,
    limits: Limits,
    transport: Transport,
    turns: Semaphore,
    idle: Idle,
}

/// A granted place, and what encrypts there.
struct Place {
    grant: Grant,
    tls: Option<Arc<ClientConfig>>,
}

impl Client {
    /// Reads what encryption needs.
    ///
    /// # Errors
    /// When a certificate or key of a grant cannot be used.
    pub fn new(grants: &[Grant], limits: Limits, transport: Transport) -> Result<Self, String> {
        let mut known: BTreeMap<&Tls, Arc<ClientConfig>> = BTreeMap::new();
        let mut places = Vec::with_capacity(grants.len());
        for grant in grants {
            let needs_tls =
                grant.pattern.is_encrypted() && matches!(transport, Transport::Network(_));
            let tls = match known.get(&grant.settings.tls) {
                _ if !needs_tls => None,
                Some(tls) => Some(tls.clone()),
                None => {
                    let tls = Arc::new(grant.settings.tls.client()?);
                    known.insert(&grant.settings.tls, tls.clone());
                    Some(tls)
                }
            };
            places.push(Place {
                grant: grant.clone(),
                tls,
            });
        }
        Ok(Self {
            places,
            transport,
            ..Self::granted_nothing(limits)
        })
    }

    /// One that sends nothing.
    #[must_use]
    pub fn granted_nothing(limits: Limits) -> Self {
        let n_turns = usize::try_from(limits.connections).unwrap_or(usize::MAX);
        Self {
            places: Vec::new(),
            transport: Transport::default(),
            turns: Semaphore::new(n_turns.clamp(1, Semaphore::MAX_PERMITS)),
            idle: Idle::default(),
            limits,
        }
    }

    /// The whole answer to a request, of at most `room` bytes and within `time`, where these are less
    /// than the limits. A redirect is an answer like any other.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn send<B>(
        &self,
        request: Request<B>,
        time: Option<Duration>,
        room: u64,
    ) -> Result<Response<Bytes>, Refusal>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Display,
    {
        let time = time.unwrap_or(self.limits.time).min(self.limits.time);
        let answered = tokio::time::timeout(time, self.permitted(request, room)).await;
        answered.unwrap_or(Err(Refusal::Late(time)))
    }

    async fn permitted<B>(&self, request: Request<B>, room: u64) -> Result<Response<Bytes>, Refusal>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Display,
    {
        let (head, body) = request.into_parts();
        let origin = Origin::of(&head.uri)
            .map_err(|why| Refusal::Denied(format!("a request is not sent anywhere: {why}")))?;
        let resolver = match &self.transport {
            Transport::Network(resolver) => resolver,
            Transport::Recorded(recorded) => {
                // Without any grant nobody knows yet what will be granted.
                if !self.places.is_empty() {
                    self.place(&origin, &head.method)?;
                }
                self.whole(body).await?;
                return recorded::answer(recorded, &head.method, &head.uri);
            }
        };
        let place = self.place(&origin, &head.method)?;
        let headers = header::prepare(head.headers, &origin, &place.grant)?;
        // Before anything is gathered: what waits for its turn holds no memory.
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|_| Refusal::Over)?;
        let message = Message {
            headers,
            path: path_of(&head.uri)?,
            method: head.method,
            body: self.whole(body).await?,
            room: room.min(self.limits.response),
        };
        let answered = self.exchange(&origin, place, message, resolver);
        passed_on(answered.await?, &origin, &place.grant)
    }

    /// What is to be sent.
    async fn whole<B>(&self, body: B) -> Result<Bytes, Refusal>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: Display,
    {
        let longest = self.limits.request;
        let body = answer::whole(body, longest).await;
        body.map_err(|fault| match fault {
            answer::Fault::TooLong => Refusal::RequestSize(longest),
            answer::Fault::Cut(_) => Refusal::Unfinished,
        })
    }

    /// The grant that permits it; one that names the host goes before one that names those below.
    fn place(&self, origin: &Origin, method: &Method) -> Result<&Place, Refusal> {
        let covering = || {
            let places = self.places.iter();
            places.filter(|place| place.grant.pattern.covers(origin))
        };
        let place = covering().find(|place| place.grant.pattern.is_exact());
        let Some(place) = place.or_else(|| covering().next()) else {
            return Err(Refusal::Denied(format!(
                "requests to {origin} are not granted: name it in `http` of the plugin's grants"
            )));
        };
        let methods = &place.grant.settings.methods;
        if !methods.contains(method) {
            let pattern = &place.grant.pattern;
            return Err(Refusal::Denied(format!(
                "`{method}` to {origin} is not granted: name it in `methods` of the plugin's \
                 `http.\"{pattern}\"`, where that is meant"
            )));
        }
        Ok(place)
    }

    async fn exchange(
        &self,
        origin: &Origin,
        place: &Place,
        message: Message,
        resolver: &Resolver,
    ) -> Result<Response<Bytes>, Refusal> {
        let room = message.room;
        if let Some(mut connection) = self.idle.take(origin).await {
            match connection.ask(origin, message.request(), room).await {
                Ok(answer) => {
                    self.keep(origin, connection).await;
                    return Ok(answer);
                }
                // It was closed just when it was used again: nobody has seen the request, or it
                // changes nothing.
                Err(failure) if failure.was_closed && message.method.is_safe() => {}
                Err(Failure { refusal, .. }) => return Err(refusal),
            }
        }
        let tls = place.tls.as_ref();
        let mut connection = Connection::open(origin, &place.grant, tls, resolver).await?;
        let asked = connection.ask(origin, message.request(), room).await;
        let answer = asked.map_err(|failure| failure.refusal)?;
        self.keep(origin, connection).await;
        Ok(answer)
    }

    async fn keep(&self, origin: &Origin, connection: Connection) {
        let most = usize::try_from(self.limits.connections).unwrap_or(usize::MAX);
        self.idle.keep(origin.clone(), connection, most).await;
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A request as it is sent.
struct Message {
    method: Method,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    /// How long its answer may be.
    room: u64,
}

impl Message {
    fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What stands in the first line of a request.
fn path_of(uri: &Uri) -> Result<Uri, Refusal> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    path.parse()
        .map_err(|_| Refusal::Denied("the path of a request is none".to_owned()))
}

/// The answer, without what its plugin may not see.
fn passed_on(
    mut answer: Response<Bytes>,
    origin: &Origin,
    grant: &Grant,
) -> Result<Response<Bytes>, Refusal> {
    if answer.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        let why = format!("{origin} wants to speak something else");
        return Err(Refusal::Protocol(why));
    }
    for placed in &grant.settings.headers {
        answer.headers_mut().remove(&placed.name);
    }
    let headers = answer.headers();
    let mut placed = grant.settings.headers.iter();
    let echoed = placed.find(|placed| {
        placed.is_in(answer.body()) || headers.values().any(|value| placed.is_in(value.as_bytes()))
    });
    match echoed {
        Some(placed) => Err(Refusal::Withheld(format!(
            "the answer of {origin} holds the secret of the header `{}`: it is not given to the plugin",
            placed.name
        ))),
        None => Ok(answer),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
