//! The bytes of a connection, for `crate::fuzzing`: what the gate lets through, the library behind it reads as the same
//! messages. Where the two read differently, a request could be smuggled.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use super::entry::{Entry, Phase};
use super::gate::Gate;
use super::head::{Framing, Head, field};
use super::io::{Inlet, Io};
use super::stream::Accepted;
use crate::accept::{READ_BUFFER_BYTES_MAX, http};
use crate::pool::{InFlight, Pool};
use crate::reject::Reject;

/// How often the connection is asked: far more than it has to be.
const POLLS_MAX: usize = 100_000;

/// The first byte says in which pieces the others come.
pub fn gate(bytes: &[u8]) {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let (expected, refusal) = messages(bytes);
    for piece in [usize::from(choice).max(1), bytes.len().max(1)] {
        let (seen, refused) = served(bytes, piece);
        compare(&expected, &seen);
        // Behind a message that ends the connection nothing is read.
        let is_over = seen.last().is_some_and(Message::may_end_connection);
        assert!(seen.len() == expected.len() || is_over, "{} of {} messages", seen.len(), expected.len());
        assert!(refused == refusal || (is_over && refused.is_none()), "{refused:?} for {refusal:?}");
    }
}

/// One request.
#[derive(Debug, PartialEq)]
struct Message {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    /// `None` where it breaks off.
    body: Option<Vec<u8>>,
}

impl Message {
    fn may_end_connection(&self) -> bool {
        self.version == Version::HTTP_10 || self.headers.contains_key(CONNECTION) || self.body.is_none()
    }
}

fn compare(expected: &[Message], seen: &[Message]) {
    assert!(seen.len() <= expected.len(), "a message that the gate does not know: {:?}", seen.last());
    for (expected, seen) in expected.iter().zip(seen) {
        assert_eq!(seen, expected);
    }
}

/// The messages as they stand there, each judged as the gate does it, and read in the plainest way.
fn messages(bytes: &[u8]) -> (Vec<Message>, Option<Reject>) {
    let (mut messages, mut rest) = (Vec::new(), bytes);
    loop {
        // One empty line may stand before a head.
        let head = rest.strip_prefix(b"\r\n");
        let may_begin_a_line = head.is_none() && rest == b"\r";
        rest = head.unwrap_or(rest);
        let (framing, length) = match Head::default().read(rest) {
            _ if may_begin_a_line => return (messages, None),
            Ok(None) => return (messages, None),
            Ok(Some(ended)) => ended,
            Err(reject) => return (messages, Some(reject)),
        };
        let (head, behind) = rest.split_at(length);
        let (body, taken) = match framing {
            Framing::Length(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                (behind.get(..length).map(<[u8]>::to_vec), length)
            }
            Framing::Chunked => match Chunks::new().read(behind) {
                Ok((taken, true)) => (Some(unchunked(&behind[..taken])), taken),
                Ok((_, false)) | Err(_) => (None, 0),
            },
        };
        let is_whole = body.is_some();
        messages.push(message(head, body));
        if !is_whole {
            return (messages, None);
        }
        rest = &behind[taken..];
    }
}

fn message(head: &[u8], body: Option<Vec<u8>>) -> Message {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut start = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let mut word = || start.next().unwrap_or_default();
    let (method, uri, version) = (word(), word(), word());
    let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = field(line).expect("the gate took it");
        (HeaderName::from_bytes(name).expect("a name"), value.try_into().expect("a value"))
    });
    Message {
        method: Method::from_bytes(method).expect("a method"),
        uri: Uri::try_from(uri).expect("a target"),
        version: if version == b"HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 },
        headers: fields.collect(),
        body,
    }
}

/// A whole body without its chunks.
fn unchunked(bytes: &[u8]) -> Vec<u8> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line");
        let digits = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default();
        let size = usize::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("a number");
        if size == 0 {
            return body;
        }
        let (data, behind) = rest[end + 2..].split_at(size);
        body.extend_from_slice(data);
        rest = behind.strip_prefix(b"\r\n").expect("the end of a chunk");
    }
}

/// The messages that the library sees where the bytes come in such pieces, and what it is told of the one that is refused.
fn served(bytes: &[u8], piece: usize) -> (Vec<Message>, Option<Reject>) {
    let entry = Rc::new(Entry::new([127, 0, 0, 1].into(), Rc::default(), false));
    let gate = Gate::new(Rc::new(Pool::new(Arc::new(InFlight::new(64 << 20)))), 0);
    let accepted = Accepted { stream: Client { bytes, piece }, read: Bytes::new() };
    let io = Io::new(accepted, gate, Rc::new(Inlet::new(READ_BUFFER_BYTES_MAX)), Rc::clone(&entry));
    let (seen, refused) = (RefCell::new(Vec::new()), Cell::new(None));
    let service = service_fn(async |request: Request<Incoming>| {
        let refusal = entry.begin_request();
        let (head, body) = request.into_parts();
        let body = body.collect().await.ok().map(|body| body.to_bytes().to_vec());
        entry.enter(Phase::Work);
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        if refusal.is_some() || body.is_none() {
            response.headers_mut().insert(CONNECTION, "close".parse().expect("a value"));
        }
        entry.answered();
        if refusal.is_some() {
            assert_eq!((head.uri.path(), refused.replace(refusal)), ("/", None), "one is refused, the last");
        } else {
            assert_eq!(refused.get(), None, "nothing comes behind a refused head");
            let hyper::http::request::Parts { method, uri, version, headers, .. } = head;
            seen.borrow_mut().push(Message { method, uri, version, headers, body });
        }
        Ok::<_, Infallible>(response)
    });
    let mut connection = pin!(http().serve_connection(io, service));
    let mut task = Context::from_waker(Waker::noop());
    let outcome = (0..POLLS_MAX).find_map(|_| match connection.as_mut().poll(&mut task) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    });
    match outcome {
        None => panic!("it does not end"),
        Some(Err(error)) => assert!(!error.is_parse(), "the library does not understand it: {error}"),
        Some(Ok(())) => {}
    }
    (seen.take(), refused.get())
}

/// A client that sends some bytes, in pieces, closes its side, and takes any answer.
struct Client<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.piece.min(buffer.remaining()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        buffer.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
