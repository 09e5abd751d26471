//! `wasi:http`: requests to hosts that were granted.
//!
//! The crate `wasmtime-wasi-http` has the resources; what is sent, and whether, is for `outbound` to
//! say. A request belongs to its event: it is given up when the event ends.

use super::Services;
use crate::outbound::{Client, Refusal, is_reserved};
use crate::plugin::instance::HostState;
use crate::shutdown::Shutdown;
use crate::telemetry::HttpMetrics;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
};

/// Where requests begin. Linked for every 0.2.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
/// What the fields of one message may take in our memory. A guest may hold a thousand of them.
const LARGEST_FIELDS: usize = 16 * 1024;
/// What a guest may write ahead of one request, twice. It may hold some hundred of these.
const LARGEST_PIECE: usize = 32 * 1024;

/// The requests of one instance.
pub(in crate::plugin) struct Outgoing {
    context: WasiHttpCtx,
    hooks: Hooks,
    /// Bytes of answers that earlier events have got: a guest may have kept all of them.
    n_kept: u64,
}

/// What `wasmtime-wasi-http` asks.
struct Hooks {
    client: Arc<Client>,
    /// Set while an event sends requests.
    event: Option<Arc<Ongoing>>,
}

/// An event that sends requests.
struct Ongoing {
    id: String,
    plugin: String,
    pipeline: String,
    metrics: Arc<HttpMetrics>,
    /// Bytes that the event may read, and has read in answers.
    limit: u64,
    n_read: AtomicU64,
    was_told: AtomicBool,
    over: Shutdown,
}

impl Outgoing {
    pub(in crate::plugin) fn new(services: &Services) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(LARGEST_FIELDS);
        Self {
            context,
            hooks: Hooks {
                client: services.http.clone(),
                event: None,
            },
            n_kept: 0,
        }
    }

    /// Gives up what is on its way: its event has ended.
    pub(in crate::plugin) fn end(&mut self) {
        if let Some(event) = self.hooks.event.take() {
            event.over.begin();
            let n_read = event.n_read.load(Ordering::Relaxed);
            self.n_kept = self.n_kept.saturating_add(n_read);
        }
    }

    /// Whether the instance may hold more in our memory than one event may read: it does not see
    /// another one.
    pub(in crate::plugin) fn is_full(&self, limit: u64) -> bool {
        self.n_kept > limit
    }

    /// Bytes of the answers that the event has got.
    pub(in crate::plugin) fn n_read(&self) -> u64 {
        let event = self.hooks.event.as_ref();
        event.map_or(0, |event| event.n_read.load(Ordering::Relaxed))
    }

    pub(in crate::plugin) fn view<'a>(
        &'a mut self,
        table: &'a mut ResourceTable,
    ) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table,
            ctx: &mut self.context,
        }
    }

    /// Counts requests for the event from now on, if it has none yet.
    fn begin(&mut self, id: &str, services: &Services) {
        self.hooks.event.get_or_insert_with(|| {
            Arc::new(Ongoing {
                id: id.to_owned(),
                plugin: services.plugin.clone(),
                pipeline: services.pipeline.clone(),
                metrics: services.metrics.http(&services.pipeline, &services.plugin),
                limit: services.limits.memory.as_u64(),
                n_read: AtomicU64::new(0),
                was_told: AtomicBool::new(false),
                over: Shutdown::new(),
            })
        });
    }
}

impl Ongoing {
    /// Counts an answer, which was whole.
    fn take(&self, answer: http::Response<Bytes>) -> Result<http::Response<Bytes>, Refusal> {
        let body = answer.body().len();
        let headers = answer.headers().iter();
        let head: usize = headers
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        let n_bytes = u64::try_from(body + head).unwrap_or(u64::MAX);
        let before = self.n_read.fetch_add(n_bytes, Ordering::Relaxed);
        if before.saturating_add(n_bytes) > self.limit {
            return Err(Refusal::Memory(self.limit));
        }
        self.metrics.answered.increment();
        self.metrics
            .bytes
            .add(u64::try_from(body).unwrap_or(u64::MAX));
        Ok(answer)
    }

    /// Counts a request that got no answer, and says so, once for each event.
    fn refused(&self, refusal: &Refusal) {
        let counter = match refusal.is_ours() {
            true => &self.metrics.refused,
            false => &self.metrics.failed,
        };
        counter.increment();
        let (plugin, pipeline, event) = (&self.plugin, &self.pipeline, &self.id);
        if *refusal == Refusal::Over || self.was_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%plugin, %pipeline, %event, %refusal, "no answer to an HTTP request");
        } else {
            tracing::warn!(%plugin, %pipeline, %event, %refusal,
                "no answer to an HTTP request of the plugin");
        }
    }
}

type Answered = Result<(http::Response<WasiBody>, Box<Rest>), Error>;
type Rest = dyn Future<Output = Result<(), Error>> + Send;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_reserved)
    }

    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        is_reserved(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        LARGEST_PIECE
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<Rest>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let (client, event) = (self.client.clone(), self.event.clone());
        Box::new(async move {
            let Some(event) = event else {
                return Err(Error::HttpRequestDenied);
            };
            let sent = send(&client, &event, request, options).await;
            match sent.and_then(|answer| event.take(answer)) {
                Ok(answer) => {
                    let body = |bytes| Full::new(bytes).map_err(Error::from).boxed_unsync();
                    let rest: Box<Rest> = Box::new(async { Ok(()) });
                    Ok((answer.map(body), rest))
                }
                Err(refusal) => {
                    event.refused(&refusal);
                    Err(code(refusal))
                }
            }
        })
    }
}

async fn send(
    client: &Client,
    event: &Ongoing,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<http::Response<Bytes>, Refusal> {
    let time = options.and_then(|options| options.first_byte_timeout);
    let room = event
        .limit
        .saturating_sub(event.n_read.load(Ordering::Relaxed));
    tokio::select! {
        biased;
        () = event.over.begun() => Err(Refusal::Over),
        answered = client.send(request, time, room) => answered,
    }
}

/// The same in the words of WASI.
fn code(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Denied(_) => Error::HttpRequestDenied,
        Refusal::Address(_) => Error::DestinationIpProhibited,
        Refusal::Name(why) => Error::DnsError {
            rcode: Some(why),
            info_code: None,
        },
        Refusal::Connect(_) => Error::ConnectionRefused,
        Refusal::Encryption(_) => Error::TlsProtocolError,
        Refusal::Late(_) => Error::ConnectionReadTimeout,
        Refusal::Over => Error::ConnectionTerminated,
        Refusal::RequestSize(limit) => Error::HttpRequestBodySize(Some(limit)),
        Refusal::AnswerSize(limit) | Refusal::Memory(limit) => {
            Error::HttpResponseBodySize(Some(limit))
        }
        Refusal::Unfinished => Error::HttpRequestBodySize(None),
        Refusal::Protocol(_) => Error::HttpProtocolError,
        Refusal::Withheld(why) => Error::InternalError(Some(why)),
    }
}

/// Adds what the world `plugin-http` imports besides.
pub(super) fn add_to_linker(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<_, WasiHttp>(linker, &(&options).into(), HostState::http)?;
    // By hand: requests are counted, and belong to an event.
    let mut handler = linker.instance(HANDLER)?;
    handler.func_wrap("handle", |mut store, (request, options)| {
        handle(store.data_mut(), request, options).map(|handled| (handled,))
    })
}

fn handle(
    state: &mut HostState,
    request: Resource<HostOutgoingRequest>,
    options: Option<Resource<types::RequestOptions>>,
) -> wasmtime::Result<Result<Resource<HostFutureIncomingResponse>, types::ErrorCode>> {
    state.count_host_call()?;
    let services = state.services.clone();
    let Some(id) = state.event_at_work() else {
        let why = "requests are sent only while an event is thought about";
        return Ok(Err(types::ErrorCode::InternalError(Some(why.to_owned()))));
    };
    state.outgoing.begin(&id, &services);
    match outgoing_handler::Host::handle(&mut state.http(), request, options) {
        Ok(answered) => Ok(Ok(answered)),
        Err(error) => error.downcast().map(Err),
    }
}
