//! Encrypted connections to others: whom we trust, and who we are.

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a connection is encrypted. The server's certificate is always checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    /// Certificates of the authorities that are trusted; none: the system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate; always together with `key`.
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    pub key: Option<PathBuf>,
}

impl Tls {
    /// The same for rustls.
    pub(crate) fn client(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("setting TLS up: {error}"))?
            .with_root_certificates(self.roots()?);
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| format!("reading the key `{}`: {error}", key.display()))?;
        builder
            .with_client_auth_cert(certificates(cert)?, private)
            .map_err(|error| format!("using the certificate `{}`: {error}", cert.display()))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(ca) = &self.ca else {
            // Some of a system's certificates may be odd; the others do.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            return Ok(roots);
        };
        for certificate in certificates(ca)? {
            roots
                .add(certificate)
                .map_err(|error| format!("trusting `{}`: {error}", ca.display()))?;
        }
        Ok(roots)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error| format!("reading `{}`: {error}", file.display()))?;
    match read.is_empty() {
        true => Err(format!("`{}` holds no certificate", file.display())),
        false => Ok(read),
    }
}
