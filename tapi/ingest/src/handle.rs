//! One request from its head to its answer: the control flow; everything it decides with is elsewhere.

use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri};

use crate::admit::{Admitted, Entrant, admit_events, admit_head};
use crate::auth::HeadKeys;
use crate::body::Source;
use crate::commits::{Appended, Commits, clock_us};
use crate::connection::{Connections, Entry, Inlet, Phase};
use crate::events::{Scratch, ingest};
use crate::inflate::Inflater;
use crate::limit::Allowance;
use crate::live::Live;
use crate::metrics::ThreadMetrics;
use crate::pixel::Pixel;
use crate::pool::Pool;
use crate::reject::Reject;
use crate::request::{self, ClientIp, Endpoint};
use crate::respond::{Answer, Headers};
use crate::route::{Ingest, Methods, Route, route};
use crate::settings;
use crate::share::{Held, Shared, Slots};
use crate::texts::Texts;

/// What the requests of one thread share. They never run at the same time, and nothing of it is borrowed while one
/// waits.
pub(crate) struct Context {
    pub(crate) live: RefCell<Arc<Live>>,
    pub(crate) commits: Commits,
    pub(crate) pool: Rc<Pool>,
    pub(crate) inlet: Rc<Inlet>,
    pub(crate) connections: Connections,
    pub(crate) metrics: Arc<ThreadMetrics>,
    pub(crate) tools: RefCell<Tools>,
    /// Tells sources apart where they share what follows, and the memory of bodies.
    pub(crate) slots: Slots,
    /// Requests that are not answered yet.
    pub(crate) requests: Shared,
    /// Bytes of records that are not durable yet.
    pub(crate) records: Shared,
}

/// The reusable buffers between a body and the local buffer.
pub(crate) struct Tools {
    pub(crate) scratch: Scratch,
    pub(crate) inflater: Inflater,
    pub(crate) keys: HeadKeys,
    pub(crate) pixel: Pixel,
    pub(crate) key_text: Vec<u8>,
    pub(crate) text: Vec<u8>,
    pub(crate) texts: Texts,
}

impl Tools {
    pub(crate) fn new() -> Self {
        Self {
            scratch: Scratch::new(),
            inflater: Inflater::new(),
            keys: HeadKeys::default(),
            pixel: Pixel::default(),
            key_text: Vec::new(),
            text: Vec::new(),
            texts: Texts::new(),
        }
    }
}

/// What is known of a request before it can be answered.
enum Outcome<'a> {
    /// Its records are in the buffer, perhaps not yet durable.
    Taken(Taken<'a>),
    Known(Answer),
}

/// A request whose records are in the buffer.
struct Taken<'a> {
    pending: local_buffer::Pending,
    /// Microseconds since the Unix epoch.
    received_us: i64,
    allowance: Option<Allowance>,
    /// Its parts of what all share, until it is answered.
    _held: [Held<'a>; 2],
}

/// Answers a request. The future is moved before it runs, so what it will not need is let go of before it is made.
pub(crate) fn handle(
    context: Rc<Context>,
    entry: Rc<Entry>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> {
    let refusal = entry.begin_request();
    let (parts, incoming) = request.into_parts();
    let Parts { method, uri, headers, .. } = parts;
    let refused = refusal.map(|reject| Route::Refused(reject, Methods::Post));
    let route = refused.unwrap_or_else(|| route(&method, uri.path()));
    let head = Head { uri, headers, is_safe: method == Method::HEAD };
    let body = Source::new(incoming);
    // What stands in place of a head that could not be read is the last request of its connection.
    let is_last = refusal.is_some();
    async move { Ok(answer(&context, &entry, route, head, body, is_last).await) }
}

/// What is needed of the head of a request.
pub(crate) struct Head {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// Whether it only asks what the answer would be like.
    is_safe: bool,
}

async fn answer(
    context: &Context,
    entry: &Entry,
    route: Route,
    head: Head,
    mut body: Source,
    is_last: bool,
) -> Response<Full<Bytes>> {
    let outcome = match route {
        Route::Ingest(ingest) => take(context, entry, &head, &mut body, ingest).await.unwrap_or_else(Outcome::Known),
        Route::Pixel(_) if head.is_safe => Outcome::Known(Answer::Picture(None)),
        Route::Pixel(kind) => {
            let ingest = Ingest { endpoint: Endpoint::Single(kind), client_side: true };
            take_query(context, entry, &head, ingest).await.unwrap_or_else(Outcome::Known)
        }
        Route::Settings | Route::SourceConfig => {
            let answer = settings::answer(&context.live.borrow(), &mut context.tools.borrow_mut(), &head, entry.peer);
            Outcome::Known(answer.unwrap_or_else(|refused| refused))
        }
        Route::Health => Outcome::Known(Answer::Up),
        Route::Telemetry => Outcome::Known(Answer::NothingToStore),
        Route::Preflight => Outcome::Known(Answer::Preflight),
        Route::Refused(reject, methods) => Outcome::Known(Answer::Refused { reject, retry_after_s: 1, methods }),
    };
    // A client that waits for a 100 has not begun to send its body, and need not.
    if !body.ended() && !head.headers.contains_key(EXPECT) {
        body.discard().await;
    }
    entry.enter(Phase::Work);
    let mut close = is_last || !body.ended();
    if close {
        entry.linger();
    }
    let mut headers = Headers::new(head.headers, route == Route::Preflight);
    // From here on nothing holds the bytes of the request.
    drop((body, head.uri));
    let (answer, allowance) = match outcome {
        Outcome::Taken(taken) => match context.commits.durable(taken.pending).await {
            Ok(proof) => {
                context.metrics.stored(context.commits.durable_us() - taken.received_us);
                (Answer::Stored(proof), taken.allowance)
            }
            Err(reject) => (Answer::refused(reject), None),
        },
        Outcome::Known(Answer::Limited(spent)) => (Answer::Limited(spent), Some(spent)),
        Outcome::Known(answer) => (answer, None),
    };
    // Others may need the connection.
    close |= answer.reject() == Some(Reject::SourceOverloaded);
    let answer = if let Route::Pixel(_) = route { Answer::Picture(answer.reject()) } else { answer };
    if let Some(allowance) = allowance {
        headers.allow(&allowance, &mut context.tools.borrow_mut().texts);
    }
    context.metrics.answered(route.label(), &answer);
    entry.answered();
    headers.respond(&answer, close)
}

/// Reads the body and puts its records into the buffer.
async fn take<'a>(
    context: &'a Context,
    entry: &Entry,
    head: &Head,
    body: &mut Source,
    ingest: Ingest,
) -> Result<Outcome<'a>, Answer> {
    let gzip = is_gzip(&head.headers).map_err(Answer::refused)?;
    let entrant = admit_head(context, entry.peer, head)?;
    entry.charge_to(entrant.slot);
    let relieve = |reject| context.connections.relieve(entry, reject);
    let bytes = body.read(&context.pool, entrant.slot, relieve).await;
    let bytes = bytes.map_err(|reject| Answer::refused(entry.body_cut().unwrap_or(reject)))?;
    entry.enter(Phase::Work);
    let body = if gzip { Body::Gzip(bytes.as_slice()) } else { Body::Plain(bytes.as_slice()) };
    let whole = Whole { head, body, ingest, received_us: clock_us() };
    let appended = whole.append_contained(context, entry, &entrant);
    drop(bytes);
    wait_for_room(context, entrant, appended?).await
}

/// Puts the event of a query into the buffer.
async fn take_query<'a>(
    context: &'a Context,
    entry: &Entry,
    head: &Head,
    ingest: Ingest,
) -> Result<Outcome<'a>, Answer> {
    let entrant = admit_head(context, entry.peer, head)?;
    let body = Body::Query(head.uri.query().unwrap_or(""));
    let whole = Whole { head, body, ingest, received_us: clock_us() };
    let appended = whole.append_contained(context, entry, &entrant);
    wait_for_room(context, entrant, appended?).await
}

async fn wait_for_room<'a>(
    context: &'a Context,
    entrant: Entrant<'a>,
    appended: Option<Entered<'a>>,
) -> Result<Outcome<'a>, Answer> {
    let Some(Entered { appended, received_us, allowance, records }) = appended else {
        return Ok(Outcome::Known(Answer::NothingToStore));
    };
    let pending = match appended {
        Appended::Pending(pending) => pending,
        Appended::Parked(parked) => {
            // Rare and large, so it does not make every request's future larger.
            let append = Box::pin(context.commits.append_parked(parked));
            append.await.map_err(Answer::refused)?
        }
    };
    Ok(Outcome::Taken(Taken { pending, received_us, allowance, _held: [entrant.request, records] }))
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
struct Whole<'a> {
    head: &'a Head,
    body: Body<'a>,
    ingest: Ingest,
    received_us: i64,
}

/// Where the events are.
enum Body<'a> {
    Plain(&'a [u8]),
    Gzip(&'a [u8]),
    Query(&'a str),
}

/// What has been put into the buffer, or waits for room there.
struct Entered<'a> {
    appended: Appended,
    received_us: i64,
    allowance: Option<Allowance>,
    records: Held<'a>,
}

impl Whole<'_> {
    fn append_contained<'a>(
        &self,
        context: &'a Context,
        entry: &Entry,
        entrant: &Entrant<'_>,
    ) -> Result<Option<Entered<'a>>, Answer> {
        contained(
            || self.append(context, entry, entrant),
            || {
                // What the panic left in the reusable buffers is anybody's guess.
                context.tools.replace(Tools::new());
            },
        )
    }

    /// From the body to the buffer without a pause; `None` where there was nothing to store.
    fn append<'a>(
        &self,
        context: &'a Context,
        entry: &Entry,
        entrant: &Entrant<'_>,
    ) -> Result<Option<Entered<'a>>, Answer> {
        let mut tools = context.tools.borrow_mut();
        let Tools { scratch, inflater, keys, pixel, .. } = &mut *tools;
        let Head { uri, headers, .. } = self.head;
        let live = context.live.borrow();
        let (body, sent) = match self.body {
            Body::Plain(bytes) => (Ok(bytes), bytes.len()),
            Body::Gzip(bytes) => (inflater.gunzip(bytes), bytes.len()),
            Body::Query(query) => (pixel.body(query), 0),
        };
        context.metrics.body(sent);
        // Other requests have come since the head was read.
        keys.read(headers, uri.query(), &live.sources);
        let client_ip = live.proxies.client_ip(entry.peer, headers);
        let request = request::Request {
            endpoint: self.ingest.endpoint,
            received_at_ms: self.received_us / 1000,
            write_key: keys.first(),
            last_write_key: keys.last(),
            client_ip: client_ip.map(if self.ingest.client_side { ClientIp::All } else { ClientIp::Direct }),
        };
        let accepted = body.and_then(|body| ingest(body, &request, &live.sources, scratch)).map_err(Answer::refused)?;
        let Some(admitted) = admit_events(context, entrant, &live, scratch, accepted, headers, self.received_us)?
        else {
            return Ok(None);
        };
        let Admitted { slot, allowance, records } = admitted;
        let room = || context.pool.reservation(Some(slot));
        let appended = context.commits.append(scratch.records(), room).map_err(Answer::refused)?;
        context.metrics.events(accepted.events, scratch.event_rejects());
        Ok(Some(Entered { appended, received_us: self.received_us, allowance, records }))
    }
}

/// Whether the body is gzip; nothing else is undone. Several encodings on top of each other are nobody's practice.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Reject> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Ok(false) };
    if encodings.next().is_some() {
        return Err(Reject::UnsupportedEncoding);
    }
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
        let mut twice = HeaderMap::new();
        for value in ["gzip", "identity"] {
            twice.append(CONTENT_ENCODING, value.parse().unwrap());
        }
        assert_eq!(is_gzip(&twice), Err(Reject::UnsupportedEncoding));
        assert_eq!([of("br"), of("deflate"), of("gzip, gzip")], [Err(Reject::UnsupportedEncoding); 3]);
    }
}
