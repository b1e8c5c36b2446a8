//! What can end a command, sorted by whose turn it is.

use std::io;
use std::path::Path;

/// Why a command did not do its work. Findings of `verify` are not errors; they are its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was given something it cannot work with; the message says what to change. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The world did not play along: no server, a full disk, a damaged ledger. Exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl From<service::Failure> for Error {
    fn from(failure: service::Failure) -> Self {
        match failure {
            service::Failure::Usage(why) => Self::Usage(why),
            service::Failure::Failed(why) => Self::Failed(why),
        }
    }
}

impl Error {
    /// A failed file operation, with what was being done to which path.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::Failed(format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}
