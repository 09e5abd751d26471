//! Encrypted connections: whom we trust, and who we are.

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
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
        builder
            .with_client_auth_cert(certificates(cert)?, private(key)?)
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

/// Who we are to those who connect to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Our certificate, and those between it and an authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Identity {
    /// The same for rustls, speaking `protocol`.
    pub(crate) fn server(&self, protocol: &[u8]) -> Result<ServerConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("setting TLS up: {error}"))?
            .with_no_client_auth()
            .with_single_cert(certificates(&self.cert)?, private(&self.key)?)
            .map_err(|error| {
                let (cert, key) = (self.cert.display(), self.key.display());
                format!(
                    "using the certificate `{cert}` with the key `{key}`: {error}: name a certificate in \
                     PEM and the key that belongs to it"
                )
            })?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

fn private(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| format!("reading the key `{}`: {error}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read: Vec<_> = read.map_err(|error| format!("reading `{}`: {error}", file.display()))?;
    match read.is_empty() {
        true => Err(format!("`{}` holds no certificate", file.display())),
        false => Ok(read),
    }
}
