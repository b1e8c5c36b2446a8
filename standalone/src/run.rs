//! What the binary does: `turnstile run` and `check-config`.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::{Live, Metrics, Quotas};
use service::{AdminServer, DataDir, Failure, Listeners, Shutdown, announce};
use wire::changelog::Genesis;
use wire::{DigestSeed, LaneCount, Window};

use crate::admin::TurnstileAdmin;
use crate::config::Config;
use crate::drain::Drain;
use crate::figures::Figures;
use crate::time::{self, now_ms};

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |_: Config| Ok(Vec::new()))
}

/// Serves until SIGTERM or SIGINT, then takes what is in the buffer through to the output. `believes_wall` says that this
/// host's clock is right, however long after the ledger's newest record.
///
/// It listens on the sockets that it was started with, where systemd's variables name some.
///
/// When it serves, it prints one line: `turnstile ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, data in use by another process, a buffer that does not open, a port that is taken.
pub fn run(file: Option<PathBuf>, believes_wall: bool) -> Result<(), Failure> {
    let config = service::begin(file.as_deref(), |config: &Config| &config.log)?;
    // Before anything else is opened.
    let given = config.ports().activated()?;
    let _data = DataDir::lock(&config.data, "turnstile", "TURNSTILE_DATA")?;
    let (mut queue, recovered) = config.ingest.buffer.open(&config.buffer_dir()).map_err(Failure::failed)?;
    tracing::info!(?recovered, "local buffer open");
    let metrics = Metrics::new(queue.monitor());
    let Listeners { work: listeners, admin } = config.ports().complete(given)?;
    let listen = listeners.first().map(TcpListener::local_addr).transpose().map_err(Failure::failed)?;
    let listen = listen.unwrap_or(config.listen);
    let figures = Arc::new(Figures::default());
    let about = TurnstileAdmin::new(Arc::clone(&metrics), &figures, listen, config.ingest.is_open());
    let admin = admin.map_or_else(|| AdminServer::bind(config.admin_listen), Ok).map_err(Failure::failed)?;
    let admin = AdminServer::on(admin, Arc::new(about)).map_err(Failure::failed)?;

    let finish = Shutdown::new();
    let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader was taken"))?;
    let waker = reader.waker();
    let drain = Drain {
        reader,
        instance: queue.instance(),
        layout: config.layout(),
        new_genesis: new_genesis()?,
        options: config.index_options(),
        clocks: time::HOST,
        believes_wall,
        figures,
        finish: finish.clone(),
    };
    let drain = drain.spawn().map_err(Failure::failed)?;

    let stop = Shutdown::new();
    let (reloaded, live) = Live::channel(&config.ingest)?;
    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    stop.on_process_signals(move || ingest::reload(&reloaded, read())).map_err(Failure::failed)?;
    let quotas = Quotas::keep(&config.data, live.clone()).map_err(Failure::failed)?;
    announce(format_args!("turnstile ready ingest={listen} admin={}", admin.local_addr()));

    let served = ingest::serve(listeners, &config.ingest.limits, &live, &queue.appender(), &metrics, &stop);
    drop(quotas);
    finish.trigger();
    waker.wake();
    let drained = drain.join();
    queue.close().map_err(Failure::failed)?;
    served.map_err(Failure::failed)?;
    drained.map_err(|_| Failure::failed("the drain panicked; nothing is lost, the next start continues"))
}

/// The genesis of a ledger that does not exist yet.
pub(crate) fn new_genesis() -> Result<Genesis, Failure> {
    let seed = getrandom::u64().map_err(Failure::failed)?;
    Ok(Genesis { lanes: LaneCount::ONE, seed: DigestSeed(seed), window: Window::default(), created_ms: now_ms() })
}
