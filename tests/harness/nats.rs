//! A real nats-server on a port and a store of its own, which a test may kill, restart and pause.

use super::eventually;
use async_nats::jetstream;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// A nats-server child with JetStream. Killed when dropped.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Mutex<Child>,
}

impl Server {
    /// Starts one and waits for its JetStream. `settings` are lines added to its configuration.
    pub(crate) async fn start(settings: &str) -> Self {
        let server = Self::launch(settings).await;
        server.wait_for_jetstream().await;
        server
    }

    /// Starts one whose clients may have to say who they are: it is only known to listen.
    pub(crate) async fn launch(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Somebody else may take a free port before the server does.
        for _ in 0..10 {
            let [port] = free_ports();
            write_settings(folder.path(), port, settings);
            let mut child = spawn(folder.path());
            if answers(port, &mut child).await {
                let child = Mutex::new(child);
                return Self {
                    folder,
                    port,
                    child,
                };
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("nats-server does not start: {log}");
    }

    /// Starts one on `port`; none when somebody else has taken it. It is only known to listen.
    pub(super) async fn on(port: u16, settings: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        write_settings(folder.path(), port, settings);
        let mut child = spawn(folder.path());
        let listens = answers(port, &mut child).await;
        let server = Self {
            folder,
            port,
            child: Mutex::new(child),
        };
        listens.then_some(server)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Lines of a configuration with this server's host and port for `ADDRESS`.
    pub(crate) fn reached_by(&self, lines: &str) -> String {
        lines.replace("ADDRESS", &format!("127.0.0.1:{}", self.port))
    }

    /// A client that reconnects for ever.
    pub(crate) async fn connect(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.unwrap()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it as a power cut would: SIGKILL.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it again on the same port and store.
    pub(crate) async fn restart(&self) {
        self.relaunch().await;
        self.wait_for_jetstream().await;
    }

    /// Starts it again on the same port and store; it is only known to listen.
    pub(crate) async fn relaunch(&self) {
        let mut child = spawn(self.folder.path());
        assert!(answers(self.port, &mut child).await, "{}", self.log());
        *self.child.lock().unwrap() = child;
    }

    /// Asks it to send its clients away and to end: lame-duck mode.
    pub(crate) fn lame_duck(&self) {
        signal(self.child.lock().unwrap().id(), "USR2");
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// Stops it from running, its connections open: SIGSTOP.
    pub(crate) fn pause(&self) {
        signal(self.child.lock().unwrap().id(), "STOP");
    }

    /// Lets it run again: SIGCONT.
    pub(crate) fn resume(&self) {
        signal(self.child.lock().unwrap().id(), "CONT");
    }

    async fn wait_for_jetstream(&self) {
        let js = jetstream::new(self.connect().await);
        eventually("JetStream answers", async || {
            js.query_account().await.is_ok()
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may have been killed by the test.
        let _ended = child.kill();
        let _reaped = child.wait();
    }
}

/// Sends a signal to a process that a test started.
pub(super) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(sent.success(), "kill -{name} {pid}");
}

/// Ports that nobody listens on, all different.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn write_settings(folder: &Path, port: u16, settings: &str) {
    let store = folder.join("store");
    // Those of JetStream stand in a block that is there already.
    let (limits, others): (Vec<_>, Vec<_>) = settings
        .lines()
        .partition(|line| line.starts_with("limits "));
    let (limits, others) = (limits.join("\n"), others.join("\n"));
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?}\n{limits} }}\n{others}\n"
    );
    std::fs::write(folder.join("server.conf"), text).unwrap();
}

fn spawn(folder: &Path) -> Child {
    let program = program("nats-server", "NATS_SERVER_BIN");
    Command::new(&program)
        .arg("--config")
        .arg(folder.join("server.conf"))
        .arg("--log")
        .arg(folder.join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()))
}

/// The one that the variable `named_by` names, else the one on PATH, else the one that `make setup`
/// fetched.
pub(super) fn program(name: &str, named_by: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(named_by) {
        let named = PathBuf::from(named);
        return if named.is_dir() {
            named.join(name)
        } else {
            named
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = target().join("tools/bin");
    let found = std::env::split_paths(&path)
        .chain([fetched])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {name} on PATH: run `make setup`, or say in {named_by}"))
}

/// The target directory that this test was built in.
pub(super) fn target() -> PathBuf {
    let named: Option<OsString> = std::env::var_os("CARGO_TARGET_DIR");
    let own = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    named.map_or_else(|| own.to_owned(), PathBuf::from)
}

/// Whether it listens before it ends.
async fn answers(port: u16, child: &mut Child) -> bool {
    let mut listens = false;
    eventually("nats-server starts or ends", async || {
        let ended = child.try_wait().unwrap().is_some();
        listens = !ended
            && tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok();
        ended || listens
    })
    .await;
    listens
}
