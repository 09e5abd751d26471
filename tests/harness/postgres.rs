//! A real PostgreSQL on a port and a data folder of its own, which a test may kill and restart.
//!
//! The server refuses to run as root. Where the tests are root it runs as `nobody`, who owns its
//! folder, and from a copy of the installation where `nobody` cannot reach that one.

use super::eventually;
use super::nats::{free_ports, program, signal};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use tokio_postgres::SimpleQueryMessage;

/// Who may do everything, without a password.
const USER: &str = "syncline";

/// A server. Killed when dropped, its folder removed.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    installed: Arc<Installed>,
    port: u16,
    settings: Vec<String>,
    child: Mutex<Child>,
}

/// A row, every value as text.
pub(crate) type Row = Vec<Option<String>>;

impl Postgres {
    /// Starts one that can prepare so many transactions.
    pub(crate) async fn start(max_prepared: u32) -> Self {
        Self::with_settings(max_prepared, &[], &[]).await
    }

    /// The same with further settings, as `name=value`, and files in its data folder.
    pub(crate) async fn with_settings(
        max_prepared: u32,
        settings: &[&str],
        files: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installed = Installed::find();
        make_data(&installed, folder.path());
        for (name, text) in files {
            let file = data_of(folder.path()).join(name);
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            give_away(&file);
        }
        let own = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // A killed process loses nothing that the system holds; only a power cut does.
            "fsync=off",
            "shared_buffers=16MB",
            "max_connections=60",
        ];
        let prepared = format!("max_prepared_transactions={max_prepared}");
        let all = own.iter().chain(settings).map(ToString::to_string);
        let settings: Vec<_> = all.chain([prepared]).collect();
        // Somebody else may take a free port before the server does.
        for _ in 0..10 {
            let [port] = free_ports();
            let child = spawn(&installed, folder.path(), port, &settings);
            if let Some(child) = answers(port, child).await {
                return Self {
                    folder,
                    installed,
                    port,
                    settings,
                    child: Mutex::new(child),
                };
            }
        }
        panic!("postgres does not start: {}", log_of(folder.path()));
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How `database` is reached.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port())
    }

    /// Runs statements in `database` and gives the rows of all of them.
    pub(crate) async fn sql(&self, database: &str, text: &str) -> Vec<Row> {
        let done = self.try_sql(database, text).await;
        done.unwrap_or_else(|error| panic!("{text}: {error}: {:?}", error.as_db_error()))
    }

    /// The same, or why not.
    pub(crate) async fn try_sql(
        &self,
        database: &str,
        text: &str,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let url = self.url(database);
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls);
        let (client, connection) = connected.await?;
        let asked = async move { client.simple_query(text).await };
        let (messages, _ended) = futures::join!(asked, connection);
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                let value = |n| row.get(n).map(str::to_owned);
                Some((0..row.len()).map(value).collect())
            }
            _ => None,
        };
        Ok(messages?.into_iter().filter_map(row).collect())
    }

    /// The first value of the first row, as text.
    pub(crate) async fn value(&self, database: &str, text: &str) -> Option<String> {
        let rows = self.sql(database, text).await;
        rows.into_iter().next()?.into_iter().next()?
    }

    /// Ends it and all its backends as a power cut would: SIGKILL.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        kill_all(&mut child);
    }

    /// Ends it at once, its clients cut off: SIGQUIT, its own "immediate" stop.
    pub(crate) fn stop_immediately(&self) {
        let mut child = self.child.lock().unwrap();
        signal(child.id(), "QUIT");
        child.wait().unwrap();
    }

    /// Starts it again on the same port and data.
    pub(crate) async fn restart(&self) {
        // Backends of a killed server may hold its memory for another moment.
        let mut restarted = None;
        eventually("postgres starts again", async || {
            let child = spawn(
                &self.installed,
                self.folder.path(),
                self.port,
                &self.settings,
            );
            restarted = answers(self.port, child).await;
            restarted.is_some()
        })
        .await;
        *self.child.lock().unwrap() = restarted.unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        kill_all(self.child.get_mut().unwrap());
    }
}

/// Where PostgreSQL's programs are.
struct Installed {
    programs: PathBuf,
    /// Removed when the last server that was started from it is gone.
    _copy: Option<tempfile::TempDir>,
}

impl Installed {
    /// The installation, or the one copy of it that is around.
    fn find() -> Arc<Self> {
        static LENT: Mutex<Weak<Installed>> = Mutex::new(Weak::new());
        let mut lent = LENT.lock().unwrap();
        if let Some(installed) = lent.upgrade() {
            return installed;
        }
        let initdb = program("initdb", "POSTGRES_BIN").canonicalize().unwrap();
        let programs = initdb.parent().unwrap().to_owned();
        let installed = if stand_in().is_none() || is_open(&programs) {
            Self {
                programs,
                _copy: None,
            }
        } else {
            Self::copy(programs.parent().unwrap())
        };
        let installed = Arc::new(installed);
        *lent = Arc::downgrade(&installed);
        installed
    }

    fn copy(root: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied = folder.path().join("postgres");
        let copy = Command::new("cp").arg("-a").args([root, &copied]).status();
        assert!(copy.unwrap().success(), "cannot copy {}", root.display());
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        Self {
            programs: copied.join("bin"),
            _copy: Some(folder),
        }
    }

    /// One of the programs, run by somebody who is not root.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir("/");
        if let Some((user, group)) = stand_in() {
            command.uid(user).gid(group);
        }
        command
    }
}

/// Whether everybody may enter a folder and all that it is in.
fn is_open(folder: &Path) -> bool {
    let may_enter = |folder: &Path| folder.metadata().unwrap().mode() & 0o001 != 0;
    folder.ancestors().all(may_enter)
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Makes the data folder of a new server.
fn make_data(installed: &Installed, folder: &Path) {
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, open).unwrap();
    let data = data_of(folder);
    std::fs::create_dir(&data).unwrap();
    give_away(&data);
    let mut initdb = installed.command("initdb");
    let made = initdb
        .arg("--pgdata")
        .arg(&data)
        .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8"])
        .args(["--locale", "C", "--no-sync"])
        .output()
        .unwrap_or_else(|error| panic!("cannot start {initdb:?}: {error}"));
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "initdb: {said}");
}

fn spawn(installed: &Installed, folder: &Path, port: u16, settings: &[String]) -> Child {
    let mut log = std::fs::File::options();
    let log = log.create(true).append(true).open(folder.join("log"));
    let mut postgres = installed.command("postgres");
    postgres
        .arg("-D")
        .arg(data_of(folder))
        .args(["-p", &port.to_string()])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.unwrap());
    let spawned = postgres.spawn();
    spawned.unwrap_or_else(|error| panic!("cannot start {postgres:?}: {error}"))
}

/// User and group of `nobody`, where we are root.
fn stand_in() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("nobody:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let advice = "PostgreSQL refuses to run as root, and there is no user `nobody` in /etc/passwd \
                  to run it as: run the tests as another user";
    Some(nobody.expect(advice))
}

fn give_away(file: &Path) {
    if let Some((user, group)) = stand_in() {
        chown(file, Some(user), Some(group)).unwrap();
    }
}

/// The server, once it takes clients; none when it ended before.
async fn answers(port: u16, mut child: Child) -> Option<Child> {
    let url = format!("postgres://{USER}@127.0.0.1:{port}/postgres");
    let mut is_up = false;
    eventually("postgres starts or ends", async || {
        let ended = child.try_wait().unwrap().is_some();
        let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
        is_up = !ended && connected.is_ok();
        ended || is_up
    })
    .await;
    is_up.then_some(child)
}

fn kill_all(child: &mut Child) {
    let pid = child.id();
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    // It may have been killed by the test.
    let _ended = child.kill();
    let _reaped = child.wait();
    for backend in listed.unwrap_or_default().split_whitespace() {
        // It may have ended with its parent.
        let _sent = Command::new("kill")
            .args(["-KILL", backend])
            .stderr(Stdio::null())
            .status();
    }
}
