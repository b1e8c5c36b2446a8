//! Which directory is meant, and what its errors say to do.

use std::path::PathBuf;

use local_buffer::inspect::InspectError;
use service::Failure;

use crate::arguments::Place;

impl Place {
    /// The directory that was named, or that of the settings.
    pub(crate) fn dir(self, of_settings: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<PathBuf, Failure> {
        self.dir.map_or_else(of_settings, Ok)
    }
}

/// What went wrong, as the process ends with it.
pub(crate) fn failure(error: InspectError) -> Failure {
    match error {
        InspectError::NotFound { .. } | InspectError::NoBuffer { .. } | InspectError::Floor { .. } => {
            Failure::usage(error)
        }
        _ => Failure::failed(error),
    }
}
