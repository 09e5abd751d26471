//! The files that the API rests on: who it is, and the keys of an issuer.

use super::access::{Issuer, Keys};
use super::config::{Config, Jwt};
use super::renewed::Renewed;
use crate::shutdown::Shutdown;
use crate::tls::Identity;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

/// How often they are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// What is spoken over what is encrypted.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct FileError {
    /// The key of the configuration that names it.
    pub key: &'static str,
    why: String,
}

/// What the files hold.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) tls: Option<Arc<Renewed<TlsAcceptor>>>,
    keys: Option<Arc<Renewed<Keys>>>,
}

/// What is wrong with the files that a configuration names.
#[must_use]
pub fn check(config: &Config) -> Vec<FileError> {
    let tls = config.tls.iter().filter_map(|tls| open_tls(tls).err());
    let keys = config.jwt.iter().filter_map(|jwt| open_keys(jwt).err());
    tls.chain(keys).collect()
}

impl Files {
    /// Reads them.
    pub(super) fn open(config: &Config) -> Result<Self, FileError> {
        Ok(Self {
            tls: config.tls.as_ref().map(open_tls).transpose()?,
            keys: config.jwt.as_ref().map(open_keys).transpose()?,
        })
    }

    /// The issuer whose keys they hold.
    pub(super) fn issuer(&self, settings: Option<Jwt>) -> Option<Issuer> {
        Some(Issuer::new(settings?, self.keys.clone()?))
    }

    /// Reads again what has changed, until the shutdown begins.
    pub(super) async fn follow(self, shutdown: Shutdown) {
        if self.tls.is_none() && self.keys.is_none() {
            return;
        }
        while shutdown.pause(LOOK).await {
            self.tls.iter().for_each(|tls| tls.renew());
            self.keys.iter().for_each(|keys| keys.renew());
        }
    }
}

fn open_tls(identity: &Identity) -> Result<Arc<Renewed<TlsAcceptor>>, FileError> {
    let files = vec![identity.cert.clone(), identity.key.clone()];
    let identity = identity.clone();
    let make = move || Ok(TlsAcceptor::from(Arc::new(identity.server(PROTOCOL)?)));
    let opened = Renewed::open("certificate", files, make);
    opened.map(Arc::new).map_err(|why| FileError {
        key: "api.tls",
        why,
    })
}

fn open_keys(jwt: &Jwt) -> Result<Arc<Renewed<Keys>>, FileError> {
    let file = jwt.keys.clone();
    let opened = Renewed::open("keys", vec![file.clone()], move || Keys::load(&file));
    opened.map(Arc::new).map_err(|why| FileError {
        key: "api.jwt.keys",
        why,
    })
}
