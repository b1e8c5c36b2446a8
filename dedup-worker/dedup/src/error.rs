//! What can go wrong in an index, sorted by what its owner does about it.

use std::io;
use std::path::PathBuf;

/// What the owner of a lane does about an [`IndexError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Nothing is wrong with what is stored, and nothing was changed: call again later, after `maintain`.
    Retry,
    /// What is stored cannot be trusted: `destroy` it and replay the changelog from its beginning.
    Rebuild,
    /// Somebody has to look: another program's directory, another log's index, a newer format.
    Stop,
}

/// Why a call was not carried out. Verdicts are never guessed: a call that fails gives none.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file operation failed: the disk is full, a permission is missing, no file handles are left.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// RocksDB could not carry out an operation, and the data is not to blame.
    #[error("{operation}: {detail}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// What RocksDB said.
        detail: String,
    },
    /// A sealed run could not be read: its disk failed, or no file handles are left.
    #[error("read a sealed run: {detail}")]
    Unread {
        /// What RocksDB said.
        detail: String,
    },
    /// No room in memory for another batch until open digests are sealed or decided batches committed.
    #[error("{what}: {count} are held, the most is {count_max}")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// The bound.
        count_max: usize,
    },
    /// Bytes that were written are not the bytes that were read.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// The directory holds the index of another changelog, or one made with another seed, window or number of lanes.
    #[error("the directory belongs to another index: its {field} is {found}, not {expected}")]
    Foreign {
        /// Whether it is another log, or the same one under another genesis.
        is_log: bool,
        /// Which fact differs.
        field: &'static str,
        /// What was asked for.
        expected: String,
        /// What the directory says.
        found: String,
    },
    /// Another process, or another part of this one, has the index open.
    #[error("the index in {} is in use", .0.display())]
    Locked(PathBuf),
    /// A newer program wrote this.
    #[error("the index has format version {0}, this program knows 1")]
    Version(u16),
}

impl IndexError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Io { .. } | Self::Store { .. } | Self::Unread { .. } | Self::Full { .. } => Remedy::Retry,
            Self::Damaged(_) => Remedy::Rebuild,
            Self::Foreign { .. } | Self::Locked(_) | Self::Version(_) => Remedy::Stop,
        }
    }
}
