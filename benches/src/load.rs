//! A load client: one thread, many connections, one request in flight on each, as little work as possible, so that what
//! is measured is the server. Every answer is checked.
//!
//! In a closed loop ([`Client::run`]) a connection sends its next request when it has its answer; in an open one
//! ([`Client::run_at`]) requests are due at a rate, whatever the server does, and one that finds no free connection waits
//! for it: that wait is part of its latency.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::posts::Posts;
use crate::socket::{Socket, Trust};

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
    fn new(mut latencies: Vec<Duration>, start: Instant) -> Self {
        latencies.sort_unstable();
        Self { requests: latencies.len() as u64, elapsed: start.elapsed(), latencies }
    }

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
    posts: Posts,
    /// Of the system: connections that have something to read.
    events: Vec<epoll::Event>,
}

struct Connection {
    socket: Socket,
    answer: Vec<u8>,
    /// When its request was sent, or was due.
    since: Instant,
}

impl Client {
    /// Connects, to post single events. The first number is used for the first request's messageId; each request takes the
    /// next.
    ///
    /// # Panics
    /// Where nobody listens.
    pub fn connect(address: SocketAddr, connections: usize, first_number: u64) -> Self {
        Self::with(address, connections, Posts::singles(first_number), None)
    }

    /// Connects, to post these.
    ///
    /// # Panics
    /// Where nobody listens, or is not trusted.
    pub fn with(address: SocketAddr, connections: usize, posts: Posts, trust: Option<&Trust>) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance");
        let open = |index| {
            let socket = Socket::connect(address, posts.request_bytes_max(), trust);
            let data = epoll::EventData::new_u64(index);
            epoll::add(&epoll, socket.as_fd(), data, epoll::EventFlags::IN).expect("epoll takes the socket");
            Connection { socket, answer: Vec::with_capacity(1024), since: Instant::now() }
        };
        let connections: Vec<_> = (0..connections as u64).map(open).collect();
        let events = Vec::with_capacity(connections.len());
        Self { epoll, connections, posts, events }
    }

    /// The number that the next event would take: as many have been sent, if they began with 0.
    pub fn next_number(&self) -> u64 {
        self.posts.next_number()
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
            self.send(index, Instant::now());
        }
        let mut ready = VecDeque::new();
        while in_flight > 0 {
            self.wait(None, &mut ready);
            while let Some(index) = ready.pop_front() {
                if !self.connections[index].receive() {
                    continue;
                }
                let now = Instant::now();
                latencies.push(now - self.connections[index].since);
                if now < end {
                    self.send(index, now);
                } else {
                    in_flight -= 1;
                }
            }
        }
        Seen::new(latencies, start)
    }

    /// Posts `rate` requests a second, evenly, for `duration`, then waits for the answers that are due. Latencies count
    /// from the time at which a request is due.
    ///
    /// # Panics
    /// As [`Client::run`].
    pub fn run_at(&mut self, rate: f64, duration: Duration) -> Seen {
        const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let start = Instant::now();
        let count = (rate * duration.as_secs_f64()) as u64;
        let mut latencies = Vec::with_capacity(count as usize);
        let mut free: Vec<usize> = (0..self.connections.len()).collect();
        let (mut sent, mut ready) = (0, VecDeque::new());
        while (latencies.len() as u64) < count {
            while sent < count {
                let due = start + Duration::from_secs_f64(sent as f64 / rate);
                if due > Instant::now() {
                    break;
                }
                let Some(index) = free.pop() else { break };
                self.send(index, due);
                sent += 1;
            }
            // A sleep would be longer than the time until the next one is due.
            self.wait(Some(&AT_ONCE), &mut ready);
            while let Some(index) = ready.pop_front() {
                if self.connections[index].receive() {
                    latencies.push(self.connections[index].since.elapsed());
                    free.push(index);
                }
            }
        }
        Seen::new(latencies, start)
    }

    /// Adds the connections that have something to read.
    fn wait(&mut self, timeout: Option<&Timespec>, ready: &mut VecDeque<usize>) {
        let Self { epoll, events, .. } = self;
        epoll::wait(epoll, rustix::buffer::spare_capacity(events), timeout).expect("epoll waits");
        ready.extend(events.drain(..).map(|event| event.data.u64() as usize));
    }

    fn send(&mut self, index: usize, since: Instant) {
        let connection = &mut self.connections[index];
        connection.since = since;
        connection.socket.send(self.posts.next_request());
    }
}

impl Connection {
    /// Takes what has arrived; whether the answer is whole.
    fn receive(&mut self) -> bool {
        self.socket.receive(&mut self.answer);
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
