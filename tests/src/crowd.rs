//! Clients that hold on to a server and give it nothing: connections that were used once, heads and bodies that do not
//! end. Each address of theirs has ten connections, so that none stands out, and ports do not run out.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Longer than any answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Connections of one address.
const OF_ONE_ADDRESS: usize = 10;
/// Between two pieces of each: their slowness is what they do to the server.
const PACE: Duration = Duration::from_millis(200);
/// Most of a head, which may have 16 KiB, in pieces.
const HEAD_PIECE: &str = "X-Held: 0123456789012345678901234567890123456789\r\n";
const HEAD_BYTES_MAX: usize = 15_000;
/// A body that SDKs may send, and what comes of it at once and then at each turn.
const BODY_BYTES: usize = 475_000;
const BODY_BYTES_AT_ONCE: usize = 130_000;
const BODY_PIECE_BYTES: usize = 2_000;
/// Write keys that bodies come with, in turn.
const KEYS: usize = 50;
/// Files that this process needs beside its crowd.
const FILES_KEPT: u64 = 256;

/// How many there are of each.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Connections that have had one answer and say no more.
    pub idle: usize,
    /// Heads that do not end.
    pub heads: usize,
    /// Bodies that come slowly.
    pub bodies: usize,
}

/// What became of a crowd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Idle connections that the server closed.
    pub idle_closed: usize,
    /// Heads and bodies that the server put an end to, by the status it did it with, 0 where it gave no answer. Each came
    /// again as a new one.
    pub ended: BTreeMap<u16, u64>,
}

/// A crowd that stands before the server.
#[derive(Debug)]
pub struct Crowd {
    idle: Vec<TcpStream>,
    goes: Arc<AtomicBool>,
    others: JoinHandle<Tally>,
}

/// A connection that has something begun.
#[derive(Debug)]
struct Held {
    stream: TcpStream,
    number: usize,
    is_body: bool,
    sent: usize,
    answer: Vec<u8>,
}

impl Size {
    /// As many idle ones less as this process may not have open.
    #[must_use]
    pub fn as_files_allow(self) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(FILES_KEPT);
        let others = self.heads + self.bodies;
        Self { idle: self.idle.min(usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(others)), ..self }
    }
}

impl Crowd {
    /// Connects all of them. The idle ones have had their answer then, the others have begun.
    ///
    /// # Panics
    /// Where the server takes one not in.
    pub fn gather(server: SocketAddr, size: Size) -> Self {
        let idle = (0..size.idle).map(|number| idle(server, number)).collect();
        let mut held: Vec<_> = (0..size.heads + size.bodies)
            .map(|number| Held::begin(server, size.idle + number, number >= size.heads))
            .collect();
        let goes = Arc::new(AtomicBool::new(true));
        let others = thread::spawn({
            let goes = Arc::clone(&goes);
            move || {
                let mut tally = Tally::default();
                while goes.load(Ordering::Relaxed) {
                    let turn = Instant::now();
                    for held in &mut held {
                        if let Some(status) = held.go_on() {
                            *tally.ended.entry(status).or_default() += 1;
                            *held = Held::begin(server, held.number, held.is_body);
                        }
                    }
                    thread::sleep(PACE.saturating_sub(turn.elapsed()));
                }
                tally
            }
        });
        Self { idle, goes, others }
    }

    /// Lets all of them go.
    ///
    /// # Panics
    /// When one of them could not come again.
    pub fn disperse(self) -> Tally {
        self.goes.store(false, Ordering::Relaxed);
        let mut tally = self.others.join().expect("the crowd's thread");
        let is_open = |stream: &TcpStream| {
            stream.set_nonblocking(true).expect("a socket");
            matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        };
        tally.idle_closed = self.idle.iter().filter(|stream| !is_open(stream)).count();
        tally
    }
}

impl Held {
    fn begin(server: SocketAddr, number: usize, is_body: bool) -> Self {
        let mut stream = from_address(server, number);
        let key = number % KEYS;
        let head = if is_body {
            format!("POST /v1/batch?writeKey=held-{key} HTTP/1.1\r\nHost: held\r\nContent-Length: {BODY_BYTES}\r\n\r\n")
        } else {
            "POST /v1/batch HTTP/1.1\r\nHost: held\r\n".to_owned()
        };
        // What does not go out at once is given up: the server reads less than it is sent.
        stream.set_nonblocking(true).expect("a socket");
        let at_once = if is_body { BODY_BYTES_AT_ONCE } else { 0 };
        let sent = stream.write(&[head.as_bytes(), &vec![b' '; at_once]].concat()).unwrap_or(0);
        Self { stream, number, is_body, sent, answer: Vec::new() }
    }

    /// Sends the next piece, and gives the status once the server has put an end to it.
    fn go_on(&mut self) -> Option<u16> {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Some(self.status()),
            Ok(count) => self.answer.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Some(self.status()),
        }
        // Who was answered waits for the end.
        let bytes_max = if self.is_body { BODY_BYTES } else { HEAD_BYTES_MAX };
        if self.answer.is_empty() && self.sent < bytes_max {
            let body = [b' '; BODY_PIECE_BYTES];
            let piece: &[u8] = if self.is_body { &body } else { HEAD_PIECE.as_bytes() };
            self.sent += self.stream.write(piece).unwrap_or(0);
        }
        None
    }

    fn status(&self) -> u16 {
        let text = String::from_utf8_lossy(&self.answer);
        text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

/// A connection that has had an answer.
fn idle(server: SocketAddr, number: usize) -> TcpStream {
    let mut stream = from_address(server, number);
    stream.set_read_timeout(Some(ANSWER_LIMIT)).expect("a socket");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: idle\r\n\r\n").expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "the server closed the idle connection {number}");
        answer.extend_from_slice(&bytes[..count]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// Connects from the address of client `number`; on Linux every address of 127/8 is the machine's own.
fn from_address(server: SocketAddr, number: usize) -> TcpStream {
    let SocketAddr::V4(server) = server else { panic!("{server} is not IPv4") };
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + (number / OF_ONE_ADDRESS) as u32);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&socket, &SocketAddrV4::new(address, 0)).expect("an address of this machine");
    connect(&socket, &server).expect("the server listens");
    TcpStream::from(socket)
}
