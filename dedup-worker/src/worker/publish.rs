//! One decided batch as one transaction.
//!
//! The output records go first, because the changelog record names the offsets they were given. Both, the records set
//! aside, and the input positions in the changelog record come into being together with the commit, or not at all.

use std::ffi::CStr;
use std::time::Instant;

use changelog::{Point, Positions};
use dedup::DecidedBatch;
use kafka::{Delivered, Failure, Fenced, Headers, Kind, Message, Outgoing};
use wire::changelog::{Checkpoint, Genesis, OutputRange, checksum_of, encode_batch, encode_checkpoint, encode_genesis};
use wire::limits::MESSAGE_ID_BYTES_MAX;

use super::decode::Undecodable;
use super::topics::{EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};
use crate::crash::{self, Step};

/// Header of a record set aside: which part of it is not as it must be.
const REASON_HEADER: &CStr = c"reason";

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
pub struct Job {
    /// The records read.
    pub records: Vec<Message>,
    /// What becomes of each.
    pub fates: Vec<Fate>,
    /// Of those published, events older than the window.
    pub expired: u64,
    /// What the index learns.
    pub decided: Option<DecidedBatch>,
    /// How far the inputs have been read with these.
    pub positions: Positions,
}

/// A record of the changelog that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where the changelog stands after it.
    pub point: Point,
    /// Its stamp, by a clock that is not this host's.
    pub stamp: Stamp,
}

/// What the broker's clock showed, and when this host heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch; `None` where the broker does not say.
    pub appended_ms: Option<i64>,
    /// By the monotonic clock.
    pub heard: Instant,
}

/// Where decided batches go. Each transaction consumes it, and gives it back with a confirmed commit alone.
#[derive(Debug)]
pub enum Publisher {
    /// To the output cluster.
    Kafka(Way),
    /// Nowhere: what a shadow decides is only counted.
    Shadow,
}

/// The way to one partition of the output and its changelog.
#[derive(Debug)]
pub struct Way {
    producer: Fenced,
    partition: u32,
    /// Where the changelog ends, as far as is known. A record that lands before it lands in another log, and is taken back.
    end: u64,
}

impl Publisher {
    /// Says where the changelog was found to end.
    pub fn changelog_ends_at(&mut self, offset: u64) {
        if let Self::Kafka(way) = self {
            way.end = offset;
        }
    }

    /// Writes a batch in one transaction and says what is committed. `scratch` is overwritten.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn publish(self, job: &Job, scratch: &mut Vec<u8>) -> Result<(Self, Option<Committed>), Failure> {
        self.with(|way| way.publish(job, scratch))
    }

    /// Writes the genesis of a changelog that has none.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn genesis(self, genesis: &Genesis) -> Result<Self, Failure> {
        let write = |record: &mut Vec<u8>, partition| encode_genesis(record, partition, genesis);
        self.with(|way| way.record(write)).map(|(publisher, _)| publisher)
    }

    /// Writes a checkpoint and says what is committed.
    ///
    /// # Errors
    /// Anything but a confirmed commit.
    pub fn checkpoint(self, checkpoint: &Checkpoint) -> Result<(Self, Option<Committed>), Failure> {
        self.with(|way| way.record(|record, partition| encode_checkpoint(record, partition, checkpoint)))
    }

    fn with(
        self,
        transaction: impl FnOnce(Way) -> Result<(Way, Committed), Failure>,
    ) -> Result<(Self, Option<Committed>), Failure> {
        let Self::Kafka(way) = self else { return Ok((Self::Shadow, None)) };
        let (way, committed) = transaction(way)?;
        Ok((Self::Kafka(way), Some(committed)))
    }
}

impl Way {
    /// To the partition whose fence this producer has taken.
    pub(crate) fn new(producer: Fenced, partition: u32) -> Self {
        Self { producer, partition, end: 0 }
    }

    fn publish(mut self, job: &Job, scratch: &mut Vec<u8>) -> Result<(Self, Committed), Failure> {
        self.producer.begin()?;
        let (partition, records) = (self.partition, job.records.iter().zip(&job.fates));
        let outgoing = records.filter_map(|(record, fate)| outgoing(record, *fate, partition));
        let (start, end) = self.producer.send(outgoing)?.output;
        crash::at(Step::Produced);
        scratch.clear();
        let (clock_ms, entries) = job.decided.as_ref().map_or((0, &[][..]), |d| (d.clock_ms(), d.entries()));
        let output = OutputRange { log: 0, start, end };
        encode_batch(scratch, partition, clock_ms, job.positions.as_slice(), output, entries);
        self.commit(scratch)
    }

    fn record(mut self, write: impl FnOnce(&mut Vec<u8>, u32)) -> Result<(Self, Committed), Failure> {
        let mut record = Vec::new();
        write(&mut record, self.partition);
        self.producer.begin()?;
        self.commit(&record)
    }

    /// Offset behind the changelog record that was committed last.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Writes changelog records in one transaction.
    pub(crate) fn records(mut self, records: &[Vec<u8>]) -> Result<Self, Failure> {
        let Some((last, before)) = records.split_last() else { return Ok(self) };
        self.producer.begin()?;
        self.producer.send(before.iter().map(|record| changelog_record(record, self.partition)))?;
        self.commit(last).map(|(way, _)| way)
    }

    /// Adds the changelog record to the transaction that was begun, and commits.
    fn commit(self, record: &[u8]) -> Result<(Self, Committed), Failure> {
        let Self { mut producer, partition, end } = self;
        let delivered = producer.send([changelog_record(record, partition)])?;
        let Delivered { changelog, changelog_appended_ms: appended_ms, .. } = delivered;
        let stamp = Stamp { appended_ms, heard: Instant::now() };
        let offset = changelog.ok_or_else(|| Failure::new("produce", "the changelog record was not acknowledged"))?;
        if offset < end {
            let what = "the changelog's end went back; it is another one by the same name";
            return Err(Failure::new("produce", format!("partition {partition}, from {end} to {offset}: {what}")));
        }
        crash::at(Step::BeforeCommit);
        let producer = producer.commit()?;
        crash::at(Step::Committed);
        let point = Point { next_offset: offset + 1, leader_epoch: -1, checksum: checksum_of(record) };
        Ok((Self { producer, partition, end: offset + 1 }, Committed { point, stamp }))
    }
}

fn changelog_record(record: &[u8], partition: u32) -> Outgoing<'_> {
    let (kind, topic, headers) = (Kind::Changelog, EVENTS_INDEX, Headers::These(&[]));
    Outgoing { kind, topic, partition: Some(partition), key: &[], value: record, headers }
}

/// What is sent of a record; nothing of one that had been published before.
fn outgoing(record: &Message, fate: Fate, partition: u32) -> Option<Outgoing<'_>> {
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
