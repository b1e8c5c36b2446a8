//! The accept loop of one thread, and what runs beside it.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use service::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use crate::addresses::{Addresses, Place};
use crate::config::Limits;
use crate::connection::{self, Closed};
use crate::handle::{Context, handle};
use crate::live::Live;

/// Bytes that a connection is read by, and of a body that is read in one piece. A connection's buffer has 8 KiB and grows
/// to this only if its client sends so much at once; a body that is larger lies in the pool, which has a bound.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Failures between two lines of the log about them.
const FAILURES_PER_LOG: u64 = 100;

/// Accepts and serves until `stop` is given and what was begun is finished. It runs in the thread's local set.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    context: Rc<Context>,
    limits: &Limits,
    connections_max: usize,
    addresses: &Arc<Addresses>,
    mut live: watch::Receiver<Arc<Live>>,
    stop: &Shutdown,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let background = [
        spawn_local({
            let context = Rc::clone(&context);
            async move { context.commits.follow().await }
        }),
        spawn_local({
            let (context, limits) = (Rc::clone(&context), limits.clone());
            async move { context.connections.watch(&limits).await }
        }),
        spawn_local({
            let context = Rc::clone(&context);
            async move {
                while live.changed().await.is_ok() {
                    context.live.replace(Arc::clone(&live.borrow_and_update()));
                }
            }
        }),
    ];
    accept_until_stopped(&listener, &context, connections_max, addresses, stop).await;
    // Whoever has connected already gets an answer; only then does the port close. The runtime does not know of those
    // who came since it last asked, so the kernel is asked directly.
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept() {
        stream.set_nonblocking(true)?;
        open(&context, TcpStream::from_std(stream)?, peer, addresses, &http());
    }
    drop(listener);
    context.connections.finish(Duration::from_millis(limits.shutdown_timeout_ms)).await;
    background.iter().for_each(JoinHandle::abort);
    Ok(())
}

async fn accept_until_stopped(
    listener: &TcpListener,
    context: &Rc<Context>,
    connections_max: usize,
    addresses: &Arc<Addresses>,
    stop: &Shutdown,
) {
    let http = http();
    let mut stopped = pin!(stop.triggered());
    let mut failures = 0_u64;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // At the bound those make room that are idle. Where none is, this one waits, and in the kernel's queue
                // those behind it: a connection that is refused is lost to some SDKs.
                let note = |is_starved| context.metrics.starved(is_starved);
                tokio::select! {
                    () = context.connections.make_room(connections_max, note) => {}
                    () = &mut stopped => {}
                }
                open(context, stream, peer, addresses, &http);
                if stop.is_triggered() {
                    return;
                }
            }
            Err(error) => {
                if failures.is_multiple_of(FAILURES_PER_LOG) {
                    tracing::warn!(%error, failures, "a connection could not be accepted");
                }
                failures += 1;
                context.metrics.accept_failed();
                // Perhaps files are short: one that nobody misses gives its own back.
                context.connections.evict();
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn open(context: &Rc<Context>, stream: TcpStream, peer: SocketAddr, addresses: &Arc<Addresses>, http: &http1::Builder) {
    let Some(place) = addresses.enter(peer.ip()) else {
        let closed = context.metrics.closed(Closed::Address);
        if closed.is_multiple_of(FAILURES_PER_LOG) {
            tracing::warn!(closed, "an address has all the connections that it may have; further ones are closed");
        }
        return;
    };
    let entry = context.connections.open(peer.ip());
    context.metrics.connections(context.connections.count());
    let (context, http) = (Rc::clone(context), http.clone());
    spawn_local(async move {
        // Also where the connection panics.
        let mut close = Close { context: &context, entry: &entry, why: Closed::Panicked, _place: place };
        let service = service_fn(|request| handle(Rc::clone(&context), Rc::clone(&entry), request));
        close.why = connection::serve(&http, stream, service, &entry, &context.pool, &context.inlet).await;
    });
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its side after the request and still read the answer; it also spares a read for each request.
    http.half_close(true).max_buf_size(READ_BUFFER_BYTES_MAX);
    http
}

/// Takes a connection out of the registry when it ends.
struct Close<'a> {
    context: &'a Context,
    entry: &'a connection::Entry,
    why: Closed,
    _place: Place,
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let Context { connections, metrics, .. } = self.context;
        connections.close(self.entry);
        metrics.connections(connections.count());
        metrics.closed(self.why);
    }
}
