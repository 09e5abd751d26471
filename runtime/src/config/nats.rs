//! How NATS is reached. Values only: the connection is made elsewhere.

use super::entry::Entry;
use super::keys;
use super::secrets::{self, Secret};
use super::section::Section;
use crate::provision::Provision;
use std::fmt;
use std::path::PathBuf;

/// The server that is asked when the file names none.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// `[nats]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Nats {
    /// Servers of one cluster, at least one. They may hold a user and a password.
    pub urls: Vec<String>,
    /// The connection's name, shown by the server.
    pub name: String,
    /// Who we are.
    pub auth: Auth,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Where JetStream answers.
    pub jetstream: JetStreamApi,
    /// How many servers hold each stream that Syncline makes.
    pub replicas: usize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            urls: vec![DEFAULT_URL.to_owned()],
            name: "syncline".to_owned(),
            auth: Auth::None,
            tls: Tls::default(),
            jetstream: JetStreamApi::Default,
            replicas: 1,
        }
    }
}

impl Nats {
    /// How streams and buckets are made and written.
    #[must_use]
    pub fn provision(&self) -> Provision {
        Provision {
            replicas: self.replicas,
            prefix: match &self.jetstream {
                JetStreamApi::Default => None,
                JetStreamApi::Domain(domain) => Some(format!("$JS.{domain}.API")),
                JetStreamApi::Prefix(prefix) => Some(prefix.clone()),
            },
        }
    }
}

/// Shows no user and no password of a URL.
impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(|url| without_user(url)).collect();
        f.debug_struct("Nats")
            .field("urls", &urls)
            .field("name", &self.name)
            .field("auth", &self.auth)
            .field("tls", &self.tls)
            .field("jetstream", &self.jetstream)
            .field("replicas", &self.replicas)
            .finish()
    }
}

/// Who we are, to the server. Its `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// What the URLs say, or nobody.
    None,
    /// A credentials file: user JWT and seed.
    Credentials(PathBuf),
    /// The seed of an nkey.
    Nkey(Secret),
    /// User and password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of the authorities that are trusted; none: the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate; always together with `key`.
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
    /// Whether a connection without TLS is refused.
    pub required: bool,
}

/// Where JetStream answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JetStreamApi {
    /// `$JS.API`.
    Default,
    /// A JetStream domain.
    Domain(String),
    /// Another prefix in place of `$JS.API`.
    Prefix(String),
}

/// A server's URL without user and password, for people's eyes.
#[must_use]
pub fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            format!(
                "{scheme}://{}",
                rest.rsplit_once('@').map_or(rest, |(_, host)| host)
            )
        }
        None => url
            .rsplit_once('@')
            .map_or(url, |(_, host)| host)
            .to_owned(),
    }
}

pub(super) fn read(entry: &Entry<'_>) -> Option<Nats> {
    let section = entry.section(&keys::NATS)?;
    let mut nats = Nats::default();
    section.set("url", &mut nats.urls, urls);
    section.set("name", &mut nats.name, Entry::text);
    section.set("tls", &mut nats.tls, tls);
    section.set("replicas", &mut nats.replicas, replicas);
    nats.auth = auth(&section);
    nats.jetstream = jetstream(&section);
    Some(nats)
}

/// One URL or a list of them. A wrong one is not shown: it may hold a password.
fn urls(entry: &Entry<'_>) -> Option<Vec<String>> {
    let entries = match entry.value.is_array() {
        true => entry.items()?,
        false => vec![entry.clone()],
    };
    if entries.is_empty() {
        entry.report("the list is empty: name at least one server");
    }
    Some(entries.iter().filter_map(url).collect())
}

fn url(entry: &Entry<'_>) -> Option<String> {
    let url = entry.text()?;
    if let Err(fault) = check_url(&without_user(&url)) {
        entry.report(format!("the URL {fault}: write it as in \"{DEFAULT_URL}\""));
        return None;
    }
    Some(url)
}

fn check_url(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    if !matches!(scheme, "nats" | "tls") {
        return Err("begins with neither nats:// nor tls://");
    }
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains(|c: char| c.is_whitespace() || matches!(c, '/' | ',' | '?' | '#' | '@')) {
        return Err("has more than a server and a port");
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(ip6) => ip6
            .split_once(']')
            .ok_or("has no `]` after its IPv6 address")?,
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    if host.is_empty() {
        return Err("names no server");
    }
    let port = port.strip_prefix(':').unwrap_or("4222");
    port.parse::<u16>()
        .map(|_| ())
        .map_err(|_| "has no port number after its colon")
}

/// At most one way to say who we are.
fn auth(section: &Section<'_>) -> Auth {
    let credentials = section
        .read("credentials", Entry::existing_file)
        .map(Auth::Credentials);
    let nkey = section.read("nkey", seed).map(Auth::Nkey);
    let user = section.read("user", Entry::text);
    let password = section.read("password", secrets::anywhere);
    let token = section.read("token", secrets::anywhere).map(Auth::Token);
    if section.has("user") != section.has("password") {
        section.report("`user` and `password` go together: write both or none");
    }
    let ways = ["credentials", "nkey", "user", "token"];
    let used: Vec<_> = ways.into_iter().filter(|key| section.has(key)).collect();
    if let [first, others @ ..] = used.as_slice() {
        section.refuse(
            others,
            &format!("`{first}` already says who we are: remove one"),
        );
    }
    let user = user
        .zip(password)
        .map(|(user, password)| Auth::User { user, password });
    credentials
        .or(nkey)
        .or(user)
        .or(token)
        .unwrap_or(Auth::None)
}

fn seed(entry: &Entry<'_>) -> Option<Secret> {
    let seed = secrets::anywhere(entry)?;
    if !seed.expose().starts_with("SU") {
        entry.report("this is not the seed of a user's nkey: that begins with `SU`");
        return None;
    }
    Some(seed)
}

fn tls(entry: &Entry<'_>) -> Option<Tls> {
    let section = entry.section(&keys::TLS)?;
    if section.has("cert") != section.has("key") {
        section.report("`cert` and `key` go together: write both or none");
    }
    Some(Tls {
        ca: section.read("ca", Entry::existing_file),
        cert: section.read("cert", Entry::existing_file),
        key: section.read("key", Entry::existing_file),
        required: section.read("required", Entry::flag).unwrap_or_default(),
    })
}

/// A number of servers that can agree with one of them gone.
fn replicas(entry: &Entry<'_>) -> Option<usize> {
    match entry.positive_count()? {
        replicas @ (1 | 3 | 5) => usize::try_from(replicas).ok(),
        replicas => {
            entry.report(format!(
                "{replicas} replicas are no more use than one fewer: write 1, 3 or 5"
            ));
            None
        }
    }
}

fn jetstream(section: &Section<'_>) -> JetStreamApi {
    let domain = section
        .read("domain", Entry::text)
        .map(JetStreamApi::Domain);
    let prefix = section
        .read("api_prefix", Entry::text)
        .map(JetStreamApi::Prefix);
    if section.has("domain") {
        section.refuse(
            &["api_prefix"],
            "`domain` already says where JetStream answers",
        );
    }
    domain.or(prefix).unwrap_or(JetStreamApi::Default)
}
