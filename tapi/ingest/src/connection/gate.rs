//! What stands between the socket and the library: it knows where each message begins and ends, and lets nothing through
//! that it does not understand.
//!
//! A head is passed on when it is whole and was judged ([`super::head`]); until then its bytes wait here. In place of one
//! that is refused goes a plain request of our own, the last of the connection, so that the refusal is answered like
//! every other one: in its turn behind the answers before it, with JSON and with the headers that a page needs. Behind it
//! the connection ends. A body whose chunks cannot be understood ends there, too early for the request to count.

use std::rc::Rc;

use super::chunks::Chunks;
use super::head::{Framing, Head, origin};
use crate::pool::{Pool, Room};
use crate::reject::Reject;

/// Where in the stream of messages the next byte lies.
#[derive(Debug)]
enum Place {
    Head(Head),
    /// In a body of which so many bytes are to come.
    Length(u64),
    Chunks(Chunks),
    /// Nothing more is let through.
    Shut,
}

/// A request that is refused for its head: which one of the connection, from 0, and why.
pub(super) type Refusal = (u64, Reject);

/// The gate of one connection.
pub(super) struct Gate {
    pool: Rc<Pool>,
    place: Place,
    /// What could not be passed on at once: first what may pass, then the beginning of a head.
    waiting: Option<Room>,
    /// Bytes of it that may pass.
    admitted: usize,
    /// Heads let through.
    heads: u64,
    /// Whether the empty line was seen that some clients send behind a body.
    had_empty_line: bool,
    refusal: Option<Refusal>,
}

impl Gate {
    /// Behind so many requests that did not come through it.
    pub(super) fn new(pool: Rc<Pool>, heads: u64) -> Self {
        Self {
            pool,
            place: Place::Head(Head::default()),
            waiting: None,
            admitted: 0,
            heads,
            had_empty_line: false,
            refusal: None,
        }
    }

    /// Takes what the client sent. So many bytes at its front are to be passed on as they are, before anything else; the
    /// rest waits here.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let Some(mut room) = self.waiting.take() else {
            let (admitted, fault) = self.judge(bytes, 0);
            if let Some(reject) = fault {
                self.refuse(&bytes[admitted..], reject);
            } else if admitted < bytes.len() && !matches!(self.place, Place::Shut) {
                let mut room = self.pool.lend(None);
                match room.push(&bytes[admitted..]) {
                    Ok(()) => self.waiting = Some(room),
                    Err(reject) => self.refuse(&bytes[admitted..], reject),
                }
            }
            return admitted;
        };
        debug_assert_eq!(self.admitted, 0, "what may pass has passed before more is read");
        if let Err(reject) = room.push(bytes) {
            self.refuse(&room, reject);
            return 0;
        }
        let (admitted, fault) = self.judge(&room, 0);
        self.admitted = admitted;
        match fault {
            None => self.waiting = Some(room),
            Some(reject) => {
                let refused = self.pool.lend(None);
                let head = std::mem::replace(&mut room, refused);
                room.push_own(&head[..admitted]);
                self.waiting = Some(room);
                self.refuse(&head[admitted..], reject);
            }
        }
        0
    }

    /// How far the bytes may pass, and what is wrong with the head that begins there.
    fn judge(&mut self, bytes: &[u8], mut at: usize) -> (usize, Option<Reject>) {
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.place {
                Place::Shut => break,
                Place::Head(_) if !self.had_empty_line && rest.starts_with(b"\r\n") => {
                    self.had_empty_line = true;
                    at += 2;
                }
                Place::Head(_) if !self.had_empty_line && rest == b"\r" => break,
                Place::Head(head) => match head.read(rest) {
                    Ok(None) => break,
                    Ok(Some((framing, length))) => {
                        at += length;
                        self.heads += 1;
                        self.had_empty_line = false;
                        self.place = match framing {
                            Framing::Length(0) => Place::Head(Head::default()),
                            Framing::Length(length) => Place::Length(length),
                            Framing::Chunked => Place::Chunks(Chunks::new()),
                        };
                    }
                    Err(reject) => return (at, Some(reject)),
                },
                Place::Length(left) => {
                    let step = (*left).min(rest.len() as u64);
                    *left -= step;
                    at += step as usize;
                    if *left == 0 {
                        self.place = Place::Head(Head::default());
                    }
                }
                Place::Chunks(chunks) => match chunks.read(rest) {
                    Ok((read, has_ended)) => {
                        at += read;
                        if has_ended {
                            self.place = Place::Head(Head::default());
                        }
                    }
                    Err(_) => self.place = Place::Shut,
                },
            }
        }
        (at, None)
    }

    /// Lets a request of our own through in place of the head that begins with `head`, and nothing behind it.
    fn refuse(&mut self, head: &[u8], reject: Reject) {
        self.place = Place::Shut;
        self.refusal = Some((self.heads, reject));
        let room = self.waiting.get_or_insert_with(|| self.pool.lend(None));
        room.truncate(self.admitted);
        room.push_own(b"GET / HTTP/1.1\r\nhost:\r\n");
        if let Some(origin) = origin(head) {
            for part in [b"origin: ", origin, b"\r\n"] {
                room.push_own(part);
            }
        }
        room.push_own(b"\r\n");
        self.admitted = room.len();
    }

    /// Gives up on what is being sent: a head is refused for `reject`, a body ends.
    pub(super) fn cut(&mut self, reject: Reject) {
        match (&self.place, self.waiting.take()) {
            (Place::Head(_), Some(room)) => {
                self.waiting = None;
                self.refuse(&room, reject);
            }
            (_, waiting) => {
                self.waiting = waiting;
                self.place = Place::Shut;
            }
        }
    }

    /// Passes on at most `bytes_max` bytes of what waits and may pass.
    pub(super) fn pass(&mut self, bytes_max: usize, put: impl FnOnce(&[u8])) -> bool {
        let count = self.admitted.min(bytes_max);
        let Some(room) = self.waiting.as_mut().filter(|_| count > 0) else { return false };
        put(&room[..count]);
        room.consume(count);
        self.admitted -= count;
        if room.is_empty() {
            self.waiting = None;
        }
        true
    }

    /// What has not passed yet.
    pub(super) fn waiting(&self) -> &[u8] {
        self.waiting.as_deref().unwrap_or_default()
    }

    /// Whether nothing more will come through.
    pub(super) fn is_shut(&self) -> bool {
        matches!(self.place, Place::Shut) && self.admitted == 0
    }

    /// Whether a head has begun that has not ended.
    pub(super) fn has_begun_head(&self) -> bool {
        let is_more = |room: &Room| room.len() > self.admitted && &room[self.admitted..] != b"\r";
        !matches!(self.place, Place::Shut) && self.waiting.as_ref().is_some_and(is_more)
    }

    /// The refusal that was let through; once.
    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pool::InFlight;

    const GOOD: &str = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    const CHUNKED: &str = "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    const REFUSED: &str = "GET / HTTP/1.1\r\nhost:\r\n\r\n";

    fn gate(bytes_max: usize) -> Gate {
        Gate::new(Rc::new(Pool::new(Arc::new(InFlight::new(bytes_max)))), 0)
    }

    /// What comes out where the bytes come in pieces of this size and are read in others.
    fn through(gate: &mut Gate, bytes: &str, piece: usize) -> String {
        let mut out = Vec::new();
        for piece in bytes.as_bytes().chunks(piece) {
            if gate.is_shut() {
                break;
            }
            let admitted = gate.take(piece);
            out.extend_from_slice(&piece[..admitted]);
            while gate.pass(7, |bytes| out.extend_from_slice(bytes)) {}
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn good_messages_pass_as_they_are_however_they_come() {
        let all = [GOOD, CHUNKED, "\r\n", GOOD, GOOD].concat();
        for piece in 1..=all.len() {
            let mut gate = gate(usize::MAX);
            assert_eq!(through(&mut gate, &all, piece), all, "{piece}");
            assert!(!gate.has_begun_head() && !gate.is_shut() && gate.waiting.is_none());
            assert_eq!(gate.heads, 4);
        }
    }

    #[test]
    fn nothing_passes_behind_a_refused_head() {
        for (bad, origin) in [
            ("GET / HTTP/1.1\r\n\r\n", ""),
            (
                "GET / HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\nContent-Length : 5\r\n\r\n",
                "https://a.example",
            ),
            ("\r\n\r\n", ""),
        ] {
            let all = [GOOD, CHUNKED, bad, GOOD].concat();
            for piece in 1..=all.len() {
                let mut gate = gate(usize::MAX);
                let out = through(&mut gate, &all, piece);
                let blank = if bad == "\r\n\r\n" { "\r\n" } else { "" };
                let start = [GOOD, CHUNKED, blank].concat();
                let last = out.strip_prefix(&start).unwrap_or_else(|| panic!("{out:?}"));
                if origin.is_empty() {
                    assert_eq!(last, REFUSED, "{piece}");
                } else {
                    assert_eq!(last, format!("GET / HTTP/1.1\r\nhost:\r\norigin: {origin}\r\n\r\n"), "{piece}");
                }
                assert_eq!(gate.take_refusal(), Some((2, Reject::BadRequest)));
                assert!(gate.is_shut());
            }
        }
    }

    #[test]
    fn a_body_of_broken_chunks_ends_before_its_end() {
        let all = CHUNKED.replace("\r\nab", "\nab") + GOOD;
        for piece in 1..=all.len() {
            let mut gate = gate(usize::MAX);
            let out = through(&mut gate, &all, piece);
            assert!(CHUNKED.starts_with(&out) && !out.contains("ab"), "{out:?}");
            assert!(gate.is_shut());
            assert_eq!(gate.take_refusal(), None);
        }
    }

    #[test]
    fn what_is_cut_is_refused_or_ends() {
        for (begun, expected) in
            [("POST / HT", Some((0, Reject::ReadTimeout))), ("", None), (&GOOD[..GOOD.len() - 1], None)]
        {
            let mut gate = gate(usize::MAX);
            let out = through(&mut gate, begun, 100);
            assert_eq!(gate.has_begun_head(), expected.is_some());
            gate.cut(Reject::ReadTimeout);
            let mut rest = Vec::new();
            while gate.pass(100, |bytes| rest.extend_from_slice(bytes)) {}
            assert_eq!(gate.take_refusal(), expected, "{begun}");
            let own = if expected.is_some() { REFUSED } else { "" };
            assert_eq!((out + std::str::from_utf8(&rest).unwrap()), if own.is_empty() { begun } else { own });
            assert!(gate.is_shut());
        }
    }

    #[test]
    fn a_head_that_has_begun_is_all_there_for_the_next_process() {
        let head = GOOD.find("\r\n\r\n").unwrap() + 4;
        for cut in 1..head {
            for piece in [1, 3, cut] {
                let mut gate = gate(usize::MAX);
                let all = [GOOD, CHUNKED, &GOOD[..cut]].concat();
                assert_eq!(through(&mut gate, &all, piece), [GOOD, CHUNKED].concat());
                assert_eq!(gate.waiting(), &GOOD.as_bytes()[..cut], "{piece}");
            }
        }
    }

    #[test]
    fn unfinished_heads_of_all_connections_have_a_bound_together() {
        let pool = Rc::new(Pool::new(Arc::new(InFlight::new(64 << 10))));
        let mut gates: Vec<_> = (0..100).map(|_| Gate::new(Rc::clone(&pool), 0)).collect();
        let refusals: Vec<_> = gates
            .iter_mut()
            .filter_map(|gate| {
                through(gate, "GET / HTTP/1.1\r\nHo", 3);
                gate.take_refusal()
            })
            .collect();
        assert_eq!(refusals, [(0, Reject::Overloaded); 84], "sixteen of 4 KiB fit");
    }
}
