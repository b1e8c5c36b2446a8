//! The accept loop of one thread, and what runs beside it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use service::handover::Passed;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

use crate::addresses::{Addresses, Place};
use crate::config::Limits;
use crate::connection::{self, Accepted, Closed, Entry, Phase};
use crate::handle::{Context, handle};
use crate::http2;
use crate::live::Live;
use crate::passed::State;
use crate::prelude::{self, Begun};
use crate::refusal::Refusal;
use crate::serve::Signals;

/// Bytes that a connection is read by, and of a body that is read in one piece. A connection's buffer has 8 KiB and grows
/// to this only if its client sends so much at once; a body that is larger lies in the pool, which has a bound.
pub(crate) const READ_BUFFER_BYTES_MAX: usize = 32 * 1024;
/// Time for requests in flight when the next process takes over. Everybody else waits in the kernel meanwhile.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Failures between two lines of the log about them.
const FAILURES_PER_LOG: u64 = 100;

/// What one thread begins with.
pub(crate) struct Intake {
    pub(crate) listener: std::net::TcpListener,
    /// Those that the process before had.
    pub(crate) connections: Vec<Passed>,
}

/// Accepts and serves until a stop is given and what was begun is finished, or the next process takes over: then these are
/// the connections that are left for it. It runs in the thread's local set.
pub(crate) async fn accept(
    intake: Intake,
    context: Rc<Context>,
    limits: &Limits,
    connections_max: usize,
    addresses: &Arc<Addresses>,
    mut live: watch::Receiver<Arc<Live>>,
    signals: &Signals,
) -> io::Result<Vec<Passed>> {
    let listener = TcpListener::from_std(intake.listener)?;
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
                    // They were judged by the sources of before.
                    context.tools.borrow_mut().keys.forget();
                }
            }
        }),
    ];
    for Passed { stream, state } in intake.connections {
        // One of another form ends here, and its client connects again.
        let Some(state) = State::parse(&state) else { continue };
        let Some(place) = enter(&context, addresses, state.client) else { continue };
        let entry = context.connections.open(state.client);
        if state.idle {
            entry.enter(Phase::Idle);
        }
        let accepted = Accepted { stream: TcpStream::from_std(stream)?, read: state.read };
        spawn(&context, entry, Some(place), First::Request(accepted), &http());
    }
    let end = accept_until_stopped(&listener, &context, connections_max, addresses, signals).await;
    let timeout = Duration::from_millis(limits.shutdown_timeout_ms);
    let passed = match end {
        // Whoever has connected and waits to be accepted is the next process's.
        End::HandOver => {
            drop(listener);
            context.connections.pass(timeout.min(HAND_OVER_TIMEOUT)).await
        }
        End::Stop => {
            // Whoever has connected already gets an answer; only then does the port close. The runtime does not know of
            // those who came since it last asked, so the kernel is asked directly.
            let listener = listener.into_std()?;
            while let Ok((stream, peer)) = listener.accept() {
                stream.set_nonblocking(true)?;
                open(&context, TcpStream::from_std(stream)?, peer, addresses, &http());
            }
            drop(listener);
            context.connections.finish(timeout).await;
            Vec::new()
        }
    };
    background.iter().for_each(JoinHandle::abort);
    Ok(passed)
}

/// Why a thread accepts no more.
enum End {
    Stop,
    HandOver,
}

async fn accept_until_stopped(
    listener: &TcpListener,
    context: &Rc<Context>,
    connections_max: usize,
    addresses: &Arc<Addresses>,
    signals: &Signals,
) -> End {
    let http = http();
    let mut stopped = pin!(signals.stop.triggered());
    let mut handed_over = pin!(signals.hand_over.triggered());
    let mut failures = 0_u64;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut handed_over => return End::HandOver,
            () = &mut stopped => return End::Stop,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // At the bound those make room that are idle. Where none is, this one waits, and in the kernel's queue
                // those behind it: a connection that is refused is lost to some SDKs.
                let note = |is_starved| context.metrics.starved(is_starved);
                let end = tokio::select! {
                    biased;
                    () = &mut handed_over => Some(End::HandOver),
                    () = &mut stopped => Some(End::Stop),
                    () = context.connections.make_room(connections_max, note) => None,
                };
                open(context, stream, peer, addresses, &http);
                if let Some(end) = end {
                    return end;
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
    let live = context.live.borrow();
    // Behind a load balancer the place is that of the client, whom its header names.
    let place = if prelude::names_client(&live, peer.ip()) {
        None
    } else {
        let Some(place) = enter(context, addresses, peer.ip()) else { return };
        Some(place)
    };
    let entry = context.connections.open(peer.ip());
    let first = if prelude::is_needed(&live, &entry) {
        First::Prelude(Arc::clone(&live), stream, Arc::clone(addresses))
    } else {
        First::Request(Accepted { stream, read: Bytes::new() })
    };
    drop(live);
    spawn(context, entry, place, first, http);
}

/// The place of one more connection of an address; `None` where it has all that it may have.
fn enter(context: &Context, addresses: &Arc<Addresses>, address: IpAddr) -> Option<Place> {
    let place = addresses.enter(address);
    if place.is_none() {
        count_closed(context, Closed::Address);
    }
    place
}

fn count_closed(context: &Context, why: Closed) {
    let closed = context.metrics.closed(why);
    if why == Closed::Address && closed.is_multiple_of(FAILURES_PER_LOG) {
        tracing::warn!(closed, "an address has all the connections that it may have; further ones are closed");
    }
}

/// What comes first on a connection.
enum First {
    Request(Accepted),
    /// Something before it, by these settings.
    Prelude(Arc<Live>, TcpStream, Arc<Addresses>),
}

fn spawn(context: &Rc<Context>, entry: Rc<Entry>, place: Option<Place>, first: First, http: &http1::Builder) {
    context.metrics.connections(context.connections.count());
    let (context, http) = (Rc::clone(context), http.clone());
    spawn_local(async move {
        // Also where the connection panics.
        let mut close = Close { context: &context, entry: &entry, why: Closed::Panicked, place };
        let service = service_fn(|request| handle(Rc::clone(&context), Rc::clone(&entry), request));
        match first {
            First::Request(accepted) => {
                close.why = connection::serve(&http, accepted, service, &context, &entry).await;
            }
            // Rare beside the other, and large: it does not make every connection's task larger.
            First::Prelude(live, stream, addresses) => {
                let place = &mut close.place;
                let enter = |client| {
                    *place = place.take().or_else(|| addresses.enter(client));
                    place.is_some()
                };
                close.why = Box::pin(async {
                    match prelude::begin(live, &entry, stream, enter).await {
                        Err(refusal) => {
                            context.metrics.connection_refused(refusal);
                            if refusal == Refusal::Timeout { entry.closed() } else { Closed::Protocol }
                        }
                        Ok(Begun::Full) => Closed::Address,
                        Ok(Begun::Plain(stream, read)) => {
                            let accepted = Accepted { stream, read };
                            connection::serve(&http, accepted, service, &context, &entry).await
                        }
                        Ok(Begun::Tls(stream)) => {
                            let accepted = Accepted { stream, read: Bytes::new() };
                            connection::serve(&http, accepted, service, &context, &entry).await
                        }
                        Ok(Begun::Http2(stream)) => http2::serve(*stream, &context, &entry).await,
                    }
                })
                .await;
            }
        }
    });
}

pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its side after the request and still read the answer; it also spares a read for each request.
    http.half_close(true).max_buf_size(READ_BUFFER_BYTES_MAX);
    http
}

/// Takes a connection out of the registry when it ends.
struct Close<'a> {
    context: &'a Context,
    entry: &'a Entry,
    why: Closed,
    place: Option<Place>,
}

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let Context { connections, metrics, .. } = self.context;
        connections.close(self.entry);
        metrics.connections(connections.count());
        drop(self.place.take());
        count_closed(self.context, self.why);
    }
}
