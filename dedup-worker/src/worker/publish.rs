//! One decided batch as one transaction.
//!
//! The output records go first, because the changelog record names the offsets they were given. Both, the records set
//! aside, and the input positions in the changelog record come into being together with the commit, or not at all.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dedup::{ChangelogPoint, DecidedBatch};
use kafka::{Failure, Fenced, Headers, Kind, Message, Outgoing};
use wire::changelog::{Checkpoint, Genesis, OutputRange, checksum_of, encode_batch, encode_checkpoint, encode_genesis};
use wire::limits::MESSAGE_ID_BYTES_MAX;

use super::input::Undecodable;
use super::positions::Positions;
use crate::crash::{self, Step};

/// Header of a record set aside: which part of it is not as it must be.
const REASON_HEADER: &CStr = c"reason";
const EVENTS_DEDUPED: &CStr = c"events.deduped";
const EVENTS_INDEX: &CStr = c"events.index";
const EVENTS_REJECTED: &CStr = c"events.rejected";

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes to the output.
    Published,
    /// It had been published before.
    Dropped,
    /// It goes to `events.rejected`.
    SetAside(Undecodable),
}

/// A decided batch on its way.
#[derive(Debug, Default)]
pub struct Job<'c> {
    /// The records read.
    pub records: Vec<Message<'c>>,
    /// What becomes of each.
    pub fates: Vec<Fate>,
    /// Of those published, events older than the window.
    pub expired: u64,
    /// What the index learns.
    pub decided: Option<DecidedBatch>,
    /// How far the inputs have been read with these.
    pub positions: Positions,
}

/// Where decided batches go.
#[derive(Debug)]
pub enum Publisher {
    /// To the output cluster.
    Kafka {
        /// The fenced producer.
        producer: Fenced,
        /// The partition.
        partition: u32,
        /// Where the changelog ends, as far as this producer knows.
        end: AtomicU64,
    },
    /// Nowhere: what a shadow decides is only counted.
    Shadow,
}

impl Publisher {
    /// Says where the changelog was found to end. A record that lands before it lands in another log, and is taken back.
    pub fn changelog_ends_at(&self, offset: u64) {
        if let Self::Kafka { end, .. } = self {
            end.store(offset, Relaxed);
        }
    }

    /// Writes a batch in one transaction and says where the changelog stands after it. `scratch` is overwritten.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn publish(&self, job: &Job<'_>, scratch: &mut Vec<u8>) -> Result<Option<ChangelogPoint>, Failure> {
        let Self::Kafka { producer, partition, end: changelog_end } = self else { return Ok(None) };
        producer.begin()?;
        let records = job.records.iter().zip(&job.fates);
        let delivered = producer.send(records.filter_map(|(record, fate)| outgoing(record, *fate, *partition)))?;
        crash::at(Step::Produced);
        scratch.clear();
        let (start, end) = delivered.output;
        let (clock_ms, entries) = job.decided.as_ref().map_or((0, &[][..]), |d| (d.clock_ms(), d.entries()));
        let output = OutputRange { log: 0, start, end };
        encode_batch(scratch, *partition, clock_ms, job.positions.as_slice(), output, entries);
        commit(producer, *partition, scratch, changelog_end).map(Some)
    }

    /// Writes the genesis of a changelog that has none.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn genesis(&self, genesis: &Genesis) -> Result<(), Failure> {
        let Self::Kafka { producer, partition, end } = self else { return Ok(()) };
        let mut record = Vec::new();
        encode_genesis(&mut record, *partition, genesis);
        producer.begin()?;
        commit(producer, *partition, &record, end).map(|_| ())
    }

    /// Writes a checkpoint and says where the changelog stands after it.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Result<Option<ChangelogPoint>, Failure> {
        let Self::Kafka { producer, partition, end } = self else { return Ok(None) };
        let mut record = Vec::new();
        encode_checkpoint(&mut record, *partition, checkpoint);
        producer.begin()?;
        commit(producer, *partition, &record, end).map(Some)
    }
}

/// What is sent of a record; nothing of one that had been published before.
fn outgoing<'a>(record: &'a Message<'_>, fate: Fate, partition: u32) -> Option<Outgoing<'a>> {
    let (mut key, mut value) = (record.key().unwrap_or_default(), record.value().unwrap_or_default());
    let (kind, topic, partition, headers) = match fate {
        Fate::Dropped => return None,
        Fate::Published => (Kind::Output, EVENTS_DEDUPED, Some(partition), Headers::Of(record, None)),
        Fate::SetAside(Undecodable::Size) => {
            (key, value) = (&key[..key.len().min(MESSAGE_ID_BYTES_MAX)], &[]);
            (Kind::Rejected, EVENTS_REJECTED, None, Headers::These(&[(REASON_HEADER, b"size")]))
        }
        Fate::SetAside(why) => {
            let reason = (REASON_HEADER, why.reason().as_bytes());
            (Kind::Rejected, EVENTS_REJECTED, None, Headers::Of(record, Some(reason)))
        }
    };
    Some(Outgoing { kind, topic, partition, key, value, headers })
}

/// Adds the changelog record to the transaction that was begun, and commits. `end` is where the changelog is known to
/// end, and is moved on.
pub(crate) fn commit(
    producer: &Fenced,
    partition: u32,
    record: &[u8],
    end: &AtomicU64,
) -> Result<ChangelogPoint, Failure> {
    let (kind, topic, headers) = (Kind::Changelog, EVENTS_INDEX, Headers::These(&[]));
    let outgoing = Outgoing { kind, topic, partition: Some(partition), key: &[], value: record, headers };
    let offset = producer.send([outgoing])?.changelog;
    let offset = offset.ok_or_else(|| Failure::new("produce", "the changelog record was not acknowledged"))?;
    if offset < end.load(Relaxed) {
        let (end, what) = (end.load(Relaxed), "the changelog's end went back; it is another one by the same name");
        return Err(Failure::new("produce", format!("partition {partition}, from {end} to {offset}: {what}")));
    }
    crash::at(Step::BeforeCommit);
    producer.commit()?;
    end.store(offset + 1, Relaxed);
    crash::at(Step::Committed);
    Ok(ChangelogPoint { next_offset: offset + 1, leader_epoch: -1, checksum: checksum_of(record) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire() {
        let pairs = [
            (EVENTS_DEDUPED, wire::topic::EVENTS_DEDUPED),
            (EVENTS_INDEX, wire::topic::EVENTS_INDEX),
            (EVENTS_REJECTED, wire::topic::EVENTS_REJECTED),
        ];
        for (mine, wires) in pairs {
            assert_eq!(mine.to_str().unwrap(), wires);
        }
    }
}
