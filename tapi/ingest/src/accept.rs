//! The accept loop of one thread, and what runs beside it.

use std::io;
use std::net::SocketAddr;
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

use crate::config::Limits;
use crate::connection::{self, Accepted, Entry, Phase};
use crate::handle::{Context, handle};
use crate::http2;
use crate::live::Live;
use crate::passed::State;
use crate::prelude::{self, Begun};
use crate::serve::Signals;

/// Bytes of a head, and of a body that is read in one piece. A connection's buffer grows to it only if its client sends
/// so much at once.
const READ_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Time for requests in flight when the next process takes over. Everybody else waits in the kernel meanwhile.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
                }
            }
        }),
    ];
    for Passed { stream, state } in intake.connections {
        // One of another form ends here, and its client connects again.
        let Some(state) = State::parse(&state) else { continue };
        let entry = context.connections.open(state.client);
        if state.idle {
            entry.enter(Phase::Idle);
        }
        let accepted = Accepted { stream: TcpStream::from_std(stream)?, read: state.read };
        spawn(&context, entry, First::Request(accepted), &http());
    }
    let end = accept_until_stopped(&listener, &context, connections_max, signals).await;
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
                open(&context, TcpStream::from_std(stream)?, peer, &http());
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
    signals: &Signals,
) -> End {
    let http = http();
    let mut stopped = pin!(signals.stop.triggered());
    let mut handed_over = pin!(signals.hand_over.triggered());
    loop {
        let accepted = async {
            // Those beyond the bound wait in the kernel's queue: a connection that is refused is lost to some SDKs.
            context.connections.fewer_than(connections_max).await;
            listener.accept().await
        };
        tokio::select! {
            biased;
            () = &mut handed_over => return End::HandOver,
            () = &mut stopped => return End::Stop,
            accepted = accepted => match accepted {
                Ok((stream, peer)) => open(context, stream, peer, &http),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
}

fn open(context: &Rc<Context>, stream: TcpStream, peer: SocketAddr, http: &http1::Builder) {
    let entry = context.connections.open(peer.ip());
    let live = context.live.borrow();
    let first = if prelude::is_needed(&live, &entry) {
        First::Prelude(Arc::clone(&live), stream)
    } else {
        First::Request(Accepted { stream, read: Bytes::new() })
    };
    drop(live);
    spawn(context, entry, first, http);
}

/// What comes first on a connection.
enum First {
    Request(Accepted),
    /// Something before it, by these settings.
    Prelude(Arc<Live>, TcpStream),
}

fn spawn(context: &Rc<Context>, entry: Rc<Entry>, first: First, http: &http1::Builder) {
    context.metrics.connections(context.connections.count());
    let (context, http) = (Rc::clone(context), http.clone());
    spawn_local(async move {
        // Also where the connection panics.
        let _close = Close(&context, &entry);
        let service = service_fn(|request| handle(Rc::clone(&context), Rc::clone(&entry), request));
        let connections = &context.connections;
        match first {
            First::Request(accepted) => connection::serve(&http, accepted, service, connections, &entry).await,
            // Rare beside the other, and large: it does not make every connection's task larger.
            First::Prelude(live, stream) => {
                Box::pin(async {
                    match prelude::begin(live, &entry, stream).await {
                        Err(refusal) => context.metrics.connection_refused(refusal),
                        Ok(Begun::Plain(stream, read)) => {
                            connection::serve(&http, Accepted { stream, read }, service, connections, &entry).await;
                        }
                        Ok(Begun::Tls(stream)) => {
                            let accepted = Accepted { stream, read: Bytes::new() };
                            connection::serve(&http, accepted, service, connections, &entry).await;
                        }
                        Ok(Begun::Http2(stream)) => http2::serve(*stream, &context, &entry).await,
                    }
                })
                .await;
            }
        }
    });
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its side after the request and still read the answer; it also spares a read for each request.
    http.half_close(true).max_buf_size(READ_BUFFER_BYTES_MAX).ignore_invalid_headers(true);
    http
}

/// Takes a connection out of the registry when it ends.
struct Close<'a>(&'a Context, &'a Entry);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.connections.close(self.1);
        self.0.metrics.connections(self.0.connections.count());
    }
}
