//! Why a server that answers and we do not come together, and which setting to look at.

use crate::config::{Auth, Nats};
use async_nats::rustls::{self, AlertDescription, CertificateError};
use async_nats::{ConnectError, ConnectErrorKind};
use std::error::Error;
use std::io;

/// A connection that the server refuses, or that we refuse.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is refused, with the server as `it`.
    pub(super) fault: String,
    /// The key of the configuration to look at.
    pub(super) key: &'static str,
    /// What to do.
    pub(super) remedy: String,
}

impl Refusal {
    pub(super) fn new(
        key: &'static str,
        fault: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            fault: fault.into(),
            key,
            remedy: remedy.into(),
        }
    }

    /// What a failed connection means; none where nobody answered.
    pub(super) fn of(error: &ConnectError, nats: &Nats) -> Option<Self> {
        if let Some(fault) = encryption_fault(error) {
            return Some(of_encryption(fault, nats));
        }
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation => Some(of_identity(nats)),
            ConnectErrorKind::Authentication => Some(of_unusable(nats)),
            ConnectErrorKind::Tls => Some(Self::new(
                "nats.tls",
                format!(
                    "the files for TLS cannot be used: {}",
                    super::connection::with_source(error)
                ),
                "check `ca`, `cert` and `key` under [nats.tls]: each is a file in PEM",
            )),
            _ => None,
        }
    }
}

/// Who we say that we are is not known there.
fn of_identity(nats: &Nats) -> Refusal {
    match &nats.auth {
        Auth::None if nats.urls.iter().any(|url| url.contains('@')) => Refusal::new(
            "nats.url",
            "it refuses the user in the URL",
            "check the user and the password in `url` under [nats]",
        ),
        Auth::None if nats.tls.cert.is_some() => Refusal::new(
            "nats.tls.cert",
            "it does not take our certificate for one of its users",
            "check `cert` under [nats.tls], or say who we are: `credentials`, `nkey`, `user` and \
             `password`, or `token` under [nats]",
        ),
        Auth::None => Refusal::new(
            "nats",
            "it refuses clients that do not say who they are",
            "write `credentials`, `nkey`, `user` and `password`, or `token` under [nats]",
        ),
        Auth::Credentials(path) => Refusal::new(
            "nats.credentials",
            format!("it refuses the user in `{}`", path.display()),
            "check `credentials` under [nats]: the user may belong to another account or \
             operator, have expired or been revoked",
        ),
        Auth::Nkey(_) => Refusal::new(
            "nats.nkey",
            "it refuses our nkey",
            "check `nkey` under [nats], and that the server knows its public key",
        ),
        Auth::User { user, .. } => Refusal::new(
            "nats.password",
            format!("it refuses the user `{user}` with this password"),
            "check `user` and `password` under [nats]",
        ),
        Auth::Token(_) => Refusal::new(
            "nats.token",
            "it refuses our token",
            "check `token` under [nats]",
        ),
    }
}

/// We cannot even say who we are.
fn of_unusable(nats: &Nats) -> Refusal {
    match &nats.auth {
        Auth::Credentials(path) => Refusal::new(
            "nats.credentials",
            format!("the seed in `{}` cannot be used", path.display()),
            "check `credentials` under [nats]: the file may be cut short",
        ),
        _ => Refusal::new(
            "nats.nkey",
            "the seed of our nkey cannot be used",
            "check `nkey` under [nats]: it may be cut short or mistyped",
        ),
    }
}

fn of_encryption(fault: &rustls::Error, nats: &Nats) -> Refusal {
    match fault {
        rustls::Error::InvalidCertificate(fault) => of_certificate(fault, nats),
        rustls::Error::AlertReceived(alert) => of_alert(*alert, nats),
        rustls::Error::InvalidMessage(_) => Refusal::new(
            "nats.tls.required",
            "it does not speak TLS",
            "check the port in `url` under [nats]; without `required = true` under [nats.tls] and \
             with `nats://` in place of `tls://` the connection would not be encrypted",
        ),
        other => Refusal::new(
            "nats.tls",
            format!("no encrypted connection comes about: {other}"),
            "check [nats.tls]",
        ),
    }
}

/// Its certificate is not what we trust.
fn of_certificate(fault: &CertificateError, nats: &Nats) -> Refusal {
    match (fault, &nats.tls.ca) {
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, Some(ca)) => {
            Refusal::new(
                "nats.tls.ca",
                format!(
                    "its certificate is of an authority that `{}` does not hold",
                    ca.display()
                ),
                "check `ca` under [nats.tls]",
            )
        }
        (CertificateError::UnknownIssuer, None) => Refusal::new(
            "nats.tls.ca",
            "its certificate is of an authority that this system does not trust",
            "name the authority's certificate in `ca` under [nats.tls]",
        ),
        (
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            _,
        ) => Refusal::new(
            "nats.url",
            format!("its certificate is for another name: {fault}"),
            "write a name that the certificate holds in `url` under [nats]",
        ),
        _ => Refusal::new(
            "nats.tls.ca",
            format!("its certificate is not valid: {fault}"),
            "give the server another certificate, or check `ca` under [nats.tls]",
        ),
    }
}

/// Our certificate is not what it trusts.
fn of_alert(alert: AlertDescription, nats: &Nats) -> Refusal {
    match &nats.tls.cert {
        None => Refusal::new(
            "nats.tls.cert",
            "it wants a certificate of ours",
            "name our certificate and its key in `cert` and `key` under [nats.tls]",
        ),
        Some(cert) => Refusal::new(
            "nats.tls.cert",
            format!("it refuses our certificate `{}`: {alert:?}", cert.display()),
            "check `cert` and `key` under [nats.tls]: the server has to trust the authority that \
             signed it",
        ),
    }
}

/// The fault in the encryption that an error comes from.
fn encryption_fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(fault) = error.downcast_ref() {
            return Some(fault);
        }
        // The source of an I/O error is that of the error in it: it would be passed over.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(fault) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(fault);
        }
        next = error.source();
    }
    None
}
