//! One connection: what it may send, its phases and deadlines, and its end.
//!
//! | file | |
//! |---|---|
//! | `head`, `chunks` | what is let through: one head, one body in chunks |
//! | `gate` | where each message of the stream begins and ends, and what takes the place of a refused one |
//! | `io` | the socket, with the gate before it |
//! | `entry` | what the thread knows of a connection |
//! | `registry` | all of them: deadlines, those that make room for others, the stop |
//! | `closed` | why connections end |

mod chunks;
mod closed;
mod entry;
mod gate;
mod head;
mod io;
mod registry;

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::HttpService;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use closed::Closed;
pub(crate) use entry::{Entry, Phase};
pub(crate) use io::Inlet;
pub(crate) use registry::Connections;

use entry::Order;
use gate::Gate;
use io::Io;

use crate::pool::Pool;

/// Serves a connection to its end, and says why it ended.
pub(crate) async fn serve<T, S>(
    http: &http1::Builder,
    stream: T,
    service: S,
    entry: &Rc<Entry>,
    pool: &Rc<Pool>,
    inlet: &Rc<Inlet>,
) -> Closed
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<
            hyper::body::Incoming,
            ResBody: hyper::body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
        >,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = Io::new(stream, Gate::new(Rc::clone(pool)), Rc::clone(inlet), Rc::clone(entry));
    let mut connection = pin!(http.serve_connection(io, service));
    let mut finishing = false;
    poll_fn(|context| {
        if entry.waker.borrow().is_none() {
            // The connection is all of its task, so the waker stays the same.
            entry.waker.replace(Some(context.waker().clone()));
        }
        match entry.order.get() {
            Order::Close => return Poll::Ready(()),
            // A client that has just connected is about to send: it gets its answer first.
            Order::Finish if !finishing && entry.phase.get() != Phase::Fresh => {
                finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Order::Finish | Order::Serve => {}
        }
        connection.as_mut().poll(context).map(|outcome| {
            // Nothing that the gate lets through should come to this; it would be answered without a word.
            if outcome.is_err_and(|error| error.is_parse()) {
                entry.close_for(Closed::Protocol);
            }
        })
    })
    .await;
    entry.closed.get()
}
