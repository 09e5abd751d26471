//! A module that says yes to everything, and nothing at all while it stalls. It keeps no journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A module. It ends when it is dropped.
pub(super) struct Module {
    port: u16,
    stalls: watch::Sender<bool>,
    counts: Arc<Counts>,
    _work: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    waiting: AtomicU64,
}

impl Module {
    /// Starts one.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stalls, stalled) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let mut work = JoinSet::new();
        let kept = counts.clone();
        work.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                clients.spawn(serve(client, stalled.clone(), kept.clone()));
                while clients.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            stalls,
            counts,
            _work: work,
        }
    }

    /// Where it is.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on it answers nobody, or everybody again.
    pub(super) fn stall(&self, stalls: bool) {
        self.stalls.send(stalls).unwrap();
    }

    /// How many requests came.
    pub(super) fn n_requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// How many requests met a module that stalled.
    pub(super) fn n_waiting(&self) -> u64 {
        self.counts.waiting.load(Ordering::Relaxed)
    }
}

async fn serve(client: TcpStream, mut stalled: watch::Receiver<bool>, counts: Arc<Counts>) {
    let mut client = BufReader::new(client);
    while request(&mut client).await.is_some() {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        if *stalled.borrow() {
            counts.waiting.fetch_add(1, Ordering::Relaxed);
        }
        if stalled.wait_for(|stalls| !stalls).await.is_err() {
            return;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        if client.get_mut().write_all(answer).await.is_err() {
            return;
        }
    }
}

/// Reads one request; none when the client is gone.
async fn request(client: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    Some(())
}
