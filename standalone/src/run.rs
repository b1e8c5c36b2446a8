//! What the binary does: `turnstile run` and `check-config`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::{Metrics, Server, Serving};
use service::{AdminServer, DataDir, Failure, Shutdown};
use wire::changelog::Genesis;
use wire::{DigestSeed, PartitionCount, Window};

use crate::admin::TurnstileAdmin;
use crate::config::Config;
use crate::drain::{Drain, now_ms};
use crate::figures::Figures;

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |_: Config| Ok(Vec::new()))
}

/// Serves until SIGTERM or SIGINT, then takes what is in the buffer through to the output.
///
/// When it serves, it prints one line: `turnstile ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, data in use by another process, a buffer that does not open, a port that is taken.
pub fn run(file: Option<PathBuf>) -> Result<(), Failure> {
    let config = service::begin(file.as_deref(), |config: &Config| &config.log)?;

    let _data = DataDir::lock(&config.data, "turnstile", "TURNSTILE_DATA")?;
    let (mut queue, recovered) = config.ingest.buffer.open(&config.buffer_dir()).map_err(Failure::failed)?;
    tracing::info!(?recovered, "local buffer open");
    let ingest = Metrics::new(queue.monitor());
    let server = Server::bind(&config.ingest, config.listen, queue.appender(), Arc::clone(&ingest));
    let server = server.map_err(Failure::failed)?;
    let (listen, open) = (server.local_addr(), server.is_open());
    let figures = Arc::new(Figures::default());
    let admin = TurnstileAdmin::new(ingest, &figures, listen, open);
    let admin = AdminServer::start(config.admin_listen, Arc::new(admin)).map_err(Failure::failed)?;

    let finish = Shutdown::new();
    let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader was taken"))?;
    let waker = reader.waker();
    let drain = Drain {
        reader,
        instance: queue.instance(),
        layout: config.layout(),
        new_genesis: new_genesis()?,
        options: config.index_options(),
        figures,
        finish: finish.clone(),
    };
    let drain = drain.spawn().map_err(Failure::failed)?;

    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    let serving = Serving::start(server, read)?;
    println!("turnstile ready ingest={listen} admin={}", admin.local_addr());

    let served = serving.wait();
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
    Ok(Genesis {
        partition_count: PartitionCount::ONE,
        seed: DigestSeed(seed),
        window: Window::default(),
        created_ms: now_ms(),
    })
}
