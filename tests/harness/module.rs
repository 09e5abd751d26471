//! A module with an HTTP API, which keeps a journal of every request and can be told to misbehave.
//! It speaks HTTP by hand: what a library would never send is half of what it is for.

mod books;
mod outside;
mod reservations;

use books::Books;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use outside::{OutsideModule, serve_where_asked};

/// What a module does instead of what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with this status, having done nothing; with further header lines.
    Refuse(u16, &'static str),
    /// Does it, and answers 500.
    FailAfter,
    /// Does it, and answers so much later.
    Late(Duration),
    /// Does it, and cuts the connection in the middle of the answer.
    Cut,
    /// Does it, and answers what is no HTTP.
    Garble,
    /// Somebody in front of it answers 504, and it gets the request when it is told to.
    Delay,
}

/// A request as it came, and what was answered.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `GET`, `PUT` and so on.
    pub(crate) method: String,
    /// The path as it was sent.
    pub(crate) path: String,
    /// Headers, their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: String,
    /// Whether the module changed something because of it.
    pub(crate) applied: bool,
    /// Whether it answered what it had answered before.
    pub(crate) is_known: bool,
    /// The status that was answered or would have been.
    pub(crate) status: u16,
    /// When it came.
    pub(crate) at: Instant,
}

impl Entry {
    fn new(
        (method, path): (String, String),
        headers: BTreeMap<String, String>,
        body: String,
    ) -> Self {
        Self {
            method,
            path,
            headers,
            body,
            applied: false,
            is_known: false,
            status: 0,
            at: Instant::now(),
        }
    }
}

/// A module. It ends when it is dropped.
pub(crate) struct Module {
    port: u16,
    books: Arc<Mutex<Books>>,
    _work: JoinSet<()>,
}

impl Module {
    /// Starts one that answers as it should.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let books = Arc::<Mutex<Books>>::default();
        let mut work = JoinSet::new();
        let kept = books.clone();
        work.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                clients.spawn(serve(client, kept.clone()));
            }
        });
        Self {
            port,
            books,
            _work: work,
        }
    }

    /// Starts one that keeps to this level.
    pub(crate) async fn start_at(level: &str) -> Self {
        let module = Self::start().await;
        if level == "M2" {
            module.remember_keys();
        }
        module
    }

    /// Where it is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What becomes of the next writes, in order.
    pub(crate) fn misbehave(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books().faults.extend(faults);
    }

    /// From now on nothing is wrong.
    pub(crate) fn clear_faults(&self) {
        self.books().faults.clear();
    }

    /// Takes what is tried although it was cancelled.
    pub(crate) fn forget_cancelled(&self) {
        self.books().reservations.forgets_cancelled = true;
    }

    /// The parts of transactions that are tried and have not ended, by name.
    pub(crate) fn reserved(&self) -> Vec<String> {
        self.books().reservations.open()
    }

    /// Takes every write, whatever it depends on.
    pub(crate) fn ignore_versions(&self) {
        self.books().ignores_versions = true;
    }

    /// Gives what holds the same the same version, as one whose `ETag` is a hash.
    pub(crate) fn hash_content(&self) {
        self.books().hashes_content = true;
    }

    /// From now on it knows requests again by their keys, of those that it was not told to forget.
    pub(crate) fn remember_keys(&self) {
        self.books().keys.get_or_insert_default();
    }

    /// Forgets the keys of earlier requests, as one that is restarted and kept them in memory.
    pub(crate) fn forget_keys(&self) {
        self.books().keys.iter_mut().for_each(BTreeMap::clear);
    }

    /// Gets the requests that were delayed.
    pub(crate) fn arrive(&self) {
        self.books().arrive();
    }

    /// What it holds at a path.
    pub(crate) fn held(&self, path: &str) -> Option<String> {
        self.books()
            .entities
            .get(path)
            .map(|(_, content)| content.clone())
    }

    /// The version of what it holds at a path.
    pub(crate) fn version(&self, path: &str) -> Option<u64> {
        self.books().entities.get(path).map(|(version, _)| *version)
    }

    /// Writes what it holds at a path, as somebody who is no client of it.
    pub(crate) fn put(&self, path: &str, content: &str) {
        self.books().set(path.to_owned(), Some(content.to_owned()));
    }

    /// Every request so far.
    pub(crate) fn journal(&self) -> Vec<Entry> {
        self.books().journal.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

async fn serve(client: TcpStream, books: Arc<Mutex<Books>>) {
    let mut client = BufReader::new(client);
    while let Some(entry) = request(&mut client).await {
        let (answer, fault) = {
            let mut books = books.lock().unwrap();
            let is_write = entry.method != "GET";
            let fault = is_write.then(|| books.next_fault(&entry)).flatten();
            let answer = books.take(entry, fault.as_ref());
            (answer, fault)
        };
        let client = client.get_mut();
        match fault {
            Some(Fault::Late(pause)) => tokio::time::sleep(pause).await,
            Some(Fault::Cut) => {
                let half = &answer[..answer.len() - 5];
                // Whether it arrives is not ours to know.
                let _sent = client.write_all(half.as_bytes()).await;
                return;
            }
            Some(Fault::Garble) => {
                let _sent = client.write_all(b"\x00\x01 no HTTP at all\r\n\r\n").await;
                return;
            }
            _ => {}
        }
        if client.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(client: &mut BufReader<TcpStream>) -> Option<Entry> {
    let mut line = String::new();
    client.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    let mut parts = line.split_whitespace().map(str::to_owned);
    let (method, path) = (parts.next()?, parts.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            None => break,
        }
    }
    let length = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Entry::new((method, path), headers, body))
}
