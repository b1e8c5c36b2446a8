//! Which directory is meant, and what its errors say to do.

use std::path::PathBuf;

use local_buffer::inspect::InspectError;
use service::Failure;

use super::arguments::Place;
use crate::config::Config;

impl Place {
    /// The directory that was named, or that of the settings.
    pub(super) fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(service::settings::<Config>(self.config.as_deref())?.value.data),
        }
    }
}

/// What went wrong, as the process ends with it.
pub(super) fn failure(error: InspectError) -> Failure {
    match error {
        InspectError::NotFound { .. } | InspectError::NoBuffer { .. } | InspectError::Floor { .. } => {
            Failure::usage(error)
        }
        _ => Failure::failed(error),
    }
}
