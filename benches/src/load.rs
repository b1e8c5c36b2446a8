//! A closed-loop client: one thread, many connections, one request in flight on each, as little work as possible, so
//! that what is measured is the server. Every answer is checked.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use crate::event::{self, NUMBER_DIGITS};

const ANSWER_START: &[u8] = b"HTTP/1.1 200 ";

/// What a run of the client saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Requests answered.
    pub requests: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Times from request to answer, rising.
    latencies: Vec<Duration>,
}

impl Seen {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that a share of the requests stayed below.
    pub fn percentile(&self, share: f64) -> Duration {
        let index = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(index).copied().unwrap_or_default()
    }
}

/// A client with its connections.
pub struct Client {
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    request: Vec<u8>,
    digits: usize,
    number: u64,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    sent: Instant,
}

impl Client {
    /// Connects. The first number is used for the first request's messageId; each request takes the next.
    ///
    /// # Panics
    /// Where nobody listens.
    pub fn connect(address: SocketAddr, connections: usize, first_number: u64) -> Self {
        let event = event::event();
        let head = format!(
            "POST /v1/track HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic YmVuY2g6\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            event.len()
        );
        let request = [head.as_bytes(), &event].concat();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance");
        let connections = (0..connections).map(|index| Connection::open(&epoll, address, index)).collect();
        let digits = event::number_offset(&request);
        Self { epoll, connections, request, digits, number: first_number }
    }

    /// The number that the next request would take.
    pub fn next_number(&self) -> u64 {
        self.number
    }

    /// Posts for `duration`, then waits for the answers that are due.
    ///
    /// # Panics
    /// On any answer but 200, and when a connection breaks.
    pub fn run(&mut self, duration: Duration) -> Seen {
        let start = Instant::now();
        let end = start + duration;
        let mut latencies = Vec::with_capacity(1 << 20);
        let mut in_flight = self.connections.len();
        for index in 0..in_flight {
            self.send(index);
        }
        let mut events = Vec::with_capacity(self.connections.len());
        let mut ready = VecDeque::new();
        while in_flight > 0 {
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).expect("epoll waits");
            ready.extend(events.drain(..).map(|event| event.data.u64() as usize));
            while let Some(index) = ready.pop_front() {
                if !self.connections[index].receive() {
                    continue;
                }
                let now = Instant::now();
                latencies.push(now - self.connections[index].sent);
                if now < end {
                    self.send(index);
                } else {
                    in_flight -= 1;
                }
            }
        }
        latencies.sort_unstable();
        Seen { requests: latencies.len() as u64, elapsed: start.elapsed(), latencies }
    }

    fn send(&mut self, index: usize) {
        event::set_number(&mut self.request[self.digits..self.digits + NUMBER_DIGITS], self.number);
        self.number += 1;
        let connection = &mut self.connections[index];
        connection.sent = Instant::now();
        connection.stream.write_all(&self.request).expect("the server takes requests");
    }
}

impl Connection {
    fn open(epoll: &std::os::fd::OwnedFd, address: SocketAddr, index: usize) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(epoll, stream.as_fd(), data, epoll::EventFlags::IN).expect("epoll takes the socket");
        Self { stream, answer: Vec::with_capacity(1024), sent: Instant::now() }
    }

    /// Takes what has arrived; whether the answer is whole.
    fn receive(&mut self) -> bool {
        let mut bytes = [0; 1024];
        let count = self.stream.read(&mut bytes).expect("the server answers");
        assert!(count > 0, "the server closed a connection");
        self.answer.extend_from_slice(&bytes[..count]);
        let Some(expected) = answer_bytes(&self.answer) else { return false };
        assert!(self.answer.len() <= expected, "more than one answer to one request");
        if self.answer.len() < expected {
            return false;
        }
        let text = || String::from_utf8_lossy(&self.answer).into_owned();
        assert!(self.answer.starts_with(ANSWER_START), "not a 200: {}", text());
        self.answer.clear();
        true
    }
}

/// Bytes of the whole answer, once its head is there.
fn answer_bytes(answer: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length: ";
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let length = answer[..head].windows(LENGTH.len()).position(|window| window.eq_ignore_ascii_case(LENGTH))?;
    let digits = answer[length + LENGTH.len()..head].iter().take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    Some(head + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_by_its_content_length() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(answer_bytes(answer), Some(answer.len()));
        assert_eq!(answer_bytes(&answer[..20]), None);
    }
}
