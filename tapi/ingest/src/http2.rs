//! HTTP/2, above TLS: one connection, many requests at a time. Each goes the same way as one of HTTP/1.
//!
//! What a client can make the server hold or do for nothing is bounded here, by name:
//!
//! | what it does | what bounds it |
//! |---|---|
//! | opens streams | [`STREAMS_MAX`]; further ones are refused, and come back |
//! | opens and resets streams (rapid reset) | [`PENDING_RESETS_MAX`], then the connection ends |
//! | makes the server reset streams by breaking the rules | [`LOCAL_RESETS_MAX`], then the connection ends |
//! | sends heads without an end (CONTINUATION) | [`HEADER_LIST_BYTES_MAX`], and so many frames as that takes; then the connection ends |
//! | sends bodies faster than they are read | [`CONNECTION_WINDOW_BYTES`] of all streams together |
//! | lets no answer out (a window of nothing) | [`SEND_BUFFER_BYTES_MAX`] a stream; the connection is idle meanwhile and ends as such |
//! | sends SETTINGS, PING, WINDOW_UPDATE | one answer to each is held, and nothing is read while it cannot be sent; they do not count as activity |
//! | sends a body slowly | the rate and the time that any body has, for each stream: 503 |

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::connection::{Closed, Entry, Order, Phase};
use crate::handle::{Context, handle};

/// Requests of one connection at a time: what clients assume before they are told, so that none is refused for it.
const STREAMS_MAX: u32 = 100;
/// Bytes of one body that may come before it is read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 128 * 1024;
/// Bytes of one frame: the least that the protocol allows.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of the headers of one request, uncompressed.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Bytes of an answer that wait for the client's window.
const SEND_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Streams that the client has reset before they were looked at.
const PENDING_RESETS_MAX: usize = 20;
/// Streams that the server had to reset because the client broke the rules.
const LOCAL_RESETS_MAX: usize = 64;

/// Runs the streams of a connection on its thread.
#[derive(Debug, Clone, Copy)]
struct OnThread;

impl<F: Future<Output = ()> + 'static> Executor<F> for OnThread {
    fn execute(&self, stream: F) {
        spawn_local(stream);
    }
}

fn http() -> Builder<OnThread> {
    let mut http = Builder::new(OnThread);
    http.max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .adaptive_window(false)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX);
    http
}

/// The requests of one connection that are not answered: while there are any it is at work, else it is idle.
struct Requests {
    count: Cell<usize>,
    entry: Rc<Entry>,
}

/// One of them. Its phases are its own: others of the connection are in other phases.
struct Begun {
    requests: Rc<Requests>,
    entry: Rc<Entry>,
    context: Rc<Context>,
}

impl Begun {
    fn new(requests: &Rc<Requests>, context: &Rc<Context>) -> Self {
        requests.count.set(requests.count.get() + 1);
        requests.entry.enter(Phase::Work);
        let entry = context.connections.open_stream(&requests.entry);
        Self { requests: Rc::clone(requests), entry, context: Rc::clone(context) }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.context.connections.close_stream(&self.entry);
        let Requests { count, entry } = &*self.requests;
        count.set(count.get() - 1);
        if count.get() == 0 {
            entry.enter(Phase::Idle);
        }
    }
}

/// Serves a connection to its end, and says why it ended.
pub(crate) async fn serve<T>(stream: T, context: &Rc<Context>, entry: &Rc<Entry>) -> Closed
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let requests = Rc::new(Requests { count: Cell::new(0), entry: Rc::clone(entry) });
    let service = service_fn(|request| answer(Begun::new(&requests, context), request));
    let mut connection = pin!(http().serve_connection(TokioIo::new(stream), service));
    let mut finishing = false;
    poll_fn(|task| {
        match entry.order(task) {
            Order::Close => return Poll::Ready(()),
            // The client is told, goes elsewhere with what it has not begun, and gets the answers to the rest.
            Order::Finish | Order::Pass if !finishing => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Finish | Order::Pass | Order::Serve => {}
        }
        // How a connection ends is the client's business.
        connection.as_mut().poll(task).map(drop)
    })
    .await;
    entry.closed()
}

async fn answer(begun: Begun, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    handle(Rc::clone(&begun.context), Rc::clone(&begun.entry), request).await
}
