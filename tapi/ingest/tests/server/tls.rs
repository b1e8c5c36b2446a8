//! TLS on the port: both versions of HTTP, a certificate that changes, and who does not get so far.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::Config;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{AUTH, event};
use crate::harness::{Harness, settings};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificates of a host named `localhost`, made for one test.
pub(crate) struct Secret {
    dir: TempDir,
}

impl Secret {
    pub(crate) fn new() -> Self {
        let secret = Self { dir: tempfile::tempdir().unwrap() };
        secret.renew();
        secret
    }

    /// Puts a new certificate and key in the place of the old ones.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.certificate(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.dir.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> std::path::PathBuf {
        self.dir.path().join("key.pem")
    }

    pub(crate) fn apply(&self, config: &mut Config) {
        (config.tls.certificate, config.tls.key) = (self.certificate(), self.key());
    }
}

/// What a client trusts and asks for.
pub(crate) fn trusting(certificate: &CertificateDer<'static>, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A connection whose handshake is done.
pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    connect_after(address, config, b"")
}

/// The same with bytes that come first.
pub(crate) fn connect_after(address: SocketAddr, config: &Arc<ClientConfig>, first: &[u8]) -> io::Result<Stream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(first)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Sends an event and gives the status of the answer.
pub(crate) fn post(stream: &mut Stream, id: &str) -> u16 {
    let body = event(id);
    let head = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(answer).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn http_1_goes_above_tls_and_the_connection_is_kept() {
    let secret = Secret::new();
    let certificate = secret.renew();
    let mut harness = Harness::with(|config| secret.apply(config));
    for protocols in [&[&b"http/1.1"[..]][..], &[]] {
        let mut stream = connect(harness.address, &trusting(&certificate, protocols)).unwrap();
        for id in ["a", "b"] {
            assert_eq!(post(&mut stream, id), 200);
        }
        assert_eq!(harness.stored_ids(), ["a", "b"]);
    }
}

#[test]
fn a_new_certificate_is_used_from_the_next_connection_on_and_cuts_nobody_off() {
    let secret = Secret::new();
    let old = trusting(&secret.renew(), &[]);
    let mut harness = Harness::with(|config| secret.apply(config));
    let mut kept = connect(harness.address, &old).unwrap();
    assert_eq!(post(&mut kept, "before"), 200);
    let reload = |harness: &Harness| {
        let mut config = settings();
        secret.apply(&mut config);
        ingest::reload(&harness.live, Ok(config));
    };

    // A key that is none changes nothing.
    std::fs::write(secret.key(), "none").unwrap();
    reload(&harness);
    assert_eq!(post(&mut connect(harness.address, &old).unwrap(), "unchanged"), 200);

    let new = trusting(&secret.renew(), &[]);
    reload(&harness);
    // The threads hear of it in their own time.
    let mut next = (0..10_000).find_map(|_| connect(harness.address, &new).ok()).expect("the new one is shown at last");
    assert_eq!(post(&mut next, "after"), 200);
    assert_eq!(post(&mut kept, "kept"), 200);
    assert_eq!(harness.stored_ids(), ["before", "unchanged", "after", "kept"]);
}

fn refused(harness: &Harness, reason: &str) -> u64 {
    let row = format!("tapi_connections_refused_total{{reason=\"{reason}\"}} ");
    let metrics = harness.admin().metrics();
    metrics.lines().find_map(|line| line.strip_prefix(&*row)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn plain_http_is_told_that_this_is_https() {
    let secret = Secret::new();
    let harness = Harness::with(|config| secret.apply(config));
    let answer = harness.ask("POST /v1/track", AUTH, event("m").as_bytes());
    assert_eq!((answer.status, &*answer.code(), answer.header("connection")), (400, "plain_http", "close"));
    harness.until(|harness| refused(harness, "plain_http") == 1);
}

#[test]
fn who_does_not_get_through_the_handshake_is_closed_and_counted() {
    let secret = Secret::new();
    let harness = Harness::with(|config| {
        secret.apply(config);
        config.limits.header_read_timeout_ms = 300;
    });
    let begun = Instant::now();
    let mut silent = harness.client();
    let mut slow = harness.client();
    slow.send(b"\x16\x03\x01\x02");
    let mut wrong = harness.client();
    wrong.send(b"\x16\x03\x01\0\x05hello");
    assert!(wrong.closes());
    let mut binary = harness.client();
    binary.send(b"\0\0\0");
    assert!(binary.closes());
    let stranger = Secret::new().renew();
    connect(harness.address, &trusting(&stranger, &[])).unwrap_err();
    assert!(silent.closes() && slow.closes());
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    harness.until(|harness| refused(harness, "timeout") == 2 && refused(harness, "tls_handshake") == 3);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let secret = Secret::new();
    let problems = |certificate: &Path, key: &Path| {
        let mut config = settings();
        (config.tls.certificate, config.tls.key) = (certificate.into(), key.into());
        config.problems().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    let (certificate, key, none) = (secret.certificate(), secret.key(), Path::new(""));
    assert_eq!(problems(&certificate, &key), [""; 0]);
    assert_eq!(problems(none, none), [""; 0]);
    assert_eq!(problems(&certificate, none), ["tls.key"]);
    assert_eq!(problems(none, &key), ["tls.certificate"]);
    assert_eq!(problems(&key, &key), ["tls.certificate"], "it holds no certificate");
    assert_eq!(problems(&certificate, &certificate), ["tls.key"], "it holds no key");
    assert_eq!(problems(&certificate, Path::new("/nowhere")), ["tls.key"]);
    std::fs::copy(Secret::new().key(), &key).unwrap();
    assert_eq!(problems(&certificate, &key), ["tls.key"], "it is another certificate's");
}

#[test]
fn a_stop_answers_what_was_begun_above_tls_too() {
    let secret = Secret::new();
    let certificate = secret.renew();
    let mut harness = Harness::with(|config| secret.apply(config));
    let mut stream = connect(harness.address, &trusting(&certificate, &[])).unwrap();
    let body = event("half");
    let head = format!(
        "POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = [0; 1024];
    let count = stream.read(&mut bytes).unwrap();
    assert!(bytes[..count].starts_with(b"HTTP/1.1 100 "), "its body is being read");
    harness.shutdown.trigger();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close"), "{answer}");
    harness.join().unwrap();
    assert_eq!(harness.stored_ids(), ["half"]);
}
