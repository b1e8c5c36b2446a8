//! The server: a thread for each listener, what they share, and what each has of its own.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use local_buffer::Appender;
use service::Shutdown;
use service::handover::Passed;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use crate::accept::{Intake, READ_BUFFER_BYTES_MAX, accept};
use crate::addresses::Addresses;
use crate::commits::Commits;
use crate::config::Limits;
use crate::connection::{Connections, Inlet, Plain};
use crate::handle::{Context, Tools};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::open_files;
use crate::pool::{InFlight, Pool};
use crate::share::{Shared, Slots};
use crate::sources::Sources;

/// Serves until `stop` is given, and returns when what was begun until then is answered. The listeners are those of one
/// [`listen`](crate::listen()): each gets a thread, and is closed when the thread has accepted whoever had connected.
///
/// `limits` are those of settings without [`problems`](crate::Config::problems) and stay in force to the end; each request
/// goes by the newest of `live`.
///
/// # Errors
/// The first thread's that could not be started or did not end as it should. It gives `stop`, so that the others end
/// too: none is left running.
pub fn serve(
    listeners: Vec<TcpListener>,
    limits: &Limits,
    live: &watch::Receiver<Arc<Live>>,
    appender: &Appender,
    metrics: &Metrics,
    stop: &Shutdown,
) -> io::Result<()> {
    let signals = Signals { stop: stop.clone(), hand_over: Shutdown::new() };
    let sockets = Sockets { listeners, connections: Vec::new() };
    serve_or_hand_over(sockets, limits, live, appender, metrics, &signals).map(drop)
}

/// What ends [`serve_or_hand_over`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// A stop.
    pub stop: Shutdown,
    /// The next process takes over.
    pub hand_over: Shutdown,
}

/// What is served.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// A thread each.
    pub listeners: Vec<TcpListener>,
    /// Connections that another process had, by [`serve_or_hand_over`].
    pub connections: Vec<Passed>,
}

/// The same, and until the next process takes over: then it accepts no more and closes no port, what was begun is
/// answered, within half a second, and these are the connections that wait for a request, for the next process to serve.
///
/// # Errors
/// As [`serve`].
pub(crate) fn serve_or_hand_over(
    sockets: Sockets,
    limits: &Limits,
    live: &watch::Receiver<Arc<Live>>,
    appender: &Appender,
    metrics: &Metrics,
    signals: &Signals,
) -> io::Result<Vec<Passed>> {
    if matches!(live.borrow().sources, Sources::Open) {
        tracing::warn!("no sources are configured: any write key is accepted");
    }
    let stop = &signals.stop;
    let in_flight = Arc::new(InFlight::new(limits.body_bytes_in_flight_max));
    metrics.watch_in_flight(&in_flight);
    metrics.watch_live(live);
    let slots = Slots::default();
    let thread_count = sockets.listeners.len().max(1);
    let connections_max = open_files::connections(limits.connections_max);
    metrics.set_connections_max(connections_max);
    let connections_max = connections_max.div_ceil(thread_count);
    let addresses = Addresses::new(limits.connections_per_address_max);
    let not_started = |error: io::Error| {
        let says = format!("cannot start the server's threads: {error}");
        io::Error::new(error.kind(), says)
    };
    let serve_one = |index, intake| {
        // A thread that ends by itself would leave a part of the connections without an answer for ever.
        let stop_all = StopAll(stop);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(not_started)?;
        let mut live = live.clone();
        let context = Rc::new(Context {
            live: RefCell::new(Arc::clone(&live.borrow_and_update())),
            commits: Commits::new(appender.clone(), Duration::from_millis(limits.append_timeout_ms)),
            pool: Rc::new(Pool::new(Arc::clone(&in_flight))),
            inlet: Rc::new(Inlet::new(READ_BUFFER_BYTES_MAX)),
            plain: Plain::new(READ_BUFFER_BYTES_MAX),
            connections: Connections::new(),
            metrics: metrics.thread(),
            tools: RefCell::new(Tools::new()),
            slots: slots.clone(),
            requests: Shared::hard(connections_max, 1),
            records: Shared::soft(appender.pending_bytes_max() / thread_count, 1),
        });
        let served = LocalSet::new().block_on(&runtime, async {
            if index == 0 {
                spawn_local(say_stop(stop.clone()));
            }
            accept(intake, context, limits, connections_max, &addresses, live, signals).await
        });
        if signals.hand_over.is_triggered() && served.is_ok() {
            // The others hand over as well: a stop would close connections that the next process is to have.
            std::mem::forget(stop_all);
        }
        served
    };
    thread::scope(|scope| {
        let start = |(index, intake)| {
            let named = thread::Builder::new().name(format!("http-{index}"));
            named
                .spawn_scoped(scope, move || serve_one(index, intake))
                .inspect_err(|_| stop.trigger())
                .map_err(not_started)
        };
        let threads: Vec<_> = sockets.intakes().into_iter().enumerate().map(start).collect();
        let panicked = |_| Err(io::Error::other("a server thread panicked"));
        let outcomes: Vec<_> = threads.into_iter().map(|thread| thread?.join().unwrap_or_else(panicked)).collect();
        outcomes.into_iter().collect::<io::Result<Vec<_>>>().map(|passed| passed.into_iter().flatten().collect())
    })
}

async fn say_stop(stop: Shutdown) {
    stop.triggered().await;
    tracing::info!("stopping: answering what was begun, then draining the local buffer");
}

impl Sockets {
    /// One for each listener; each gets its share of the connections.
    fn intakes(self) -> Vec<Intake> {
        let begin = |listener| Intake { listener, connections: Vec::new() };
        let mut intakes: Vec<_> = self.listeners.into_iter().map(begin).collect();
        let count = intakes.len().max(1);
        for (index, passed) in self.connections.into_iter().enumerate() {
            if let Some(intake) = intakes.get_mut(index % count) {
                intake.connections.push(passed);
            }
        }
        intakes
    }
}

/// Gives the stop when dropped.
struct StopAll<'a>(&'a Shutdown);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.trigger();
    }
}
