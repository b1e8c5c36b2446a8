//! The client that reads a log.

use std::cell::Cell;

use kafka::{Failure, Isolation, LogReader};

use crate::Spec;
use crate::budget::Share;

/// The client that reads the log of one lane, kept from one reading to the next: a new one has to connect, and to ask who
/// leads the partition. It is made when something is read, and holds its share of the memory of all that are read as long as
/// it lives.
#[derive(Default)]
pub struct Reading(Cell<Option<Client>>);

pub(crate) struct Client {
    pub(crate) reader: LogReader,
    _share: Share,
}

impl Reading {
    /// A client that reads from `offset` on, for the caller to give back where it may be used again.
    pub(crate) fn begin(&self, spec: &Spec, lane: u32, offset: u64) -> Result<Client, Failure> {
        let Some(mut client) = self.0.take() else {
            let Spec { cluster, log, memory, .. } = spec;
            let (ahead, share) = memory.ahead();
            let reader = LogReader::open_ahead(cluster, log, lane, offset, Isolation::Committed, ahead)?;
            return Ok(Client { reader, _share: share });
        };
        client.reader.go_to(offset)?;
        Ok(client)
    }

    /// Keeps a client.
    pub(crate) fn keep(&self, client: Client) {
        self.0.set(Some(client));
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
