//! One request from its head to its answer: the control flow; everything it decides with is elsewhere.

use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, Uri};
use wire::envelope::Envelope;

use crate::auth;
use crate::body::{Pool, Source};
use crate::commits::{Appended, Commits, clock_us};
use crate::connection::{Connections, Entry, Phase};
use crate::events::{Scratch, ingest};
use crate::inflate::Inflater;
use crate::live::Live;
use crate::metrics::ThreadMetrics;
use crate::reject::Reject;
use crate::request::{self, ClientIp, Endpoint};
use crate::respond::{Answer, Headers};
use crate::route::{Route, route};

/// What the requests of one thread share. They never run at the same time, and nothing of it is borrowed while one
/// waits.
pub(crate) struct Context {
    pub(crate) live: RefCell<Arc<Live>>,
    pub(crate) commits: Commits,
    pub(crate) pool: Rc<Pool>,
    pub(crate) connections: Connections,
    pub(crate) metrics: Arc<ThreadMetrics>,
    pub(crate) tools: RefCell<Tools>,
    /// The time of a request that the phases of its connection do not bound: its body and the disk.
    pub(crate) request_timeout: Duration,
}

/// The reusable buffers between a body and the local buffer.
pub(crate) struct Tools {
    scratch: Scratch,
    inflater: Inflater,
    write_key: Vec<u8>,
}

impl Tools {
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new(), inflater: Inflater::new(), write_key: Vec::new() }
    }
}

/// What is known of a request before it can be answered.
enum Outcome {
    /// Its records are in the buffer since (microseconds since the Unix epoch), perhaps not yet durable.
    Taken(local_buffer::Pending, i64),
    Known(Answer),
}

/// Answers a request. The future is moved before it runs, so what it will not need is let go of before it is made.
pub(crate) fn handle(
    context: Rc<Context>,
    entry: Rc<Entry>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> {
    entry.enter(Phase::Body);
    let (parts, incoming) = request.into_parts();
    let Parts { method, uri, headers, .. } = parts;
    let route = route(&method, uri.path());
    let head = Head { uri, headers };
    let body = Source::new(incoming);
    async move { Ok(answer(&context, &entry, route, head, body).await) }
}

/// What is needed of the head of a request.
struct Head {
    uri: Uri,
    headers: HeaderMap,
}

async fn answer(context: &Context, entry: &Entry, route: Route, head: Head, mut body: Source) -> Response<Full<Bytes>> {
    let outcome = match route {
        Route::Ingest { endpoint, client_side } => {
            let taken = take(context, entry, &head, &mut body, endpoint, client_side).await;
            taken.unwrap_or_else(Outcome::Known)
        }
        Route::Telemetry => Outcome::Known(Answer::NothingToStore),
        Route::Preflight => Outcome::Known(Answer::Preflight),
        Route::Refused(reject) => Outcome::Known(Answer::refused(reject)),
    };
    // A client that waits for a 100 has not begun to send its body, and need not.
    if !body.ended() && !head.headers.contains_key(EXPECT) {
        body.discard().await;
    }
    entry.enter(Phase::Work);
    let close = !body.ended();
    if close {
        entry.linger();
    }
    let headers = Headers::new(head.headers, route == Route::Preflight);
    // From here on nothing holds the bytes of the request.
    drop((body, head.uri));
    let answer = match outcome {
        Outcome::Taken(pending, received_us) => match context.commits.durable(pending).await {
            Ok(proof) => {
                context.metrics.stored(context.commits.durable_us() - received_us);
                Answer::Stored(proof)
            }
            Err(reject) => Answer::refused(reject),
        },
        Outcome::Known(answer) => answer,
    };
    context.metrics.answered(route.label(), &answer);
    entry.enter(Phase::Idle);
    headers.respond(&answer, close)
}

/// Reads the body and puts its records into the buffer.
async fn take(
    context: &Context,
    entry: &Entry,
    head: &Head,
    body: &mut Source,
    endpoint: Endpoint,
    client_side: bool,
) -> Result<Outcome, Answer> {
    let gzip = is_gzip(&head.headers).map_err(Answer::refused)?;
    let bytes = body.read(&context.pool).await.map_err(Answer::refused)?;
    entry.enter(Phase::Work);
    let received_us = clock_us();
    let plain = Plain { head, bytes: bytes.as_slice(), gzip, endpoint, client_side, received_us };
    let appended = contained(
        || plain.append(context, entry),
        || {
            // What the panic left in the reusable buffers is anybody's guess.
            context.tools.replace(Tools::new());
        },
    );
    drop(bytes);
    let pending = match appended? {
        Some(Appended::Pending(pending)) => pending,
        Some(Appended::Parked(parked)) => {
            // Rare and large, so it does not make every request's future larger.
            let append = Box::pin(context.commits.append_parked(parked));
            append.await.map_err(Answer::refused)?
        }
        None => return Ok(Outcome::Known(Answer::NothingToStore)),
    };
    Ok(Outcome::Taken(pending, received_us))
}

/// A panic costs the request that made it, not the thread.
fn contained<T>(work: impl FnOnce() -> Result<T, Answer>, repair: impl FnOnce()) -> Result<T, Answer> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        repair();
        tracing::error!("a request made the server panic; it was refused and the server goes on");
        Err(Answer::refused(Reject::Internal))
    })
}

/// A request whose bytes are all there.
struct Plain<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    gzip: bool,
    endpoint: Endpoint,
    client_side: bool,
    received_us: i64,
}

impl Plain<'_> {
    /// From the body to the buffer without a pause; `None` where there was nothing to store.
    fn append(&self, context: &Context, entry: &Entry) -> Result<Option<Appended>, Answer> {
        let mut tools = context.tools.borrow_mut();
        let Tools { scratch, inflater, write_key } = &mut *tools;
        let headers = &self.head.headers;
        let live = context.live.borrow();
        context.metrics.body(self.bytes.len());
        let authorization = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let has_key = auth::write_key(authorization, self.head.uri.query(), write_key);
        let body = if self.gzip { inflater.gunzip(self.bytes).map_err(Answer::refused)? } else { self.bytes };
        let client_ip = live.proxies.client_ip(entry.client.get(), headers);
        let request = request::Request {
            endpoint: self.endpoint,
            received_at_ms: self.received_us / 1000,
            write_key: has_key.then_some(&write_key[..]),
            client_ip: Some(if self.client_side { ClientIp::All(client_ip) } else { ClientIp::Direct(client_ip) }),
        };
        let accepted = ingest(body, &request, &live.sources, scratch).map_err(Answer::refused)?;
        let Some(first) = scratch.records().next() else { return Ok(None) };
        if let Some(limiter) = &live.limiter {
            let source = Envelope::decode(first).map_err(|_| Answer::refused(Reject::Internal))?.source();
            let admitted = limiter.admit(source.as_bytes(), self.received_us);
            admitted.map_err(|retry_after_s| Answer::Refused { reject: Reject::RateLimited, retry_after_s })?;
        }
        let room = || context.pool.reservation();
        let appended = context.commits.append(scratch.records(), room).map_err(Answer::refused)?;
        context.metrics.events(accepted.events, scratch.event_rejects());
        Ok(Some(appended))
    }
}

/// Whether the body is gzip; nothing else is undone. Several encodings on top of each other are nobody's practice.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Reject> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(false) };
    let encoding = encoding.as_bytes().trim_ascii();
    if encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip") {
        Ok(true)
    } else if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
        Ok(false)
    } else {
        Err(Reject::UnsupportedEncoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer_and_leaves_nothing_borrowed() {
        let tools = RefCell::new(1);
        let work = || {
            let _borrowed = tools.borrow_mut();
            panic!("asked for by the test")
        };
        let answer = contained::<()>(work, || *tools.borrow_mut() = 2).unwrap_err();
        assert!(matches!(answer, Answer::Refused { reject: Reject::Internal, .. }));
        assert_eq!((answer.status().as_u16(), tools.into_inner()), (503, 2));
    }

    #[test]
    fn encodings_are_read_as_clients_write_them() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, value.parse().unwrap());
            is_gzip(&headers)
        };
        assert_eq!(is_gzip(&HeaderMap::new()), Ok(false));
        assert_eq!([of("gzip"), of(" GZip "), of("x-gzip")], [Ok(true); 3]);
        assert_eq!([of("identity"), of("")], [Ok(false); 2]);
        assert_eq!([of("br"), of("deflate"), of("gzip, gzip")], [Err(Reject::UnsupportedEncoding); 3]);
    }
}
