//! Where output comes from: files of lines, or a topic of records. What is compared is the same.

use std::fmt;
use std::path::{Path, PathBuf};

use service::Properties;

use super::findings::Output;
use super::kafka::Topic;
use super::output;
use crate::Error;

/// An output that is there.
#[derive(Debug)]
pub(super) enum Source {
    /// A directory of `*.ndjson` files.
    Files(PathBuf),
    /// A Kafka topic.
    Kafka(Topic),
}

/// One look at how far the output has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Grows with the output: bytes of files, offsets of a topic.
    pub(super) size: u64,
    /// What shows by itself that more is to come.
    pub(super) unfinished: Option<String>,
}

/// What a reader is given.
pub(super) enum Found<'a> {
    /// A line without its newline, or the value of a record.
    Line(&'a [u8]),
    /// The last line of a file has no end, or a transaction is still open.
    Torn,
    /// A line that is too long to be read.
    TooLong,
}

/// Where it was found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Line {
        path: &'a Path,
        at: u64,
    },
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only topics have records"))]
    Record {
        topic: &'a str,
        partition: i32,
        offset: i64,
    },
}

impl Source {
    /// The output that `--output` names; a topic is read with these properties.
    pub(super) fn open(output: &str, properties: &Properties) -> Result<Self, Error> {
        if let Some(topic) = Topic::connect(output, properties) {
            return topic.map(Self::Kafka);
        }
        let dir = PathBuf::from(output);
        output::files(&dir)?;
        Ok(Self::Files(dir))
    }

    pub(super) fn look(&self) -> Result<Look, Error> {
        match self {
            Self::Files(dir) => {
                let size = output::files(dir)?.iter().map(|file| file.bytes).sum();
                Ok(Look { size, unfinished: None })
            }
            Self::Kafka(topic) => Ok(topic.look()),
        }
    }

    /// What [`Look::size`] counts.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Files(_) => "bytes",
            Self::Kafka(_) => "offsets",
        }
    }

    /// Reads all that is there now with `threads` threads at most. Each makes its own reader with `start`, which gets
    /// everything that is found, and gives it back at the end. Lines are not counted here.
    pub(super) fn read<R: Send>(
        &self,
        threads: usize,
        start: impl Fn() -> R + Sync,
        take: impl Fn(&mut R, Place<'_>, Found<'_>) + Sync,
    ) -> Result<(Vec<R>, Output), Error> {
        match self {
            Self::Files(dir) => {
                let files = output::files(dir)?;
                let bytes = files.iter().map(|file| file.bytes).sum();
                let readers = output::read(&files, threads, start, take)?;
                Ok((readers, Output { files: files.len() as u64, bytes, ..Output::default() }))
            }
            Self::Kafka(topic) => {
                let (readers, bytes) = topic.read(threads, start, take)?;
                Ok((readers, Output { partitions: topic.partitions() as u64, bytes, ..Output::default() }))
            }
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path, at } => write!(out, "{} at byte {at}", path.display()),
            Self::Record { topic, partition, offset } => {
                write!(out, "{topic} partition {partition} at offset {offset}")
            }
        }
    }
}
