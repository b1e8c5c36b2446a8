//! The way to a lane's log: one transaction after the other. Each consumes it, and gives it back with a confirmed commit
//! alone.

use std::time::Instant;

use changelog::Point;
use kafka::{Delivered, Failure, Fenced, Headers, Kind, Outgoing, Prepared};

use crate::work::Batch;
use crate::{Spec, Step};

/// A record of the log that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where the log stands after it.
    pub point: Point,
    /// Its stamp, by a clock that is not this host's; `None` of a shadow, which commits nothing.
    pub stamp: Option<Stamp>,
}

/// What the broker's clock showed, and when this host heard of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since the Unix epoch; `None` where the broker does not say.
    pub appended_ms: Option<i64>,
    /// By the monotonic clock.
    pub heard: Instant,
}

/// Where committed records go.
#[derive(Debug)]
pub(crate) enum Line {
    /// To the lane's log.
    Log(LogWriter),
    /// Nowhere; the offset that the next record would have.
    Shadow(u64),
}

/// The one that may write to a lane's log, as long as nobody takes its fence.
#[derive(Debug)]
pub struct LogWriter {
    spec: &'static Spec,
    lane: u32,
    producer: Fenced,
    /// Where the log ends, as far as is known. A record that lands before it lands in another log, and is taken back.
    end: u64,
}

impl Line {
    /// Takes the fence with a client that was made before.
    pub(crate) fn fence(spec: &'static Spec, lane: u32, prepared: Prepared) -> Result<Self, Failure> {
        Ok(Self::Log(LogWriter { spec, lane, producer: prepared.take()?, end: 0 }))
    }

    /// Says where the log was found to end.
    pub(crate) fn ends_at(&mut self, offset: u64) {
        match self {
            Self::Log(fence) => fence.end = offset,
            Self::Shadow(next) => *next = offset,
        }
    }

    /// Writes a batch in one transaction. `scratch` is overwritten.
    pub(crate) fn batch<B: Batch>(self, batch: &B, scratch: &mut Vec<u8>) -> Result<(Self, Committed), Failure> {
        match self {
            Self::Shadow(offset) => Ok(shadow(offset)),
            Self::Log(mut fence) => {
                fence.producer.begin()?;
                let delivered = fence.producer.send(batch.outputs())?;
                (fence.spec.at)(Step::Produced);
                scratch.clear();
                batch.record(&delivered, scratch);
                fence.commit(scratch).map(|(fence, at)| (Self::Log(fence), at))
            }
        }
    }

    /// Writes a record alone.
    pub(crate) fn record(self, record: &[u8]) -> Result<(Self, Committed), Failure> {
        match self {
            Self::Shadow(offset) => Ok(shadow(offset)),
            Self::Log(mut fence) => {
                fence.producer.begin()?;
                fence.commit(record).map(|(fence, at)| (Self::Log(fence), at))
            }
        }
    }
}

/// What a shadow decides is only counted, at offsets of its own.
fn shadow(offset: u64) -> (Line, Committed) {
    let point = Point { next_offset: offset + 1, leader_epoch: -1, checksum: 0 };
    (Line::Shadow(offset + 1), Committed { point, stamp: None })
}

impl LogWriter {
    /// Takes the fence: nobody who had it before can commit any more.
    ///
    /// # Errors
    /// Where the cluster does not answer in time or refuses.
    pub fn take(spec: &'static Spec, lane: u32) -> Result<Self, Failure> {
        let producer = Fenced::take(&spec.cluster, &spec.transactional_id(lane), spec.transaction_max)?;
        Ok(Self { spec, lane, producer, end: 0 })
    }

    /// Writes records in one transaction.
    ///
    /// # Errors
    /// Anything but a confirmed commit; there is no writer any more.
    pub fn write(mut self, records: &[Vec<u8>]) -> Result<Self, Failure> {
        let Some((last, before)) = records.split_last() else { return Ok(self) };
        self.producer.begin()?;
        let (spec, lane) = (self.spec, self.lane);
        self.producer.send(before.iter().map(|record| outgoing(spec, lane, record)))?;
        self.commit(last).map(|(writer, _)| writer)
    }

    /// Offset behind the record that was committed last.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds the log's record to the transaction that was begun, and commits.
    fn commit(self, record: &[u8]) -> Result<(Self, Committed), Failure> {
        let Self { spec, lane, mut producer, end } = self;
        let delivered = producer.send([outgoing(spec, lane, record)])?;
        let Delivered { changelog, changelog_appended_ms: appended_ms, .. } = delivered;
        let stamp = Some(Stamp { appended_ms, heard: Instant::now() });
        let offset = changelog.ok_or_else(|| Failure::new("produce", "the log's record was not acknowledged"))?;
        if offset < end {
            let what = "the log's end went back; it is another one by the same name";
            return Err(Failure::new("produce", format!("{} {lane}, from {end} to {offset}: {what}", spec.topic)));
        }
        (spec.at)(Step::BeforeCommit);
        let producer = producer.commit()?;
        (spec.at)(Step::Committed);
        // Records of a log end with their checksum.
        let checksum = record.last_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let point = Point { next_offset: offset + 1, leader_epoch: -1, checksum };
        Ok((Self { spec, lane, producer, end: offset + 1 }, Committed { point, stamp }))
    }
}

fn outgoing<'r>(spec: &Spec, lane: u32, record: &'r [u8]) -> Outgoing<'r> {
    let (kind, headers) = (Kind::Changelog, Headers::These(&[]));
    Outgoing { kind, topic: spec.log, partition: Some(lane), key: &[], value: record, headers }
}
