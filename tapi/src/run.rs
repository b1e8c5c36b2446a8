//! What the binary does: `tapi run` and `tapi check-config`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::{Live, Metrics};
use service::{AdminServer, Failure, Shutdown, announce};

use crate::admin::TapiAdmin;
use crate::config::Config;
use crate::forward::Forward;

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |config: Config| {
        let clusters = config.kafka.resolved().map_err(Failure::usage)?;
        clusters.check().map_err(Failure::usage)?;
        Ok(clusters.warnings())
    })
}

/// The folder of the local buffer, by the settings.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn buffer_dir(file: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(service::settings::<Config>(file)?.value.data)
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
    let bound = ingest::listen(config.listen, config.ingest.thread_count());
    let (listen, listeners) = bound.map_err(Failure::failed)?;
    let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader is taken"))?;
    let forward = Forward::start(&clusters.plan(), &config.data, reader).map_err(Failure::failed)?;
    let admin = TapiAdmin::new(Arc::clone(&metrics), forward.remote(), listen, config.ingest.is_open());
    let admin = AdminServer::start(config.admin_listen, Arc::new(admin)).map_err(Failure::failed)?;

    let stop = Shutdown::new();
    let (reloaded, live) = Live::channel(&config.ingest);
    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    stop.on_process_signals(move || ingest::reload(&reloaded, read())).map_err(Failure::failed)?;
    announce(format_args!("tapi ready ingest={listen} admin={}", admin.local_addr()));

    let served = ingest::serve(listeners, &config.ingest.limits, &live, &queue.appender(), &metrics, &stop);
    forward.finish();
    queue.close().map_err(Failure::failed)?;
    served.map_err(Failure::failed)
}
