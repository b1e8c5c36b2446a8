//! What the binary does: `tapi run` and `tapi check-config`.

use std::path::{Path, PathBuf};

use ingest::takeover;
use service::Failure;

use crate::config::{CRASH_VARIABLE, Config};
use crate::program::Tapi;

/// Arms the crash that a test asks for, if it asks for one.
///
/// # Errors
/// [`Failure::Usage`] where it names no step that there is.
pub fn arm_crash() -> Result<(), Failure> {
    takeover::arm_crash(CRASH_VARIABLE)
}

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

    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    takeover::run(&Tapi { config, kafka }, take_over, read)
}
