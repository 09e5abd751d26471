//! A host for plugins' requests, which answers by the path and keeps what it was sent.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A host. It ends when it is dropped.
pub(super) struct Site {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    n_open: Arc<Mutex<usize>>,
    _work: JoinSet<()>,
}

impl Site {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, n_open) = (Arc::default(), Arc::default());
        let (noted, open) = (Arc::clone(&seen), Arc::clone(&n_open));
        let mut work = JoinSet::new();
        work.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                clients.spawn(serve(client, Arc::clone(&noted), Arc::clone(&open)));
            }
        });
        Self {
            port,
            seen,
            n_open,
            _work: work,
        }
    }

    /// As a grant names it, and as requests begin.
    pub(super) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Without the scheme.
    pub(super) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// The requests so far: head, empty line, body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Connections that are open.
    pub(super) fn n_open(&self) -> usize {
        *self.n_open.lock().unwrap()
    }
}

async fn serve(mut client: TcpStream, seen: Arc<Mutex<Vec<String>>>, open: Arc<Mutex<usize>>) {
    *open.lock().unwrap() += 1;
    while let Some(request) = request(&mut client).await {
        seen.lock().unwrap().push(request.clone());
        let path = request.split(' ').nth(1).unwrap_or_default();
        let Some(answer) = answer(path, &request) else {
            // Silent until the other side goes.
            let _end = client.read(&mut [0]).await;
            break;
        };
        if client.write_all(answer.as_bytes()).await.is_err() {
            break;
        }
    }
    *open.lock().unwrap() -= 1;
}

async fn request(client: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
        if client.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// `/echo` gives the request back, `/moved` leads elsewhere, `/long/N` is so long, `/silent` says
/// nothing; anything else is a greeting.
fn answer(path: &str, request: &str) -> Option<String> {
    let (status, more, body) = match path {
        "/silent" => return None,
        "/echo" => ("200 OK", String::new(), request.to_owned()),
        "/moved" => {
            let line = "Location: http://169.254.169.254/latest\r\n";
            ("307 Temporary Redirect", line.to_owned(), String::new())
        }
        path => {
            let length = path.strip_prefix("/long/").and_then(|n| n.parse().ok());
            let body = length.map_or("hello".to_owned(), |n| "x".repeat(n));
            ("200 OK", "X-Kind: plain\r\n".to_owned(), body)
        }
    };
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    ))
}
