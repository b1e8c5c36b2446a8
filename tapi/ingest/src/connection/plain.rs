//! Requests that need neither the gate nor the library: a POST of HTTP/1.1 that came whole in one read, with a
//! `Content-Length` and nothing behind it, on a connection that goes on. That is what SDKs send. The library's part of such
//! a request was a seventh of its processor time (1.5 of 10.3 us: profile of the bench `ingest`, 30 November 2026, one core
//! of a 2-core Xeon).
//!
//! The head is judged by the same code as before the library ([`super::head`]), and whatever is not plain, be it wrong or
//! only unusual, is left to the library as it came, with all that follows on the connection.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as Task, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{CONNECTION, EXPECT, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Response, Uri};
use tokio::io::AsyncReadExt as _;

use super::entry::{Entry, Order, Phase};
use super::head::{Framing, Head};
use super::outlet::Outlet;
use super::stream::{Accepted, Stream};
use crate::body::Source;
use crate::commits::clock_us;
use crate::handle::{Context, handle_parts};

const METHOD: &[u8] = b"POST ";
const VERSION: &[u8] = b" HTTP/1.1\r";
/// Maps that a thread keeps for the next requests.
const MAPS_MAX: usize = 1024;

/// What the connections of one thread share for such requests.
pub(crate) struct Plain {
    /// Requests are read into this. What is still in use when the next one comes is left to whoever uses it.
    room: RefCell<BytesMut>,
    read_bytes_max: usize,
    maps: RefCell<Vec<HeaderMap>>,
    outlet: RefCell<Outlet>,
}

impl Plain {
    /// For reads of at most so many bytes.
    pub(crate) fn new(read_bytes_max: usize) -> Self {
        Self { room: RefCell::default(), read_bytes_max, maps: RefCell::default(), outlet: RefCell::default() }
    }

    fn map(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    fn keep(&self, mut map: HeaderMap) {
        let mut maps = self.maps.borrow_mut();
        if maps.len() < MAPS_MAX {
            map.clear();
            maps.push(map);
        }
    }
}

/// Why no more is served here.
pub(super) enum Left {
    /// The connection has ended or has to.
    Ended,
    /// It is the next process's.
    Passed,
    /// This came, and is for the library.
    Other(Bytes),
}

/// Serves as long as what comes is plain, after what was read already.
pub(super) async fn serve<T: Stream>(accepted: &mut Accepted<T>, context: &Rc<Context>, entry: &Rc<Entry>) -> Left {
    let Accepted { stream, read: before } = accepted;
    loop {
        let read = if before.is_empty() {
            match poll_fn(|task| poll_next(stream, context, entry, task)).await {
                Ok(read) => read,
                Err(left) => return left,
            }
        } else {
            std::mem::take(before)
        };
        let Some(Request { uri, headers, body }) = Request::parse(&read, &context.plain) else {
            // Its own memory: the room is wanted for others.
            return Left::Other(Bytes::copy_from_slice(&read));
        };
        entry.received(read.len(), false);
        drop(read);
        let (shared, own) = (Rc::clone(context), Rc::clone(entry));
        let answer = handle_parts(shared, own, &Method::POST, uri, headers, Source::whole(body));
        let Some(mut response) = entry.unless_closed(answer).await else { return Left::Ended };
        if entry.is_finishing() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let closes = response.headers().contains_key(CONNECTION);
        if send(stream, context, entry, response).await.is_err() {
            return Left::Ended;
        }
        if closes {
            let _ = entry.unless_closed(poll_fn(|task| Pin::new(&mut *stream).poll_shutdown(task))).await;
            return Left::Ended;
        }
    }
}

/// What the client sends next, unless the connection has to go.
fn poll_next<T: Stream>(
    stream: &mut T,
    context: &Context,
    entry: &Entry,
    task: &mut Task<'_>,
) -> Poll<Result<Bytes, Left>> {
    match entry.order(task) {
        Order::Close => return Poll::Ready(Err(Left::Ended)),
        Order::Pass if T::PASSES => return Poll::Ready(Err(Left::Passed)),
        // A client that has just connected is about to send: it gets its answer first.
        Order::Pass | Order::Finish if entry.phase.get() != Phase::Fresh => return Poll::Ready(Err(Left::Ended)),
        Order::Pass | Order::Finish | Order::Serve => {}
    }
    let mut room = context.plain.room.borrow_mut();
    room.reserve(context.plain.read_bytes_max);
    let read = {
        let mut bounded = pin!(stream.read_buf(&mut *room));
        ready!(bounded.as_mut().poll(task))
    };
    match read {
        Ok(1..) => Poll::Ready(Ok(room.split().freeze())),
        Ok(0) | Err(_) => Poll::Ready(Err(Left::Ended)),
    }
}

/// A plain request.
struct Request {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// `None` for anything else.
    fn parse(bytes: &Bytes, plain: &Plain) -> Option<Self> {
        if !bytes.starts_with(METHOD) {
            return None;
        }
        let Ok(Some((Framing::Length(length), head_bytes))) = Head::default().read(bytes) else { return None };
        if (bytes.len() - head_bytes) as u64 != length {
            return None;
        }
        let mut lines = Lines { rest: &bytes[..head_bytes] };
        let target = lines.next()?.strip_suffix(VERSION)?.strip_prefix(METHOD)?;
        let uri = Uri::from_maybe_shared(bytes.slice_ref(target)).ok()?;
        let mut headers = plain.map();
        if read_fields(lines, bytes, &mut headers).is_none() {
            plain.keep(headers);
            return None;
        }
        Some(Self { uri, headers, body: bytes.slice(head_bytes..) })
    }
}

fn read_fields(lines: Lines<'_>, bytes: &Bytes, headers: &mut HeaderMap) -> Option<()> {
    for line in lines {
        // The head was judged; these check once more what they are made of.
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (HeaderName::from_bytes(&line[..colon]).ok()?, line[colon + 1..].trim_ascii());
        if name == EXPECT || name == UPGRADE || (name == CONNECTION && !value.eq_ignore_ascii_case(b"keep-alive")) {
            return None;
        }
        headers.try_append(name, HeaderValue::from_maybe_shared(bytes.slice_ref(value)).ok()?).ok()?;
    }
    Some(())
}

/// The lines of a head, without the empty one at its end.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        Some(line).filter(|line| *line != b"\r")
    }
}

/// Sends an answer. Most are taken by the socket at once; what is not waits in memory of its own.
async fn send<T: Stream>(
    stream: &mut T,
    context: &Context,
    entry: &Entry,
    response: Response<Full<Bytes>>,
) -> io::Result<()> {
    entry.unwritten.set(true);
    let mut response = Some(response);
    let mut left: Vec<u8> = Vec::new();
    let sent = entry.unless_closed(poll_fn(|task| {
        if let Some(response) = response.take() {
            let mut outlet = context.plain.outlet.borrow_mut();
            let (bytes, headers) = outlet.write(response, clock_us() as u64 / 1_000_000);
            context.plain.keep(headers);
            let mut at = 0;
            while at < bytes.len() {
                match Pin::new(&mut *stream).poll_write(task, &bytes[at..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(written) => at += written?,
                    Poll::Pending => break,
                }
            }
            if at < bytes.len() {
                left.extend_from_slice(&bytes[at..]);
                entry.enter(Phase::Answer);
                return Poll::Pending;
            }
        }
        while !left.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(task, &left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left.drain(..written);
            // The client reads: its time begins anew.
            entry.enter(Phase::Answer);
        }
        Pin::new(&mut *stream).poll_flush(task)
    }));
    sent.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
    entry.unwritten.set(false);
    if entry.phase.get() == Phase::Answer {
        entry.answered();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "POST /v1/t HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc";

    fn parse(request: &str) -> Option<Request> {
        Request::parse(&Bytes::copy_from_slice(request.as_bytes()), &Plain::new(1024))
    }

    #[test]
    fn a_plain_request_is_read_as_it_was_sent() {
        let Request { uri, headers, body } = parse(GOOD).unwrap();
        assert_eq!((uri.path(), &body[..], headers.len()), ("/v1/t", &b"abc"[..], 3));
        assert_eq!(headers["host"], "x");
    }

    #[test]
    fn whatever_is_unusual_or_wrong_is_left_to_the_library() {
        assert!(parse(GOOD).is_some());
        for (from, to) in [
            ("POST", "GET"),
            ("POST", "post"),
            ("POST ", "POST  "),
            ("POST", "\r\nPOST"),
            ("1.1", "1.0"),
            ("/v1/t", "/v1/t#"),
            ("Host: x", "Host: x\r\nHost: x"),
            ("Host: x", "Host: x\r\nExpect: 100-continue"),
            ("Host: x", "Host: x\r\nUpgrade: h2c"),
            ("Host: x", "Host: x\r\nTransfer-Encoding: chunked"),
            ("Host: x\r\n", ""),
            ("keep-alive", "close"),
            ("keep-alive", "keep-alive, upgrade"),
            ("Content-Length", "Content-Length "),
            (": 3", ": 4"),
            (": 3", ": 2"),
            ("Content-Length: 3\r\n", ""),
        ] {
            let request = GOOD.replacen(from, to, 1);
            assert_ne!(request, GOOD);
            assert!(parse(&request).is_none(), "{request:?}");
        }
        for end in 0..GOOD.len() {
            assert!(parse(&GOOD[..end]).is_none(), "{end}");
        }
    }
}
