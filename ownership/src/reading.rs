//! The client that reads a log.

use std::cell::Cell;

use kafka::{Failure, Isolation, LogReader};

use crate::Spec;

/// The client that reads the log of one lane, kept from one reading to the next: a new one has to connect, and to ask who
/// leads the partition. It is made when something is read.
#[derive(Default)]
pub struct Reading(Cell<Option<LogReader>>);

impl Reading {
    /// A client that reads from `offset` on, for the caller to give back where it may be used again.
    pub(crate) fn begin(&self, spec: &Spec, lane: u32, offset: u64) -> Result<LogReader, Failure> {
        let Some(mut reader) = self.0.take() else {
            return LogReader::open(&spec.cluster, spec.log, lane, offset, Isolation::Committed);
        };
        reader.go_to(offset)?;
        Ok(reader)
    }

    /// Keeps a client.
    pub(crate) fn keep(&self, reader: LogReader) {
        self.0.set(Some(reader));
    }

    /// Forgets the client: one that has read a topic carries its offsets silently into another of the same name.
    pub(crate) fn forget(&self) {
        self.0.set(None);
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").finish_non_exhaustive()
    }
}
