//! What the binary does: `turnstile run` and `check-config`.

use std::path::{Path, PathBuf};

use ingest::takeover;
use service::Failure;
use wire::changelog::Genesis;
use wire::{DigestSeed, LaneCount, Window};

use crate::config::{CRASH_VARIABLE, Config};
use crate::program::Turnstile;
use crate::time::now_ms;

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |_: Config| Ok(Vec::new()))
}

/// Arms the crash that a test asks for, if it asks for one.
///
/// # Errors
/// [`Failure::Usage`] where it names no step that there is.
pub fn arm_crash() -> Result<(), Failure> {
    takeover::arm_crash(CRASH_VARIABLE)
}

/// Serves until SIGTERM or SIGINT, then takes what is in the buffer through to the output; or until another process takes
/// over, which goes on with that. `believes_wall` says that this host's clock is right, however long after the ledger's
/// newest record. With `take_over` it serves in place of the process that runs on the same data, if one does. Else it
/// listens on the sockets that it was started with, where systemd's variables name some.
///
/// When it serves, it prints one line: `turnstile ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, data in use by another process, a buffer that does not open, a port that is taken.
pub fn run(file: Option<PathBuf>, believes_wall: bool, take_over: bool) -> Result<(), Failure> {
    let config = service::begin(file.as_deref(), |config: &Config| &config.log)?;
    let read = move || Ok(service::settings::<Config>(file.as_deref())?.value.ingest);
    takeover::run(&Turnstile { config, believes_wall }, take_over, read)
}

/// The genesis of a ledger that does not exist yet.
pub(crate) fn new_genesis() -> Result<Genesis, Failure> {
    let seed = getrandom::u64().map_err(Failure::failed)?;
    Ok(Genesis { lanes: LaneCount::ONE, seed: DigestSeed(seed), window: Window::default(), created_ms: now_ms() })
}
