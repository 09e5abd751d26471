//! The client against hosts on this machine that say what they are told to.

use super::*;
use crate::outbound::{Network, Pattern, Placed, Settings};
use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderName, StatusCode};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A host. It ends when it is dropped.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    n_connections: Arc<AtomicUsize>,
    _work: JoinSet<()>,
}

type Say = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

impl Server {
    /// Says to each request what `say` makes of its head; nothing, and never ends, at `None`. What it
    /// says ends with a cut connection where it has no length.
    async fn on(
        address: Ipv4Addr,
        say: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, n_connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (noted, counted) = (heads.clone(), Arc::clone(&n_connections));
        let say: Say = Arc::new(say);
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let counted: &AtomicUsize = &counted;
                counted.fetch_add(1, Ordering::Relaxed);
                clients.spawn(talk(client, noted.clone(), say.clone()));
            }
        });
        Self {
            address,
            heads,
            n_connections,
            _work: work,
        }
    }

    async fn saying(say: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, say).await
    }

    fn grant(&self) -> Grant {
        Grant::of(format!("http://{}", self.address).parse().unwrap())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn talk(mut client: TcpStream, heads: Arc<Mutex<Vec<String>>>, say: Say) {
    let mut read = Vec::new();
    while client.read_buf(&mut read).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse().ok())?
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        heads.lock().unwrap().push(head.to_owned());
        let Some(said) = say(head) else {
            std::future::pending::<()>().await;
            return;
        };
        if client.write_all(said.as_bytes()).await.is_err() || !said.contains("ontent-length") {
            return;
        }
        read.clear();
    }
}

fn ok(body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 200 OK\r\nContent-length: {length}\r\n\r\n{body}"
    ))
}

fn limits() -> Limits {
    Limits {
        time: Duration::from_secs(20),
        request: 1_000,
        response: 1_000,
        connections: 4,
    }
}

fn client(grants: &[Grant]) -> Client {
    Client::new(grants, limits(), Transport::Network(Resolver::system())).unwrap()
}

fn request(method: &str, url: &str, body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(body.to_owned()));
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = url.parse().unwrap();
    request
}

async fn get(client: &Client, url: &str) -> Result<Response<Bytes>, Refusal> {
    client.send(request("GET", url, ""), None, u64::MAX).await
}

async fn body(client: &Client, url: &str) -> String {
    let answer = get(client, url).await.unwrap();
    String::from_utf8(answer.body().to_vec()).unwrap()
}

#[tokio::test]
async fn only_what_is_granted_is_asked() {
    let (server, other) = (
        Server::saying(|_| ok("hello")).await,
        Server::saying(|_| ok("")).await,
    );
    let client = client(&[server.grant()]);
    assert_eq!(body(&client, &server.url("/a?b=c")).await, "hello");
    assert!(server.heads()[0].starts_with("GET /a?b=c HTTP/1.1\r\n"));
    let urls = [
        other.url("/"),
        server.url("/").replace("http", "https"),
        server.url("/").replace("127.0.0.1", "localhost"),
        server.url("/").replace("127.0.0.1", "127.0.0.1.nip.io"),
        server.url("/").replace("//", "//me@"),
    ];
    for url in urls {
        let refused = get(&client, &url).await;
        assert!(
            matches!(refused, Err(Refusal::Denied(_))),
            "{url}: {refused:?}"
        );
    }
    for method in ["POST", "DELETE", "TRACE", "CONNECT", "BREW"] {
        let refused = client
            .send(request(method, &server.url("/"), ""), None, 1)
            .await;
        assert!(
            matches!(refused, Err(Refusal::Denied(_))),
            "{method}: {refused:?}"
        );
    }
    assert_eq!((server.heads().len(), other.heads().len()), (1, 0));
}

#[tokio::test]
async fn methods_that_change_something_are_granted_by_name() {
    let server = Server::saying(|_| ok("")).await;
    let mut grant = server.grant();
    grant.settings.methods = vec![Method::POST];
    let client = client(&[grant]);
    let posted = client.send(request("POST", &server.url("/"), "abc"), None, 1_000);
    assert_eq!(posted.await.unwrap().status(), StatusCode::OK);
    let head = server.heads().remove(0).to_ascii_lowercase();
    assert!(head.contains("content-length: 3"), "{head}");
    assert!(matches!(
        get(&client, &server.url("/")).await,
        Err(Refusal::Denied(_))
    ));
}

#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_refused_without_its_network() {
    let server = Server::saying(|_| ok("inside")).await;
    let url = server.url("/").replace("127.0.0.1", "localhost");
    let pattern: Pattern = url.trim_end_matches('/').parse().unwrap();
    let mut grant = Grant::of(pattern);
    let refused = get(&client(&[grant.clone()]), &url).await;
    assert!(matches!(refused, Err(Refusal::Address(_))), "{refused:?}");
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 0);
    let loopback = ["127.0.0.0/8", "::1"].map(|network| network.parse::<Network>().unwrap());
    grant.settings.networks = loopback.to_vec();
    assert_eq!(body(&client(&[grant]), &url).await, "inside");
}

/// The name stands for what is granted when it is looked at, and for something else right after.
#[tokio::test]
async fn the_address_that_was_looked_at_is_the_one_that_is_asked() {
    let outside = Server::on(Ipv4Addr::new(127, 0, 0, 2), |_| {
        Some("HTTP/1.1 200 OK\r\n\r\noutside".to_owned())
    })
    .await;
    let n_asked = Arc::new(AtomicUsize::new(0));
    let asked = n_asked.clone();
    let resolver = Resolver::new(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let last = if first { 2 } else { 1 };
        async move { Ok(vec![IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))]) }.boxed()
    });
    let url = format!("http://rebinding.test:{}", outside.address.port());
    let mut grant = Grant::of(url.parse().unwrap());
    grant.settings.networks = vec!["127.0.0.2".parse().unwrap()];
    let client = Client::new(&[grant], limits(), Transport::Network(resolver)).unwrap();
    assert_eq!(body(&client, &url).await, "outside");
    assert_eq!(n_asked.load(Ordering::Relaxed), 1);
    let refused = get(&client, &url).await;
    assert!(matches!(refused, Err(Refusal::Address(_))), "{refused:?}");
    assert_eq!(outside.heads().len(), 1);
}

#[tokio::test]
async fn of_several_addresses_those_that_may_be_reached_are() {
    let server = Server::on(Ipv4Addr::new(127, 0, 0, 3), |_| ok("third")).await;
    let resolver = Resolver::new(|_| {
        let all = [[10, 0, 0, 1], [169, 254, 169, 254], [127, 0, 0, 3]];
        async move { Ok(all.map(IpAddr::from).to_vec()) }.boxed()
    });
    let url = format!("http://several.test:{}", server.address.port());
    let mut grant = Grant::of(url.parse().unwrap());
    grant.settings.networks = vec!["127.0.0.3".parse().unwrap()];
    let client = Client::new(&[grant], limits(), Transport::Network(resolver)).unwrap();
    assert_eq!(body(&client, &url).await, "third");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let inside = Server::saying(|_| ok("inside")).await;
    let place = inside.url("/secret");
    let said = format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-length: 0\r\n\r\n");
    let server = Server::saying(move |_| Some(said.clone())).await;
    let client = client(&[server.grant()]);
    let answer = get(&client, &server.url("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    assert_eq!(answer.headers()["location"], place);
    let next = get(&client, &place).await;
    assert!(matches!(next, Err(Refusal::Denied(_))), "{next:?}");
    assert_eq!(inside.heads().len(), 0);
}

#[tokio::test]
async fn what_is_too_large_is_refused_on_its_way() {
    let server = Server::saying(|head| {
        let long = "x".repeat(1_001);
        if head.contains("/told") {
            return ok(&long);
        }
        if head.contains("/fits") {
            return ok(&"x".repeat(1_000));
        }
        // Ends only with the connection.
        Some(format!("HTTP/1.1 200 OK\r\n\r\n{long}"))
    })
    .await;
    let mut grant = server.grant();
    grant.settings.methods.push(Method::POST);
    let client = client(&[grant]);
    assert_eq!(body(&client, &server.url("/fits")).await.len(), 1_000);
    for path in ["/told", "/untold"] {
        let refused = get(&client, &server.url(path)).await;
        assert_eq!(refused.unwrap_err(), Refusal::AnswerSize(1_000), "{path}");
    }
    let room = client.send(request("GET", &server.url("/fits"), ""), None, 999);
    assert_eq!(room.await.unwrap_err(), Refusal::AnswerSize(999));
    let n_before = server.heads().len();
    let long = "x".repeat(1_001);
    let sent = client.send(request("POST", &server.url("/fits"), &long), None, 1_000);
    assert_eq!(sent.await.unwrap_err(), Refusal::RequestSize(1_000));
    assert_eq!(server.heads().len(), n_before);
}

#[tokio::test]
async fn who_does_not_answer_is_waited_for_no_longer_than_permitted() {
    let server = Server::saying(|head| match head.contains("/half") {
        true => Some("HTTP/1.1 200 OK\r\nContent-length: 9\r\n\r\nhalf".to_owned()),
        false => None,
    })
    .await;
    let client = client(&[server.grant()]);
    for path in ["/never", "/half"] {
        let time = Duration::from_millis(50);
        let late = client.send(request("GET", &server.url(path), ""), Some(time), 1_000);
        assert_eq!(late.await.unwrap_err(), Refusal::Late(time), "{path}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let client = self::client(&[Grant::of(place.parse().unwrap())]);
    let refused = get(&client, &place).await;
    assert!(matches!(refused, Err(Refusal::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn a_cut_answer_is_none() {
    let server = Server::saying(|head| match head.contains("/garbled") {
        true => Some("what?\r\n\r\n".to_owned()),
        false => Some("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal".to_owned()),
    })
    .await;
    let client = client(&[server.grant()]);
    for path in ["/garbled", "/cut"] {
        let refused = get(&client, &server.url(path)).await;
        assert!(
            matches!(refused, Err(Refusal::Protocol(_))),
            "{path}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn no_more_requests_are_on_their_way_at_once_than_permitted() {
    let (barrier, n_most) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let (meeting, most) = (barrier.clone(), n_most.clone());
    let mut work = JoinSet::new();
    // Answers two at a time, when both are there; a third one at the same time would be seen.
    work.spawn(async move {
        let (mut clients, n_now) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (meeting, most, n_now) = (meeting.clone(), most.clone(), n_now.clone());
            clients.spawn(async move {
                let mut read = [0; 1_024];
                let _n = client.read(&mut read).await.unwrap();
                let n = n_now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(n, Ordering::SeqCst);
                meeting.wait().await;
                n_now.fetch_sub(1, Ordering::SeqCst);
                client.write_all(b"HTTP/1.1 204 No\r\n\r\n").await.unwrap();
            });
        }
    });
    let narrow = Limits {
        connections: 2,
        ..limits()
    };
    let grants = [Grant::of(place.parse().unwrap())];
    let transport = Transport::Network(Resolver::system());
    let client = Client::new(&grants, narrow, transport).unwrap();
    let all = futures::future::join_all((0..6).map(|_| get(&client, &place))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(n_most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_secret_goes_to_its_host_and_does_not_come_back() {
    let server = Server::saying(|head| {
        let said = head.split_once("uthorization: ").map(|(_, rest)| rest);
        let said = said
            .and_then(|rest| rest.lines().next())
            .unwrap_or_default();
        if head.contains("/body") {
            return ok(&format!("you said {said}"));
        }
        if head.contains("/header") {
            let line = format!("X-Seen: {said}");
            return Some(format!(
                "HTTP/1.1 200 OK\r\n{line}\r\nContent-length: 0\r\n\r\n"
            ));
        }
        Some("HTTP/1.1 200 OK\r\nAuthorization: other\r\nContent-length: 0\r\n\r\n".to_owned())
    })
    .await;
    let mut grant = server.grant();
    let name = HeaderName::from_static("authorization");
    let secrets = vec!["s3cret-token".to_owned()];
    grant.settings = Settings {
        headers: vec![Placed::new(name, "Bearer s3cret-token", secrets).unwrap()],
        ..grant.settings
    };
    assert!(!format!("{grant:?}").contains("s3cret"), "{grant:?}");
    let client = client(&[grant]);
    let answer = get(&client, &server.url("/")).await.unwrap();
    assert!(server.heads()[0].contains("uthorization: Bearer s3cret-token\r\n"));
    assert_eq!(answer.headers().get("authorization"), None);
    for path in ["/body", "/header"] {
        let withheld = get(&client, &server.url(path)).await.unwrap_err();
        assert!(
            matches!(withheld, Refusal::Withheld(_)),
            "{path}: {withheld:?}"
        );
        assert!(!withheld.to_string().contains("s3cret"), "{withheld}");
    }
    let mut own = request("GET", &server.url("/"), "");
    own.headers_mut()
        .insert("authorization", "mine".parse().unwrap());
    let refused = client.send(own, None, 1).await;
    assert!(matches!(refused, Err(Refusal::Denied(_))), "{refused:?}");
}

#[tokio::test]
async fn connections_are_used_again_while_they_are_open() {
    let server = Server::saying(|head| match head.contains("/last") {
        true => Some("HTTP/1.1 200 OK\r\n\r\nlast".to_owned()),
        false => ok("again"),
    })
    .await;
    let client = client(&[server.grant()]);
    for _ in 0..3 {
        assert_eq!(body(&client, &server.url("/")).await, "again");
    }
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 1);
    // The connection ends with this answer.
    assert_eq!(body(&client, &server.url("/last")).await, "last");
    assert_eq!(body(&client, &server.url("/")).await, "again");
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn nothing_is_sent_where_answers_are_recorded() {
    let server = Server::saying(|_| ok("live")).await;
    let recorded = serde_json::json!([{ "url": server.url("/"), "body": "recorded" }]);
    let recorded: Vec<Recorded> = serde_json::from_value(recorded).unwrap();
    let transport = Transport::Recorded(recorded.into());
    let open = Client::new(&[], limits(), transport.clone()).unwrap();
    assert_eq!(body(&open, &server.url("/")).await, "recorded");
    let other = get(&open, &server.url("/other")).await.unwrap_err();
    assert!(
        other.to_string().contains("nothing is sent here"),
        "{other}"
    );
    // What is granted is kept to all the same.
    let grants = [Grant::of("api.example.com".parse().unwrap())];
    let strict = Client::new(&grants, limits(), transport).unwrap();
    let refused = get(&strict, &server.url("/")).await;
    assert!(matches!(refused, Err(Refusal::Denied(_))), "{refused:?}");
    assert_eq!(server.n_connections.load(Ordering::Relaxed), 0);
}

/// A thousand requests may wait; what they are to send must not wait in our memory.
#[tokio::test]
async fn a_body_is_gathered_when_it_is_its_turn() {
    let server = Server::saying(|_| ok("")).await;
    let narrow = Limits {
        connections: 1,
        time: Duration::from_millis(100),
        ..limits()
    };
    let transport = Transport::Network(Resolver::system());
    let client = Client::new(&[server.grant()], narrow, transport).unwrap();
    let n_polls = Arc::new(AtomicUsize::new(0));
    let polls = n_polls.clone();
    let never = futures::stream::pending::<Result<Frame<Bytes>, String>>();
    let counted = futures::stream::poll_fn(move |_| {
        polls.fetch_add(1, Ordering::Relaxed);
        Poll::<Option<Result<Frame<Bytes>, String>>>::Ready(None)
    });
    let with = |body| {
        let mut request = Request::new(body);
        *request.uri_mut() = server.url("/").parse().unwrap();
        request
    };
    let first = client.send(with(StreamBody::new(never.boxed())), None, 1);
    let second = client.send(with(StreamBody::new(counted.boxed())), None, 1);
    let (first, second) = tokio::join!(first, second);
    let late = Refusal::Late(Duration::from_millis(100));
    assert_eq!(
        (first.unwrap_err(), second.unwrap_err()),
        (late.clone(), late)
    );
    assert_eq!(n_polls.load(Ordering::Relaxed), 0);
}
