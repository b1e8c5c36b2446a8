//! Asking the admin port of a process that runs beside this one.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A process that is there answers in a few milliseconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// More is no answer of an admin port.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The body of a page of the admin port at `address`, as `/metrics`.
///
/// # Errors
/// Where nobody answers there in two seconds, or answers with anything but 200.
pub fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    // Version 1.0: the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let is_ok = head.split(' ').nth(1) == Some("200");
    is_ok.then(|| body.to_owned()).ok_or_else(|| io::Error::other(head.lines().next().unwrap_or_default().to_owned()))
}
