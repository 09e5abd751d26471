//! A module whose answers wait until enough have asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// A module. It ends when it is dropped.
pub(super) struct Meeting {
    port: u16,
    most: Arc<AtomicUsize>,
    _work: JoinSet<()>,
}

impl Meeting {
    /// One that answers whenever `n` are waiting.
    pub(super) async fn of(n: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (most, now) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (noted, barrier) = (most.clone(), Arc::new(Barrier::new(n)));
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let counts = (now.clone(), noted.clone());
                clients.spawn(serve(client, barrier.clone(), counts));
            }
        });
        Self {
            port,
            most,
            _work: work,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How many have waited at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// Says of each request which path it asked for.
async fn serve(
    mut client: TcpStream,
    barrier: Arc<Barrier>,
    (now, most): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let mut read = Vec::new();
    while client.read_buf(&mut read).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&read).into_owned();
        if !text.contains("\r\n\r\n") {
            continue;
        }
        read.clear();
        let n = now.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(n, Ordering::SeqCst);
        barrier.wait().await;
        now.fetch_sub(1, Ordering::SeqCst);
        let path = text.split(' ').nth(1).unwrap();
        let body = format!("{{\"path\":{path:?}}}");
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
