//! What the binary does: `tapi run` and `tapi check-config`.

use std::path::{Path, PathBuf};

use ingest::Live;
use service::handover::Successor;
use service::{Failure, Shutdown, announce};

use crate::config::Config;
use crate::opening::Opening;
use crate::process::Process;

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

/// Opens the buffer, looks at the Kafka clusters, and serves and drains until SIGTERM or SIGINT, or until another process
/// takes over. Then it takes no more, drains what it has within the time that the settings give it, and ends. With
/// `take_over` it does so in place of the process that runs on the same data, if one does.
///
/// When it serves, it prints one line: `tapi ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, a buffer that does not open, a Kafka cluster that must not be used, a port that is taken, a thread
/// that failed. A cluster that is down is no error.
pub fn run(file: Option<PathBuf>, take_over: bool) -> Result<(), Failure> {
    let config = service::begin(file.as_deref(), |config: &Config| &config.log)?;
    let kafka = config.kafka.resolved().map_err(Failure::usage)?;
    kafka.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));

    let successor = if take_over { Successor::connect(&config.data)? } else { None };
    let mut opening = match successor {
        Some((successor, listeners)) => Opening::taken_over(&config, &kafka, successor, listeners)?,
        None => Opening::fresh(&config, &kafka, config.ports().activated()?)?,
    };
    let asked = Shutdown::new();
    let (reloaded, live) = Live::channel(&config.ingest)?;
    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    asked.on_process_signals(move || ingest::reload(&reloaded, read())).map_err(Failure::failed)?;
    let process = Process { config, kafka, asked, live };
    let mut ready = Some(|ingest, admin| announce(format_args!("tapi ready ingest={ingest} admin={admin}")));
    loop {
        let say = |ingest, admin| {
            if let Some(ready) = ready.take() {
                ready(ingest, admin);
            } else {
                tracing::warn!(%ingest, %admin, "this process serves again");
            }
        };
        match process.serve(opening, say)? {
            Some(back) => opening = back,
            None => return Ok(()),
        }
    }
}
