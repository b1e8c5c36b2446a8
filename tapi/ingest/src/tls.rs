//! TLS on the port: which certificate, which protocols.
//!
//! The certificate is read again at SIGHUP. A connection keeps the one it began with, so nobody is cut off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

/// The protocols above TLS, the better one first.
const PROTOCOLS: [&[u8]; 2] = [H2, b"http/1.1"];
/// What HTTP/2 is called.
pub(crate) const H2: &[u8] = b"h2";
/// Sessions that can be taken up again, all threads together. A client without one makes a whole handshake.
const SESSIONS_MAX: usize = 4096;

/// TLS on the port for events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// File of the certificate and of those between it and the root, PEM. Default empty: no TLS. With it the port speaks
    /// TLS 1.2 and 1.3 alone, HTTP/2 to those who ask for it and HTTP/1.1. SIGHUP reads it and the key again.
    pub certificate: PathBuf,
    /// File of its private key, PEM (PKCS#8, PKCS#1 or SEC1), without a password.
    pub key: PathBuf,
}

/// What is wrong with one of both.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) key: &'static str,
    pub(crate) message: String,
}

impl Tls {
    /// What handshakes go by; `None` without TLS.
    pub(crate) fn load(&self) -> Result<Option<Arc<ServerConfig>>, Fault> {
        const CERTIFICATE: &str = "tls.certificate";
        const KEY: &str = "tls.key";
        let fault = |key, message: String| Fault { key, message };
        let (certificate, key) = (self.certificate.as_path(), self.key.as_path());
        match (certificate.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, true) => return Ok(None),
            (false, false) => {}
            (true, false) => return Err(fault(CERTIFICATE, "is missing, and tls.key is given".into())),
            (false, true) => return Err(fault(KEY, "is missing, and tls.certificate is given".into())),
        }
        let says = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| fault(CERTIFICATE, says(certificate, &error)))?;
        if chain.is_empty() {
            return Err(fault(CERTIFICATE, says(certificate, &"holds no certificate")));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(KEY, says(key, &error)))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| fault(CERTIFICATE, error.to_string()))?;
        let config = builder.with_no_client_auth().with_single_cert(chain, private);
        // A key of another certificate is found here.
        let mut config = config.map_err(|error| fault(KEY, says(key, &error)))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = tokio_rustls::rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
        // Early data can be sent again by whoever saw it.
        config.max_early_data_size = 0;
        Ok(Some(Arc::new(config)))
    }
}
