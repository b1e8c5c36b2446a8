//! A small blocking HTTP client: it sends exactly the bytes it is given and shows exactly what comes back.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// The header line of the write key `test-key`.
pub const BASIC_AUTH: &str = "authorization: Basic dGVzdC1rZXk6\r\n";
/// The source that such events get where no sources are configured.
pub const SOURCE: &str = "test-key";

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a JSON object, which every ingest answer is.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not a JSON object ({error}): {self:?}"))
    }
}

/// A connection that is kept for as many requests as the server allows.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Posts a body with further header lines (each ending in `\r\n`) and reads the answer.
    ///
    /// # Errors
    /// Where the connection broke before the whole answer was read.
    pub fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request =
            format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n{headers}\r\n", body.len())
                .into_bytes();
        request.extend_from_slice(body);
        // A server may refuse a body before it has read it all; its answer counts, not that writing failed.
        let written = self.stream.get_mut().write_all(&request);
        self.read_answer().or_else(|error| written.and(Err(error)))
    }

    /// Gets a path.
    ///
    /// # Errors
    /// As for [`Connection::post`].
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> io::Result<Answer> {
        let status_line = self.read_line()?;
        let status =
            status_line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no status line: {status_line:?}"))
            })?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut answer.body)?;
        } else {
            let bytes = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            answer.body.resize(bytes, 0);
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let size = self.read_line()?;
            let bytes = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            let from = body.len();
            body.resize(from + bytes, 0);
            self.stream.read_exact(&mut body[from..])?;
            self.read_line()?;
            if bytes == 0 {
                return Ok(());
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// Where nobody answers.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    Connection::open(address)?.get(path)
}

/// One POST on a connection of its own.
///
/// # Errors
/// Where nobody answers.
pub fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> io::Result<Answer> {
    Connection::open(address)?.post(path, headers, body)
}
