//! One connection: what it may send, its phases and deadlines, and its end.
//!
//! | file | |
//! |---|---|
//! | `head`, `chunks` | what is let through: one head, one body in chunks |
//! | `gate` | where each message of the stream begins and ends, and what takes the place of a refused one |
//! | `stream` | what it is served on: the socket, or TLS above it |
//! | `io` | the same with the gate before it |
//! | `plain` | requests that need neither gate nor library |
//! | `outlet` | answers to them, as bytes |
//! | `entry` | what the thread knows of a connection |
//! | `list` | the place of each among all |
//! | `registry` | all of them: deadlines, those that make room for others, the stop |
//! | `closed` | why connections end |

mod chunks;
mod closed;
mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod head;
mod io;
mod list;
mod outlet;
mod plain;
mod registry;
mod stream;

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::HttpService;

pub(crate) use closed::Closed;
pub(crate) use entry::{Entry, Order, Phase};
pub(crate) use io::Inlet;
pub(crate) use plain::Plain;
pub(crate) use registry::Connections;
pub(crate) use stream::Accepted;

use gate::Gate;
use io::Io;
use plain::Left;
use stream::Stream;

use crate::handle::Context;

/// Serves a connection to its end, or until it is passed on, and says why it ended.
///
/// It begins without the library, and goes over to it with the first request that is not plain.
pub(crate) async fn serve<T: Stream, S>(
    http: &http1::Builder,
    mut accepted: Accepted<T>,
    service: S,
    context: &Rc<Context>,
    entry: &Rc<Entry>,
) -> Closed
where
    S: HttpService<
            hyper::body::Incoming,
            ResBody: hyper::body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
        >,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match plain::serve(&mut accepted, context, entry).await {
        Left::Other(read) => accepted.read = read,
        Left::Ended => return entry.closed(),
        Left::Passed => {
            keep(accepted.stream, Bytes::new(), context, entry);
            return entry.closed();
        }
    }
    let gate = Gate::new(Rc::clone(&context.pool), entry.requests());
    let io = Io::new(accepted, gate, Rc::clone(&context.inlet), Rc::clone(entry));
    let mut connection = http.serve_connection(io, service);
    let mut finishing = false;
    let is_passed = poll_fn(|task| {
        let order = match entry.order(task) {
            Order::Pass if !T::PASSES => Order::Finish,
            order => order,
        };
        match order {
            Order::Close => return Poll::Ready(false),
            Order::Pass if entry.waits() => return Poll::Ready(true),
            // An answer that is being written does not say that the connection ends, so it does not.
            Order::Pass if !finishing && matches!(entry.phase.get(), Phase::Body | Phase::Work) => {
                finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            // A client that has just connected is about to send: it gets its answer first.
            Order::Finish if !finishing && entry.phase.get() != Phase::Fresh => {
                finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Order::Pass | Order::Finish | Order::Serve => {}
        }
        match Pin::new(&mut connection).poll(task) {
            Poll::Ready(outcome) => {
                // Nothing that the gate lets through should come to this; it would be answered without a word.
                if outcome.is_err_and(|error| error.is_parse()) {
                    entry.close_for(Closed::Protocol);
                }
                Poll::Ready(false)
            }
            Poll::Pending if !finishing && order == Order::Pass && entry.waits() => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if is_passed {
        let parts = connection.into_parts();
        let (stream, unread) = parts.io.into_parts();
        keep(stream, [&parts.read_buf[..], &unread].concat().into(), context, entry);
    }
    entry.closed()
}

/// Keeps a connection for the next process.
fn keep<T: Stream>(stream: T, unread: Bytes, context: &Context, entry: &Entry) {
    if let Some(stream) = stream.into_tcp() {
        entry.close_for(Closed::Passed);
        context.connections.keep(stream, entry, unread);
    }
}
