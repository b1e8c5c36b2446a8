//! HTTP/2 above TLS: requests at a time on one connection, and clients that want the server to hold or do too much.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::client::event;
use crate::harness::Harness;
use crate::tls::{Secret, Stream, connect, post, trusting};

const H2: &[&[u8]] = &[b"h2"];

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn served(change: impl FnOnce(&mut ingest::Config)) -> (Harness, CertificateDer<'static>, Secret) {
    let secret = Secret::new();
    let certificate = secret.renew();
    let harness = Harness::with(|config| {
        secret.apply(config);
        change(config);
    });
    (harness, certificate, secret)
}

/// Sends these events, all at once, on one connection; the statuses and bodies of the answers.
fn at_once(harness: &Harness, certificate: &CertificateDer<'static>, bodies: Vec<String>) -> Vec<(u16, Bytes)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(harness.address).await.unwrap();
        let connector = TlsConnector::from(trusting(certificate, H2));
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(H2[0]));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let requests = bodies.into_iter().map(|body| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let request = Request::post("https://localhost/v1/track").header("authorization", "Basic S0VZOg==");
                sender.ready().await.unwrap();
                let request = request.body(Full::new(Bytes::from(body))).unwrap();
                let answer = sender.send_request(request).await.unwrap();
                let status = answer.status().as_u16();
                (status, answer.into_body().collect().await.unwrap().to_bytes())
            })
        });
        let requests: Vec<_> = requests.collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await.unwrap());
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        answers
    })
}

#[test]
fn many_requests_go_at_once_on_one_connection() {
    let (mut harness, certificate, _secret) = served(|_| ());
    let bodies = (0..200).map(|index| event(&index.to_string())).collect();
    let answers = at_once(&harness, &certificate, bodies);
    assert!(answers.iter().all(|(status, body)| (*status, &body[..]) == (200, br#"{"success":true}"#)), "{answers:?}");
    let mut ids: Vec<usize> = harness.stored_ids().iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
}

#[test]
fn refusals_and_large_bodies_are_as_in_http_1() {
    let (mut harness, certificate, _secret) = served(|_| ());
    let large = |bytes: usize| format!(r#"{{"batch":[{}],"pad":"{}"}}"#, event("large"), "x".repeat(bytes));
    let answers = at_once(&harness, &certificate, vec!["{".into(), large(900_000), large(1 << 20), String::new()]);
    let codes: Vec<_> = answers
        .iter()
        .map(|(status, body)| {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            (*status, body["code"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(codes[0], code(400, "invalid_json"));
    assert_eq!(codes[2], code(400, "payload_too_large"));
    assert_eq!(codes[3], code(400, "empty_body"));
    // The path is for one event, so a batch is none; it was read to its end all the same.
    assert_eq!(codes[1].0, 400);
    assert_eq!(harness.event_ids(), [""; 0]);
}

/// A client of HTTP/2 that writes its own frames.
struct Raw(Stream);

impl Raw {
    fn connect(harness: &Harness, certificate: &CertificateDer<'static>, settings: &[u8]) -> Self {
        let mut stream = connect(harness.address, &trusting(certificate, H2)).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut raw = Self(stream);
        assert!(raw.send(SETTINGS, 0, 0, settings));
        raw
    }

    /// Whether the connection took it.
    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let length = (payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head[..], payload].concat()).is_ok()
    }

    /// The next frame: type, stream, payload. `None` at the end of the connection.
    fn receive(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.fill(&mut payload)?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection goes on and nothing comes")
            }
            Err(_) => None,
        }
    }

    /// Waits until the server ends the connection, or says that it will.
    fn wait_for_the_end(&mut self) {
        while self.receive().is_some_and(|(kind, _, _)| kind != GOAWAY) {}
    }
}

/// Headers of a request without a body, none of them in the table of the connection.
fn head(path: &str) -> Vec<u8> {
    // :method GET, :scheme https, both in the static table; :path and :authority as literals.
    let literal = |index: u8, value: &str| [&[index, value.len() as u8][..], value.as_bytes()].concat();
    [&[0x82, 0x87][..], &literal(0x04, path), &literal(0x01, "localhost")].concat()
}

#[test]
fn streams_that_are_reset_as_soon_as_they_are_opened_end_the_connection() {
    let (harness, certificate, _secret) = served(|_| ());
    let mut raw = Raw::connect(&harness, &certificate, &[]);
    for stream in (1..20_000).step_by(2) {
        let goes_on = raw.send(HEADERS, END_STREAM | END_HEADERS, stream, &head("/v1/track"))
            && raw.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if !goes_on {
            break;
        }
    }
    raw.wait_for_the_end();
    others_are_served(&harness, &certificate);
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let (harness, certificate, _secret) = served(|_| ());
    let mut raw = Raw::connect(&harness, &certificate, &[]);
    assert!(raw.send(HEADERS, END_STREAM, 1, &head("/v1/track")));
    let field = [&[0x00, 1, b'x', 0x7f, 0xc1, 0x3d][..], &[b'y'; 8000]].concat();
    let sent = (0..1000).take_while(|_| raw.send(CONTINUATION, 0, 1, &field)).count();
    raw.wait_for_the_end();
    assert!(sent < 1000, "it was told to stop at some time");
    others_are_served(&harness, &certificate);
}

/// The same with a key and a body to come.
fn head_of_an_event() -> Vec<u8> {
    let mut head = head("/v1/track");
    // :method POST; authorization is the 23rd of the static table.
    head[0] = 0x83;
    let key = b"Basic S0VZOg==";
    [&head[..], &[0x0f, 8, key.len() as u8], key].concat()
}

#[test]
fn a_body_may_take_its_time_as_long_as_it_comes_and_one_that_stalls_may_not() {
    let (mut harness, certificate, _secret) = served(|config| {
        config.limits.body_read_timeout_ms = 300;
        config.limits.append_timeout_ms = 100;
        config.limits.body_bytes_per_second_min = 10;
    });
    let mut raw = Raw::connect(&harness, &certificate, &[]);
    assert!(raw.send(HEADERS, END_HEADERS, 1, &head_of_an_event()));
    // Twice the time that a body without a byte has, and more than the times of body and disk together.
    for stalled in [3, 5, 7] {
        assert!(raw.send(HEADERS, END_HEADERS, stalled, &head_of_an_event()));
        loop {
            assert!(raw.send(DATA, 0, 1, b" ") && raw.send(PING, 0, 0, &[0; 8]));
            let frames = std::iter::from_fn(|| raw.receive()).find(|(kind, ..)| [PING, DATA].contains(kind));
            let (kind, stream, payload) = frames.expect("the connection goes on");
            if kind == DATA {
                let answer = String::from_utf8(payload).unwrap();
                assert!(stream == stalled && answer.contains("read_timeout"), "{stream}: {answer}");
                break;
            }
        }
    }
    assert!(raw.send(DATA, END_STREAM, 1, event("slow").as_bytes()));
    let answer = std::iter::from_fn(|| raw.receive()).find(|(kind, ..)| *kind == DATA).expect("an answer");
    assert_eq!((answer.1, &answer.2[..]), (1, &br#"{"success":true}"#[..]));
    assert_eq!(harness.stored_ids(), ["slow"]);
}

#[test]
fn pings_are_no_activity() {
    let (harness, certificate, _secret) = served(|config| config.limits.idle_timeout_ms = 400);
    let mut raw = Raw::connect(&harness, &certificate, &[]);
    assert!(raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &head("/nowhere")));
    let begun = Instant::now();
    while raw.send(PING, 0, 0, &[0; 8]) && raw.send(SETTINGS, 0, 0, &[]) {
        match raw.receive() {
            None | Some((GOAWAY, _, _)) => break,
            Some(_) => {}
        }
    }
    raw.wait_for_the_end();
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_lets_no_answer_out_is_closed_as_idle() {
    let (harness, certificate, _secret) = served(|config| config.limits.idle_timeout_ms = 400);
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    let mut raw = Raw::connect(&harness, &certificate, &[0, 4, 0, 0, 0, 0]);
    for stream in (1..20).step_by(2) {
        assert!(raw.send(HEADERS, END_STREAM | END_HEADERS, stream, &head("/nowhere")));
    }
    raw.wait_for_the_end();
    others_are_served(&harness, &certificate);
}

#[test]
fn a_stop_tells_the_client_and_answers_what_was_begun() {
    let (mut harness, certificate, _secret) = served(|_| ());
    let mut raw = Raw::connect(&harness, &certificate, &[]);
    assert!(raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &head("/nowhere")));
    while raw.receive().expect("an answer").0 != HEADERS {}
    harness.shutdown.trigger();
    raw.wait_for_the_end();
    drop(raw);
    harness.join().unwrap();
}

fn others_are_served(harness: &Harness, certificate: &CertificateDer<'static>) {
    assert_eq!(post(&mut connect(harness.address, &trusting(certificate, &[])).unwrap(), "other"), 200);
    let answers = at_once(harness, certificate, vec![event("others")]);
    assert_eq!(answers[0].0, 200);
}
