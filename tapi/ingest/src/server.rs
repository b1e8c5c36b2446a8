//! The server: its threads and their common port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use local_buffer::Appender;
use rustix::process::{Resource, getrlimit, setrlimit};
use service::Shutdown;
use service::admin::bind_error;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::body::InFlight;
use crate::config::Config;
use crate::error::ServeError;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::thread::Thread;

/// Connections that wait to be accepted, for each thread: a restart of many clients comes all at once.
const BACKLOG: i32 = 4096;

/// A server that has its port and has not begun to serve.
pub struct Server {
    local_addr: SocketAddr,
    listeners: Vec<TcpListener>,
    config: Config,
    appender: Appender,
    metrics: Arc<Metrics>,
}

/// A server that serves.
#[must_use = "join it"]
pub struct Running {
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
    live: watch::Sender<Arc<Live>>,
}

impl Server {
    /// Takes the port. The settings must have no [`Config::problems`].
    ///
    /// # Errors
    /// [`ServeError::Listen`], with what to do.
    pub fn bind(
        config: &Config,
        listen: SocketAddr,
        appender: Appender,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServeError> {
        let failed = |source: io::Error| ServeError::Listen { listen, source: bind_error("listen", listen, &source) };
        // Listeners that share a port cannot tell another process that shares it too, so the first try is not to share.
        if listen.port() != 0 {
            bind(listen, false).map_err(failed)?;
        }
        let mut listeners = vec![bind(listen, true).map_err(failed)?];
        let local_addr = listeners[0].local_addr().map_err(failed)?;
        for _ in 1..config.thread_count() {
            listeners.push(bind(local_addr, true).map_err(failed)?);
        }
        Ok(Self { local_addr, listeners, config: config.clone(), appender, metrics })
    }

    /// Where it listens; the port that was chosen where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether any write key is accepted, because there are no sources in the settings.
    pub fn is_open(&self) -> bool {
        self.config.sources.is_empty()
    }

    /// Starts the threads. When the shutdown is given they stop to accept, answer what was begun, and end.
    ///
    /// # Errors
    /// [`ServeError::Threads`].
    pub fn run(self, shutdown: &Shutdown) -> Result<Running, ServeError> {
        raise_file_limit();
        let Self { listeners, config, appender, metrics, .. } = self;
        let live = watch::Sender::new(Arc::new(Live::new(&config)));
        let in_flight = Arc::new(InFlight::new(config.limits.body_bytes_in_flight_max));
        metrics.watch_in_flight(&in_flight);
        let connections_max = config.limits.connections_max.div_ceil(listeners.len());
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let thread = Thread {
                runtime: Builder::new_current_thread().enable_all().build()?,
                listener,
                live: live.subscribe(),
                limits: config.limits.clone(),
                connections_max,
                in_flight: Arc::clone(&in_flight),
                appender: appender.clone(),
                metrics: metrics.thread(),
            };
            let shutdown = shutdown.clone();
            let name = format!("http-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || {
                // A thread that ends by itself would leave a part of the connections without an answer for ever.
                let _stop_all = StopAll(&shutdown);
                thread.serve(&shutdown)
            })?);
        }
        Ok(Running { threads: Mutex::new(threads), live })
    }
}

/// Gives the shutdown when dropped.
struct StopAll<'a>(&'a Shutdown);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

impl Running {
    /// Uses new sources, trusted proxies and limits per source from the next request on. The rest stays as it was.
    pub fn reload(&self, config: &Config) {
        self.live.send_replace(Arc::new(Live::new(config)));
    }

    /// Waits until every thread has ended. A second call finds nothing to wait for.
    ///
    /// # Errors
    /// The first thread's that did not end as it should.
    pub fn join(&self) -> io::Result<()> {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let outcomes: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        let panicked = || Err(io::Error::other("a server thread panicked"));
        outcomes.into_iter().try_for_each(|outcome| outcome.unwrap_or_else(|_| panicked()))
    }
}

fn bind(listen: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // Connections of the last run that still wait for their end do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Every connection is a file; the usual soft limit is 1,024.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, accepting pauses at the limit that stands.
    let _ = setrlimit(Resource::Nofile, limit);
}
