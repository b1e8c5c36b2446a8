//! The same habits over HTTP/2, which browsers and most mobile apps speak where there is TLS.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::harness::Harness;
use crate::protocol::{Row, rows};
use crate::tls::{Secret, connect, trusting};

/// One connection, one request at a time.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    fn connect(harness: &Harness, certificate: &CertificateDer<'static>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(harness.address).await.unwrap();
            let connector = TlsConnector::from(trusting(certificate, &[b"h2"]));
            let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// The status and the body of the answer.
    fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> (u16, Bytes) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let answer = self.sender.send_request(request);
        self.runtime.block_on(async {
            let answer = answer.await.unwrap();
            (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
        })
    }
}

#[test]
fn every_habit_of_an_sdk_over_http_2() {
    let secret = Secret::new();
    let certificate = secret.renew();
    let mut harness = Harness::with(|config| secret.apply(config));
    let mut client = Client::connect(&harness, &certificate);
    for Row { habit, line, headers, body, status, stored } in rows() {
        let (answered, text) = client.ask(line, headers, &body);
        assert_eq!(answered, status, "{habit}: {text:?}");
        let said: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(said["success"], status == 200, "{habit}");
        assert_eq!(harness.event_ids(), stored, "{habit}");
    }
}

#[test]
fn an_sdk_that_asks_by_tls_is_sent_here_by_tls() {
    let secret = Secret::new();
    let certificate = secret.renew();
    let harness = Harness::with(|config| secret.apply(config));
    let told = |text: &[u8]| {
        let settings: serde_json::Value = serde_json::from_slice(text).unwrap();
        let segment = &settings["integrations"]["Segment.io"];
        ["protocol", "apiHost"].map(|name| segment[name].as_str().unwrap_or_default().to_owned())
    };
    let (_, text) = Client::connect(&harness, &certificate).ask("GET /v1/projects/KEY/settings", "", b"");
    assert_eq!(told(&text), ["https", "localhost/v1"], "without it an SDK sends its events to somebody else");
    let mut stream = connect(harness.address, &trusting(&certificate, &[b"http/1.1"])).unwrap();
    let request = b"GET /v1/projects/KEY/settings HTTP/1.1\r\nHost: 127.0.0.1:8443\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(told(body.as_bytes()), ["https", "127.0.0.1:8443/v1"]);
}
