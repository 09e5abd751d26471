//! A module with an HTTP API, which keeps a journal of every request and can be told to misbehave.
//! It speaks HTTP by hand: what a library would never send is half of what it is for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

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
    /// The status that was answered or would have been.
    pub(crate) status: u16,
    /// When it came.
    pub(crate) at: Instant,
}

#[derive(Default)]
struct Books {
    /// Entities by path: version and content.
    entities: BTreeMap<String, (u64, String)>,
    n_versions: u64,
    journal: Vec<Entry>,
    faults: VecDeque<Fault>,
    ignores_versions: bool,
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

    /// Where it is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What becomes of the next writes, in order.
    pub(crate) fn misbehave(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books().faults.extend(faults);
    }

    /// Takes every write, whatever it depends on.
    pub(crate) fn ignore_versions(&self) {
        self.books().ignores_versions = true;
    }

    /// What it holds at a path.
    pub(crate) fn held(&self, path: &str) -> Option<String> {
        self.books()
            .entities
            .get(path)
            .map(|(_, content)| content.clone())
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
    while let Some(mut entry) = request(&mut client).await {
        let (answer, fault) = {
            let mut books = books.lock().unwrap();
            let is_write = entry.method != "GET";
            let fault = is_write.then(|| books.faults.pop_front()).flatten();
            let answer = books.answer(&mut entry, fault.as_ref());
            books.journal.push(entry);
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
    Some(Entry {
        method,
        path,
        headers,
        body: String::from_utf8(body).unwrap(),
        applied: false,
        status: 0,
        at: Instant::now(),
    })
}

impl Books {
    /// The answer as it goes over the wire, and what it says into the entry.
    fn answer(&mut self, entry: &mut Entry, fault: Option<&Fault>) -> String {
        let (mut more, mut body) = (String::new(), "{\"told\": true}".to_owned());
        entry.status = match fault {
            Some(Fault::Refuse(status, lines)) => {
                (*lines).clone_into(&mut more);
                body = "{\"error\": \"told to\"}".to_owned();
                *status
            }
            _ => self.handle(entry),
        };
        if entry.method == "GET"
            && let Some((version, content)) = self.entities.get(&entry.path)
        {
            more = format!("ETag: \"{version}\"\r\nContent-Type: application/json\r\n");
            body.clone_from(content);
        }
        if fault == Some(&Fault::FailAfter) {
            entry.status = 500;
        }
        let (status, length) = (entry.status, body.len());
        format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{more}\r\n{body}")
    }

    fn handle(&mut self, entry: &mut Entry) -> u16 {
        let found = self.entities.get(&entry.path).cloned();
        if entry.method == "GET" {
            return if found.is_some() { 200 } else { 404 };
        }
        if !self.ignores_versions && !depends_hold(entry, found.as_ref()) {
            return 412;
        }
        let content = match (entry.method.as_str(), found) {
            ("DELETE" | "PATCH", None) => return 404,
            ("DELETE", Some(_)) => None,
            // Not RFC 7396, but enough to see what came.
            ("PATCH", Some((_, content))) => Some(format!("{content}+{}", entry.body)),
            _ => Some(entry.body.clone()),
        };
        entry.applied = true;
        self.n_versions += 1;
        let path = match entry.method.as_str() {
            "POST" => format!("{}#{}", entry.path, self.n_versions),
            _ => entry.path.clone(),
        };
        match content {
            Some(content) => drop(self.entities.insert(path, (self.n_versions, content))),
            None => drop(self.entities.remove(&path)),
        }
        200
    }
}

fn depends_hold(entry: &Entry, found: Option<&(u64, String)>) -> bool {
    let is_none = entry.headers.get("if-none-match");
    let is = entry.headers.get("if-match");
    let version = found.map(|(version, _)| format!("\"{version}\""));
    is_none.is_none_or(|_| found.is_none())
        && is.is_none_or(|wanted| {
            version
                .as_ref()
                .is_some_and(|found| wanted == "*" || wanted == found)
        })
}
