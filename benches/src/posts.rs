//! What a load client posts: one request after the other, ready but for the numbers of its events.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::event::{self, NUMBER_DIGITS};

/// Batches that differ; then they come again, with other numbers.
const BATCHES: usize = 16;
const SEED: u64 = 16;

/// Requests, over and over.
#[derive(Debug, Clone)]
pub struct Posts {
    requests: Vec<Request>,
    next: usize,
    number: u64,
}

#[derive(Debug, Clone)]
struct Request {
    bytes: Vec<u8>,
    /// Where the numbers of its events begin.
    digits: Vec<usize>,
    events: u64,
}

impl Posts {
    /// Single events of [`event::EVENT_BYTES`]. The first number is that of the first event's messageId; each event takes
    /// the next.
    pub fn singles(first_number: u64) -> Self {
        Self::new(vec![Request::new("/v1/track", "", &event::event(), 1)], first_number)
    }

    /// Batches of so many events.
    pub fn batches(events: usize) -> Self {
        let batches = Self::bodies(events);
        Self::new(batches.iter().map(|body| Request::new("/v1/batch", "", body, events as u64)).collect(), 0)
    }

    /// Bodies that are packed already, of so many events each. Their numbers stay as they are.
    pub fn packed(bodies: &[Vec<u8>], events: usize) -> Self {
        let request = |body: &Vec<u8>| {
            let request = Request::new("/v1/batch", "Content-Encoding: gzip\r\n", body, events as u64);
            Request { digits: Vec::new(), ..request }
        };
        Self::new(bodies.iter().map(request).collect(), 0)
    }

    /// Bodies of batches as [`Posts::batches`] sends them.
    pub fn bodies(events: usize) -> Vec<Vec<u8>> {
        let mut random = StdRng::seed_from_u64(SEED);
        let mut varied = |_| {
            let mut event = event::event();
            event::vary(&mut event, &mut random);
            event
        };
        (0..BATCHES).map(|_| event::batch(&(0..events).map(&mut varied).collect::<Vec<_>>())).collect()
    }

    fn new(requests: Vec<Request>, number: u64) -> Self {
        Self { requests, next: 0, number }
    }

    /// The number of the next event.
    pub fn next_number(&self) -> u64 {
        self.number
    }

    /// The next request.
    pub(crate) fn next_request(&mut self) -> &[u8] {
        let index = self.next;
        self.next = (index + 1) % self.requests.len();
        let request = &mut self.requests[index];
        for (number, &digits) in (self.number..).zip(&request.digits) {
            event::set_number(&mut request.bytes[digits..digits + NUMBER_DIGITS], number);
        }
        self.number += request.events;
        &request.bytes
    }

    /// Bytes of the largest request.
    pub(crate) fn request_bytes_max(&self) -> usize {
        self.requests.iter().map(|request| request.bytes.len()).max().unwrap_or(0)
    }
}

impl Request {
    fn new(path: &str, header: &str, body: &[u8], events: u64) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YmVuY2g6\r\n\
             Content-Type: application/json\r\n{header}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.as_bytes(), body].concat();
        let digits = event::number_offsets(&bytes);
        Self { bytes, digits, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_a_number_of_its_own() {
        let mut posts = Posts::batches(3);
        let numbers = |request: &[u8]| {
            let digits = event::number_offsets(request).into_iter().map(|at| &request[at..at + NUMBER_DIGITS]);
            digits.map(|digits| String::from_utf8_lossy(digits).parse().unwrap()).collect::<Vec<u64>>()
        };
        assert_eq!(numbers(posts.next_request()), [0, 1, 2]);
        assert_eq!(numbers(posts.next_request()), [3, 4, 5]);
        assert_eq!(posts.next_number(), 6);
        assert_eq!(numbers(Posts::singles(7).next_request()), [7]);
    }
}
