//! A client that sends exactly the bytes it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes this long; a test that waits for it has found a bug.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// The body as it came; in `body` what is no text is replaced.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of a refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    pub(crate) fn assert_stored(&self) {
        assert_eq!((self.status, &*self.body), (200, r#"{"success":true}"#), "{self:?}");
        assert_eq!(self.header("content-type"), "application/json");
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends what the server may no longer want.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    pub(crate) fn finish_sending(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        answer.bytes = vec![0; if answer.status < 200 { 0 } else { length }];
        self.stream.read_exact(&mut answer.bytes).unwrap();
        answer.body = String::from_utf8_lossy(&answer.bytes).into_owned();
        answer
    }

    /// The next answer, where it has no body although it says how long that would be.
    pub(crate) fn head(&mut self) -> Answer {
        let status_line = self.line();
        let status = status_line.split(' ').nth(1).unwrap_or_else(|| panic!("{status_line:?}")).parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        Answer { status, headers, body: String::new(), bytes: Vec::new() }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends a request with these header lines (each with its line end) and a body of this length.
    pub(crate) fn request(&mut self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat());
        self.answer()
    }

    /// Everything that the server still says, until it closes the connection.
    pub(crate) fn drain(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Whether the server has closed the connection without a further byte. Waits for it.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

impl Client {
    /// Whether the server closes or resets the connection, whatever it says before. Waits for it.
    pub(crate) fn closes(&mut self) -> bool {
        loop {
            match self.stream.read(&mut [0; 64]) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// `Authorization: Basic` with the key `KEY`.
pub(crate) const AUTH: &str = "Authorization: Basic S0VZOg==\r\n";

/// One event of a user with an id of its own.
pub(crate) fn event(id: &str) -> String {
    format!(r#"{{"type":"track","event":"Seen","userId":"u","messageId":"{id}"}}"#)
}

pub(crate) fn batch(ids: &[&str]) -> String {
    let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
    format!(r#"{{"batch":[{}]}}"#, events.join(","))
}

/// The body in chunks of so many bytes.
pub(crate) fn chunked(body: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(bytes) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
