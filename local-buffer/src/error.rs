//! What can go wrong, sorted by what the caller does about it.

use std::io;
use std::path::PathBuf;

/// Why a buffer did not open. Damage is never a reason: it is set aside and reported.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another queue of this one, has the directory open.
    #[error("{} is in use by another buffer", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A program newer than this one wrote the directory.
    #[error("{file} has format version {found}, this program knows up to {known}")]
    NewerVersion {
        /// The file that says so, relative to the directory.
        file: String,
        /// The version it has.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// An option is out of its bounds.
    #[error("option {name}: {problem}")]
    Option {
        /// The field of [`crate::Options`].
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The directory cannot be read or written.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file, relative to the directory.
        file: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a record was not taken. Nothing of it was written, and for a batch nothing of the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room on disk. Try again later: it works again by itself when the reader frees segments or space returns.
    #[error("the buffer is full ({cause})")]
    Full {
        /// What is full.
        cause: FullCause,
    },
    /// The disk is behind: as much as may wait in memory waits already, or the next segment is still being made. Try
    /// again in milliseconds.
    #[error("the disk is behind")]
    Busy,
    /// Larger than a record, or a batch, may be. Drop or split it.
    #[error("{bytes} bytes, more than the {bytes_max} that fit")]
    TooLarge {
        /// Its size: of a record its own, of a batch its size on disk.
        bytes: u64,
        /// The bound it broke.
        bytes_max: u64,
    },
    /// A write failed earlier: the buffer takes nothing until it is opened again.
    #[error(transparent)]
    SyncFailed(#[from] SyncFailed),
    /// The queue was closed.
    #[error("the buffer is closed")]
    Closed,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullCause {
    /// [`crate::Options::bytes_max`] is reached: the reader is behind.
    Bound,
    /// The disk has no room for another segment.
    Disk,
}

impl std::fmt::Display for FullCause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Bound => "its bound is reached",
            Self::Disk => "no space on the disk",
        })
    }
}

/// A write or sync of records failed. What was not durable before it may or may not be on disk, and is never
/// reported as durable; the buffer refuses records until it is opened again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a write of the buffer failed: {message}")]
pub struct SyncFailed {
    message: String,
    os_code: Option<i32>,
}

impl SyncFailed {
    pub(crate) fn new(error: &io::Error) -> Self {
        Self { message: error.to_string(), os_code: error.raw_os_error() }
    }

    /// The system's error number, if it gave one.
    pub fn os_code(&self) -> Option<i32> {
        self.os_code
    }
}

/// Why the reader could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file could not be read or written. The reader has not moved: try again.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// `acknowledge` named a record that was not delivered yet: a fault of the caller.
    #[error("record {end} was acknowledged, but only those below {delivered} were delivered")]
    NotDelivered {
        /// The end that was named.
        end: u64,
        /// The end of what was delivered.
        delivered: u64,
    },
    /// The quarantine has reached its bound. Nothing was dropped: empty it and try again.
    #[error("the quarantine holds {bytes} bytes, its bound")]
    QuarantineFull {
        /// What it holds.
        bytes: u64,
    },
}

/// Why closing did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// Pending records could not be written. They were never reported as durable.
    #[error(transparent)]
    SyncFailed(#[from] SyncFailed),
    /// The floor could not be written: some acknowledged records will be read again.
    #[error("cannot write the floor: {0}")]
    Floor(io::Error),
}
