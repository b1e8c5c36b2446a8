//! One request from its head to its answer: the control flow; everything it decides with is elsewhere.

use std::cell::RefCell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, EXPECT, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri};

use crate::admit::{Admitted, Entrant, admit_events, admit_head};
use crate::auth::HeadKeys;
use crate::body::{self, Source};
use crate::coding::{self, Coding, Declared};
use crate::commits::{Appended, Commits, clock_us};
use crate::connection::{Connections, Entry, Inlet, Phase, Plain};
use crate::events::{Accepted, Scratch, ingest, ingest_framed, refuse};
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
    pub(crate) plain: Plain,
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

    /// Makes them anew, but for the count of readings: no reading is taken for another.
    fn renew(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        keys.forget();
        *self = Self { keys, ..Self::new() };
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
    let (parts, incoming) = request.into_parts();
    let Parts { method, uri, headers, .. } = parts;
    let body = Source::new(incoming, entry.as_stream());
    let answer = handle_parts(context, entry, &method, uri, headers, body);
    async move { Ok(answer.await) }
}

/// The same where it is in parts.
pub(crate) fn handle_parts(
    context: Rc<Context>,
    entry: Rc<Entry>,
    method: &Method,
    uri: Uri,
    headers: HeaderMap,
    body: Source,
) -> impl Future<Output = Response<Full<Bytes>>> + use<> {
    let refusal = entry.begin_request();
    let refused = refusal.map(|reject| Route::Refused(reject, Methods::Post));
    let route = refused.unwrap_or_else(|| route(method, uri.path()));
    let head = Head { uri, headers, is_safe: *method == Method::HEAD };
    // What stands in place of a head that could not be read is the last request of its connection.
    let is_last = refusal.is_some();
    async move { answer(&context, &entry, route, head, body, is_last).await }
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
            let answer =
                settings::answer(&context.live.borrow(), &mut context.tools.borrow_mut(), &head, entry.client.get());
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
    let encodings = head.headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let declared = coding::declared(encodings).map_err(Answer::refused)?;
    let entrant = admit_head(context, entry.client.get(), head)?;
    entry.charge_to(entrant.slot);
    let relieve = |reject| context.connections.relieve(entry, reject);
    let bytes = body.read(&context.pool, entrant.slot, relieve).await;
    let mut bytes = bytes.map_err(|reject| Answer::refused(entry.body_cut().unwrap_or(reject)))?;
    entry.enter(Phase::Work);
    let body = Body::Sent(&mut bytes, declared);
    let mut whole = Whole { head, body, ingest, received_us: clock_us() };
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
    let entrant = admit_head(context, entry.client.get(), head)?;
    let body = Body::Query(head.uri.query().unwrap_or(""));
    let mut whole = Whole { head, body, ingest, received_us: clock_us() };
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
    /// What the client sent, and what it says of its coding.
    Sent(&'a mut body::Body, Declared),
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
        &mut self,
        context: &'a Context,
        entry: &Entry,
        entrant: &Entrant<'_>,
    ) -> Result<Option<Entered<'a>>, Answer> {
        contained(
            || self.append(context, entry, entrant),
            || {
                // What the panic left in the reusable buffers is anybody's guess.
                context.tools.borrow_mut().renew();
            },
        )
    }

    /// From the body to the buffer without a pause; `None` where there was nothing to store.
    fn append<'a>(
        &mut self,
        context: &'a Context,
        entry: &Entry,
        entrant: &Entrant<'_>,
    ) -> Result<Option<Entered<'a>>, Answer> {
        let mut tools = context.tools.borrow_mut();
        let Tools { scratch, inflater, keys, pixel, .. } = &mut *tools;
        let Head { uri, headers, .. } = self.head;
        let live = context.live.borrow();
        if let Body::Sent(body, _) = &self.body {
            context.metrics.body(body.as_slice().len());
        }
        // Other requests may have come since the head was read.
        if !keys.are_of(entrant.keys) {
            keys.read(headers, uri.query(), &live.sources);
        }
        let client_ip = live.proxies.client_ip(entry.client.get(), headers);
        let request = request::Request {
            endpoint: self.ingest.endpoint,
            received_at_ms: self.received_us / 1000,
            write_key: keys.first(),
            last_write_key: keys.last(),
            client_ip: client_ip.map(if self.ingest.client_side { ClientIp::All } else { ClientIp::Direct }),
        };
        scratch.unreadable = live.unreadable;
        let sources = &live.sources;
        let taken = match &mut self.body {
            Body::Sent(body, declared) => match declared.of(body.as_slice()) {
                Coding::Gzip => match inflater.gunzip(body.as_slice()).map(drop) {
                    Ok(()) => ingest_framed(inflater.framed(), &request, sources, scratch),
                    Err(reject) => Err(refuse(reject, body.as_slice(), &request, sources, scratch)),
                },
                Coding::Plain => {
                    if let Some(framed) = body.framed() {
                        ingest_framed(framed, &request, sources, scratch)
                    } else {
                        ingest(body.as_slice(), &request, sources, scratch)
                    }
                }
            },
            Body::Query(query) => match pixel.body(query) {
                Ok(body) => ingest(body, &request, sources, scratch),
                Err(reject) => Err(refuse(reject, query.as_bytes(), &request, sources, scratch)),
            },
        };
        match taken {
            Ok(accepted) => {
                let entered = self.enter(context, entrant, &live, scratch, accepted)?;
                context.metrics.events(accepted.events, scratch.event_rejects());
                context.metrics.unreadable_times(scratch.unreadable_times(), &live.sources);
                Ok(entered)
            }
            Err(reject) => {
                // A body that is refused is kept where there is room, and its answer promises nothing of that. It is
                // no event, so it costs its source none.
                let kept = self.enter(context, entrant, &live, scratch, Accepted { events: 0, rejected: 0 });
                if matches!(kept, Ok(Some(Entered { appended: Appended::Pending(_), .. }))) {
                    context.metrics.events(0, scratch.event_rejects());
                }
                Err(Answer::refused(reject))
            }
        }
    }

    /// Puts the records at hand into the buffer; `None` where there are none.
    fn enter<'a>(
        &self,
        context: &'a Context,
        entrant: &Entrant<'_>,
        live: &Live,
        scratch: &Scratch,
        accepted: Accepted,
    ) -> Result<Option<Entered<'a>>, Answer> {
        let admitted = admit_events(context, entrant, live, scratch, accepted, &self.head.headers, self.received_us)?;
        let Some(Admitted { slot, allowance, records }) = admitted else { return Ok(None) };
        let room = || context.pool.reservation(Some(slot));
        let appended = context.commits.append(scratch.records(), room).map_err(Answer::refused)?;
        Ok(Some(Entered { appended, received_us: self.received_us, allowance, records }))
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
}
