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

use crate::config::Limits;
use crate::connection;
use crate::handle::{Context, handle};
use crate::live::Live;

/// Bytes of a head, and of a body that is read in one piece. A connection's buffer grows to it only if its client sends
/// so much at once.
const READ_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts and serves until `stop` is given and what was begun is finished. It runs in the thread's local set.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    context: Rc<Context>,
    limits: &Limits,
    connections_max: usize,
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
    accept_until_stopped(&listener, &context, connections_max, stop).await;
    // Whoever has connected already gets an answer; only then does the port close. The runtime does not know of those
    // who came since it last asked, so the kernel is asked directly.
    let listener = listener.into_std()?;
    while let Ok((stream, peer)) = listener.accept() {
        stream.set_nonblocking(true)?;
        open(&context, TcpStream::from_std(stream)?, peer, &http());
    }
    drop(listener);
    context.connections.finish(Duration::from_millis(limits.shutdown_timeout_ms)).await;
    background.iter().for_each(JoinHandle::abort);
    Ok(())
}

async fn accept_until_stopped(listener: &TcpListener, context: &Rc<Context>, connections_max: usize, stop: &Shutdown) {
    let http = http();
    let mut stopped = pin!(stop.triggered());
    loop {
        let accepted = async {
            // Those beyond the bound wait in the kernel's queue: a connection that is refused is lost to some SDKs.
            context.connections.fewer_than(connections_max).await;
            listener.accept().await
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, peer)) => open(context, stream, peer, &http),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            () = &mut stopped => return,
        }
    }
}

fn open(context: &Rc<Context>, stream: TcpStream, peer: SocketAddr, http: &http1::Builder) {
    let entry = context.connections.open(peer.ip());
    context.metrics.connections(context.connections.count());
    let (context, http) = (Rc::clone(context), http.clone());
    spawn_local(async move {
        // Also where the connection panics.
        let _close = Close(&context, &entry);
        let service = service_fn(|request| handle(Rc::clone(&context), Rc::clone(&entry), request));
        connection::serve(&http, stream, service, &entry).await;
    });
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its side after the request and still read the answer; it also spares a read for each request.
    http.half_close(true).max_buf_size(READ_BUFFER_BYTES_MAX).ignore_invalid_headers(true);
    http
}

/// Takes a connection out of the registry when it ends.
struct Close<'a>(&'a Context, &'a connection::Entry);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.connections.close(self.1);
        self.0.metrics.connections(self.0.connections.count());
    }
}
