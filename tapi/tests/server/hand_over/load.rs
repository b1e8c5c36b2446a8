//! Clients that never try anything twice, as some SDKs do not: what they are not told to be safe is lost.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{AUTH, event};

/// Clients of each kind.
const CLIENTS: usize = 10;
/// Requests a second of all clients: the load, not a wait for anything. Whoever is behind sends at once.
const RATE: u32 = 5_000;
/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Clients that send one request after the other.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Told>>,
}

/// What they were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Ids of those that were answered with 200.
    pub(super) stored: Vec<String>,
    /// Everything else that happened to a request.
    pub(super) faults: Vec<String>,
    pub(super) slowest: Duration,
    /// Requests on a connection that had an answer before.
    pub(super) reused: usize,
}

impl Load {
    /// Half of the clients keep their connections, half open one for each request.
    pub(super) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |index: usize| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || run(address, index, index.is_multiple_of(2), &stop))
        };
        Self { clients: (0..2 * CLIENTS).map(client).collect(), stop }
    }

    pub(super) fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().unwrap()).fold(Told::default(), |mut all, one| {
            all.stored.extend(one.stored);
            all.faults.extend(one.faults);
            all.slowest = all.slowest.max(one.slowest);
            all.reused += one.reused;
            all
        })
    }
}

fn run(address: SocketAddr, index: usize, keeps: bool, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut kept: Option<BufReader<TcpStream>> = None;
    let pace = Duration::from_secs(1) * 2 * CLIENTS as u32 / RATE;
    let mut next = Instant::now();
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{index}-{count}");
        let begun = Instant::now();
        let reused = kept.is_some();
        told.reused += usize::from(reused);
        match ask(address, kept.take(), &id, keeps) {
            Ok(connection) => {
                kept = connection;
                told.stored.push(id);
            }
            Err(fault) => {
                let on = if reused { "a kept connection" } else { "a new connection" };
                told.faults.push(format!("{id} on {on} after {:?}: {fault}", begun.elapsed()));
            }
        }
        told.slowest = told.slowest.max(begun.elapsed());
        next += pace;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    told
}

/// One request; the connection, where it may be used again.
fn ask(
    address: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
    id: &str,
    keeps: bool,
) -> Result<Option<BufReader<TcpStream>>, String> {
    let connect = || {
        let stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Ok::<_, String>(BufReader::new(stream))
    };
    let mut stream = kept.map_or_else(connect, Ok)?;
    let body = event(id);
    let connection = if keeps { "" } else { "Connection: close\r\n" };
    let head = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}{connection}Content-Length: {}\r\n\r\n", body.len());
    stream
        .get_mut()
        .write_all(&[head.as_bytes(), body.as_bytes()].concat())
        .map_err(|error| format!("send: {error}"))?;
    let (mut length, mut closes) = (0, false);
    let mut status = String::new();
    stream.read_line(&mut status).map_err(|error| format!("answer: {error}"))?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).map_err(|error| format!("headers: {error}"))?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        closes |= line == "connection: close";
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(|error| format!("body: {error}"))?;
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{status:?} {}", String::from_utf8_lossy(&body)));
    }
    Ok((!closes).then_some(stream))
}
