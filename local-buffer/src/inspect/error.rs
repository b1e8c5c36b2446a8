//! Why a buffer could not be looked into or put right.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{OpenError, ReadError};
use crate::storage::{Holder, InUse};

/// Why a buffer could not be looked into or put right, sorted by what the caller does.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such directory: the name is wrong.
    #[error("there is no directory {}", dir.display())]
    NotFound {
        /// The name.
        dir: PathBuf,
    },
    /// The directory is there and holds no buffer: another one is meant, or nothing was ever stored.
    #[error("{} holds no buffer: it has no meta file, no floor file and no segments{}", dir.display(), inside(nearby.as_deref()))]
    NoBuffer {
        /// The directory.
        dir: PathBuf,
        /// A directory in it that does hold one.
        nearby: Option<PathBuf>,
    },
    /// A program newer than this one wrote the directory: use that one.
    #[error("{file} has format version {found}, this program knows up to {known}: use the program that wrote it")]
    NewerVersion {
        /// The file that says so, relative to the directory.
        file: String,
        /// The version it has.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// A process has the directory open, and what was asked for would change it: stop that process first.
    #[error("{} is in use{}: stop that process first", dir.display(), by(holder.as_ref()))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, if it can be seen.
        holder: Option<Holder>,
    },
    /// The floor that was asked for cannot be had: take one inside the bounds.
    #[error("the floor cannot become {wanted}: it is {floor}, only ever rises, and the next record's id is {next}")]
    Floor {
        /// What was asked for.
        wanted: u64,
        /// What it is.
        floor: u64,
        /// The highest that it may become.
        next: u64,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file, relative to the directory.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The buffer did not open.
    #[error(transparent)]
    Open(OpenError),
    /// The buffer, opened to be put right, could not do it.
    #[error("the buffer could not be worked on: {0}")]
    Work(String),
}

fn inside(nearby: Option<&Path>) -> String {
    nearby.map_or_else(String::new, |nearby| format!("; did you mean {}?", nearby.display()))
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| " by another process".to_owned(), |holder| format!(" by {holder}"))
}

impl InspectError {
    /// An opening that failed; `user` is who had the directory just before.
    pub(super) fn opening(error: OpenError, user: &InUse) -> Self {
        match error {
            OpenError::Locked { dir } => Self::InUse { dir, holder: holder(user) },
            error => error.into(),
        }
    }

    pub(super) fn io<'a>(action: &'static str, file: &'a str) -> impl Fn(io::Error) -> Self + 'a {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }
}

/// The process, if it is known.
pub(super) fn holder(user: &InUse) -> Option<Holder> {
    if let InUse::By(holder) = user { Some(holder.clone()) } else { None }
}

impl From<OpenError> for InspectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NewerVersion { file, found, known } => Self::NewerVersion { file, found, known },
            OpenError::Io { action, file, source } => Self::Io { action, file, source },
            OpenError::Locked { dir } => Self::InUse { dir, holder: None },
            error @ OpenError::Option { .. } => Self::Open(error),
        }
    }
}

impl From<ReadError> for InspectError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { action, source } => Self::Io { action, file: "segments".into(), source },
            error => Self::Work(error.to_string()),
        }
    }
}
