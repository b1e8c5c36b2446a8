//! The first steps of every command: read the settings, start the logs, say what is in force.

use std::path::Path;

use crate::config::{self, Loaded, Settings};
use crate::exit::Failure;
use crate::logging::{self, Logging};
use crate::open_files;
use crate::output::{remark, say};

/// Reads the settings from `file` and the environment of the process. What the process stores from here on can be read by
/// those alone that they name.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn settings<T: Settings>(file: Option<&Path>) -> Result<Loaded<T>, Failure> {
    let loaded: Loaded<T> = config::load(file, config::process_environment()).map_err(Failure::usage)?;
    loaded.value.data_access().apply();
    Ok(loaded)
}

/// Reads the settings, starts the logs as they say, and logs what is in force and where it came from. The process may have as
/// many files open from here on as its system lets it.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn begin<T: Settings>(file: Option<&Path>, logging: impl FnOnce(&T) -> &Logging) -> Result<T, Failure> {
    let loaded = settings::<T>(file)?;
    logging::init(logging(&loaded.value));
    open_files::raise();
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    tracing::info!("settings in force\n{loaded}");
    Ok(loaded.value)
}

/// The command `check-config`: prints what is in force and where it came from, and to standard error what deserves a
/// second look. `check` finds what only the program can, and gives its warnings.
///
/// # Errors
/// [`Failure::Usage`] with every fault; those of `check`.
pub fn check_config<T: Settings>(
    file: Option<&Path>,
    check: impl FnOnce(T) -> Result<Vec<String>, Failure>,
) -> Result<(), Failure> {
    let loaded = settings::<T>(file)?;
    loaded.warnings.iter().for_each(|warning| remark(format_args!("warning: {warning}")));
    say(loaded.to_string().trim_end())?;
    check(loaded.value)?.iter().for_each(|warning| remark(format_args!("warning: {warning}")));
    Ok(())
}
