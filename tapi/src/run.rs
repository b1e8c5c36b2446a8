//! What the binary does: `tapi run` and `tapi check-config`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use service::{AdminServer, Failure, Shutdown};

use crate::admin::TapiAdmin;
use crate::config::Config;
use crate::forward::Forward;
use crate::kafka;
use crate::metrics::Metrics;
use crate::server::{Running, Server};

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |config: Config| {
        let clusters = config.kafka.resolved().map_err(Failure::usage)?;
        kafka::check(&clusters).map_err(Failure::usage)?;
        Ok(clusters.warnings())
    })
}

/// Opens the buffer, looks at the Kafka clusters, and serves and drains until SIGTERM or SIGINT. Then it takes no more,
/// drains what it has within the time that the settings give it, and ends.
///
/// When it serves, it prints one line: `tapi ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, a buffer that does not open, a Kafka cluster that must not be used, a port that is taken, a thread
/// that failed. A cluster that is down is no error.
pub fn run(file: Option<PathBuf>) -> Result<(), Failure> {
    let config = service::begin(file.as_deref(), |config: &Config| &config.log)?;
    let clusters = config.kafka.resolved().map_err(Failure::usage)?;
    clusters.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));

    let (mut queue, _) = config.ingest.buffer.open(&config.data).map_err(Failure::failed)?;
    let metrics = Metrics::new(queue.monitor());
    let server = Server::bind(&config.ingest, config.listen, queue.appender(), Arc::clone(&metrics));
    let server = server.map_err(Failure::failed)?;
    let listen = server.local_addr();
    let open = config.ingest.sources.is_empty();
    let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader is taken"))?;
    let forward = Forward::start(&clusters, &config.data, reader).map_err(Failure::failed)?;
    let admin = TapiAdmin::new(metrics, listen, open).with_drain(forward.remote());
    let admin = AdminServer::start(config.admin_listen, Arc::new(admin)).map_err(Failure::failed)?;

    let shutdown = Shutdown::new();
    let running = Arc::new(OnceLock::<Running>::new());
    let reloaded = Arc::clone(&running);
    let on_reload = move || reload(file.as_deref(), reloaded.get());
    shutdown.on_process_signals(on_reload).map_err(Failure::failed)?;
    let _ = running.set(server.run(&shutdown).map_err(Failure::failed)?);
    if open {
        tracing::warn!("no sources are configured: any write key is accepted");
    }
    println!("tapi ready ingest={listen} admin={}", admin.local_addr());

    shutdown.wait();
    let outcome = running.get().map_or(Ok(()), Running::join);
    forward.finish();
    queue.close().map_err(Failure::failed)?;
    outcome.map_err(Failure::failed)
}

/// Uses the settings that can change while running; wrong ones change nothing.
fn reload(file: Option<&Path>, running: Option<&Running>) {
    match service::settings::<Config>(file) {
        Ok(loaded) => {
            if let Some(running) = running {
                running.reload(&loaded.value.ingest);
            }
            tracing::info!("sources, trusted proxies and limits per source read again");
        }
        Err(failure) => tracing::error!(%failure, "the settings were not read again; the old ones stay in force"),
    }
}
