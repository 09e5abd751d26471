//! A module as a process of its own, which can be killed and started again: it writes down what it is
//! asked to change before it answers, and knows all of that when it is back.

use super::books::Books;
use super::{Fault, serve};
use crate::harness::eventually;
use crate::harness::nats::free_ports;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// In the environment of such a process: its port, and the file that it writes to.
const PORT: &str = "MODULE_PORT";
const FILE: &str = "MODULE_FILE";
/// The test that such a process runs.
const TEST: &str = "http::outside::a_module_that_is_killed_knows_what_it_was_asked";
/// It does so many writes as it should, and then one without saying so.
const WELL: u64 = 150;

/// A module outside. Killed when dropped.
pub(crate) struct OutsideModule {
    port: u16,
    file: PathBuf,
    child: Mutex<Child>,
}

/// What a module holds.
pub(crate) struct Held {
    /// Entities by path, oldest first.
    pub(crate) entities: Vec<(String, String)>,
    /// Parts of transactions that are tried and have not ended.
    pub(crate) reserved: Vec<String>,
}

impl OutsideModule {
    /// Starts one that knows requests again by their keys, and reserves.
    pub(crate) async fn start(folder: &Path) -> Self {
        let file = folder.join("module.ndjson");
        // Somebody else may take a free port before the module does.
        for _ in 0..10 {
            let [port] = free_ports();
            let mut child = spawn(port, &file);
            if answers(port, &mut child).await {
                let child = Mutex::new(child);
                return Self { port, file, child };
            }
        }
        panic!("no module starts");
    }

    /// Where it is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Ends it as a crash would: SIGKILL.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again where it was, and waits until it answers.
    pub(crate) async fn restart(&self) {
        let mut child = spawn(self.port, &self.file);
        let is_there = answers(self.port, &mut child).await;
        *self.child.lock().unwrap() = child;
        assert!(is_there, "the module does not start again");
    }

    /// What it holds by what it wrote down.
    pub(crate) fn held(&self) -> Held {
        let (books, _) = Books::of_file(&self.file);
        let mut entities: Vec<_> = books.entities.into_iter().collect();
        entities.sort_by_key(|(_, (version, _))| *version);
        let entities = entities.into_iter();
        Held {
            entities: entities
                .map(|(path, (_, content))| (path, content))
                .collect(),
            reserved: books.reservations.open(),
        }
    }
}

impl Drop for OutsideModule {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may be gone already.
        let _ended = child.kill();
        let _reaped = child.wait();
    }
}

fn spawn(port: u16, file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(PORT, port.to_string())
        .env(FILE, file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until somebody listens; false when the process ended instead.
async fn answers(port: u16, child: &mut Child) -> bool {
    let mut has_ended = false;
    eventually("the module answers", async || {
        has_ended = child.try_wait().unwrap().is_some();
        has_ended || TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    !has_ended
}

/// Serves for ever, in a process that was started as a module.
pub(crate) async fn serve_where_asked() {
    let (Ok(port), Some(file)) = (std::env::var(PORT), std::env::var_os(FILE)) else {
        return;
    };
    let file = Path::new(&file);
    let (mut books, length) = Books::of_file(file);
    let open = OpenOptions::new().append(true).create(true).open(file);
    let open = open.unwrap();
    open.set_len(length).unwrap();
    books.file = Some(open);
    let books = Arc::new(Mutex::new(books));
    let listener = TcpListener::bind(("127.0.0.1", port.parse().unwrap()))
        .await
        .unwrap();
    let mut clients = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        clients.spawn(serve(client, books.clone()));
        while clients.try_join_next().is_some() {}
    }
}

/// What goes wrong with the `n`-th write: now and then an answer is lost.
pub(super) fn fault_of(n: u64) -> Option<Fault> {
    n.is_multiple_of(WELL).then_some(Fault::FailAfter)
}
