//! One server thread: its listener, its runtime, its connections.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use local_buffer::Appender;
use service::Shutdown;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::body::{InFlight, Pool};
use crate::commits::Commits;
use crate::config::Limits;
use crate::connection::{self, Connections};
use crate::handle::{Context, Tools, handle};
use crate::live::Live;
use crate::metrics::ThreadMetrics;

/// Bytes of a head, and of a body that is read in one piece. A connection's buffer grows to it only if its client sends
/// so much at once.
const READ_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a thread is started with.
pub(crate) struct Thread {
    pub(crate) runtime: Runtime,
    pub(crate) listener: TcpListener,
    pub(crate) live: watch::Receiver<Arc<Live>>,
    pub(crate) limits: Limits,
    pub(crate) connections_max: usize,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) appender: Appender,
    pub(crate) metrics: Arc<ThreadMetrics>,
}

impl Thread {
    /// Serves until the shutdown is given and what was begun is finished.
    pub(crate) fn serve(self, shutdown: &Shutdown) -> io::Result<()> {
        let Self { runtime, listener, mut live, limits, connections_max, in_flight, appender, metrics } = self;
        let context = Rc::new(Context {
            live: RefCell::new(Arc::clone(&live.borrow_and_update())),
            commits: Commits::new(appender, Duration::from_millis(limits.append_timeout_ms)),
            pool: Rc::new(Pool::new(in_flight)),
            connections: Connections::new(),
            metrics,
            tools: RefCell::new(Tools::new()),
        });
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
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
            accept(&listener, &context, connections_max, shutdown).await;
            // Whoever has connected already gets an answer; only then does the port close. The runtime does not know of
            // those who came since it last asked, so the kernel is asked directly.
            let listener = listener.into_std()?;
            while let Ok((stream, peer)) = listener.accept() {
                stream.set_nonblocking(true)?;
                open(&context, TcpStream::from_std(stream)?, peer, &http());
            }
            drop(listener);
            context.connections.finish(Duration::from_millis(limits.shutdown_timeout_ms)).await;
            background.iter().for_each(tokio::task::JoinHandle::abort);
            Ok(())
        })
    }
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client may close its side after the request and still read the answer; it also spares a read for each request.
    http.half_close(true).max_buf_size(READ_BUFFER_BYTES_MAX).ignore_invalid_headers(true);
    http
}

async fn accept(
    listener: &tokio::net::TcpListener,
    context: &Rc<Context>,
    connections_max: usize,
    shutdown: &Shutdown,
) {
    let http = http();
    let mut stopped = pin!(shutdown.triggered());
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

/// Takes a connection out of the registry when it ends.
struct Close<'a>(&'a Context, &'a connection::Entry);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.connections.close(self.1);
        self.0.metrics.connections(self.0.connections.count());
    }
}
