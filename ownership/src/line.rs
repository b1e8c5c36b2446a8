//! The way to a lane's log: one transaction after the other. Each consumes it, and gives it back with a confirmed commit
//! alone.

use std::thread;
use std::time::{Duration, Instant};

use changelog::Point;
use kafka::{Delivered, Failure, Fenced, Headers, Kind, Outgoing, Prepared};
use wire::changelog::{Chain, Link, checksum_of};

use crate::work::Batch;
use crate::{Spec, Step};

/// Least time between a commit and the next transaction. The broker is still ending the one before, and answers whoever
/// begins at once that it has to wait; librdkafka does so for 20 ms (2.12.1, measured: up to 0.9 times a transaction back to
/// back, and never behind 3 ms).
const PAUSE_MIN: Duration = Duration::from_millis(3);

/// A record of the log that is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where the log stands after it.
    pub point: Point,
    /// What the next record is to name.
    pub chain: Chain,
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
#[expect(clippy::large_enum_variant, reason = "a lane has one, and moves it once a transaction")]
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
    /// What the next record is to name.
    chain: Chain,
    /// When a transaction may begin again.
    rested: Instant,
}

impl Line {
    /// Takes the fence with a client that was made before.
    pub(crate) fn fence(spec: &'static Spec, lane: u32, prepared: Prepared) -> Result<Self, Failure> {
        Ok(Self::Log(LogWriter::new(spec, lane, prepared.take()?)))
    }

    /// Says where the log was found to end, and what the next record is to name.
    pub(crate) fn ends_at(&mut self, offset: u64, chain: Chain) {
        match self {
            Self::Log(fence) => (fence.end, fence.chain) = (offset, chain),
            Self::Shadow(next) => *next = offset,
        }
    }

    /// Writes a batch in one transaction. `scratch` is overwritten.
    pub(crate) fn batch<B: Batch>(self, batch: &B, scratch: &mut Vec<u8>) -> Result<(Self, Committed), Failure> {
        match self {
            Self::Shadow(offset) => Ok(shadow(offset)),
            Self::Log(fence) => {
                scratch.clear();
                batch.record(fence.chain, scratch);
                let committed = fence.commit(batch.outputs(), scratch, batch.has_all_positions());
                committed.map(|(fence, at)| (Self::Log(fence), at))
            }
        }
    }

    /// Writes a record alone, which has every position: a genesis or a checkpoint.
    pub(crate) fn record(self, record: &[u8]) -> Result<(Self, Committed), Failure> {
        match self {
            Self::Shadow(offset) => Ok(shadow(offset)),
            Self::Log(fence) => fence.commit([], record, true).map(|(fence, at)| (Self::Log(fence), at)),
        }
    }
}

/// What a shadow decides is only counted, at offsets of its own.
fn shadow(offset: u64) -> (Line, Committed) {
    let point = Point { next_offset: offset + 1, leader_epoch: -1, checksum: 0 };
    (Line::Shadow(offset + 1), Committed { point, chain: Chain::default(), stamp: None })
}

impl LogWriter {
    fn new(spec: &'static Spec, lane: u32, producer: Fenced) -> Self {
        Self { spec, lane, producer, end: 0, chain: Chain::default(), rested: Instant::now() }
    }

    /// Takes the fence: nobody who had it before can commit any more.
    ///
    /// # Errors
    /// Where the cluster does not answer in time or refuses.
    pub fn take(spec: &'static Spec, lane: u32) -> Result<Self, Failure> {
        let producer = Fenced::take(&spec.cluster, &spec.transactional_id(lane), spec.transaction_max)?;
        Ok(Self::new(spec, lane, producer))
    }

    /// Writes a record in a transaction of its own. `encode` is given what it is to name, and appends it.
    ///
    /// # Errors
    /// Anything but a confirmed commit; there is no writer any more.
    pub fn write(self, has_all_positions: bool, encode: impl FnOnce(Chain, &mut Vec<u8>)) -> Result<Self, Failure> {
        let mut record = Vec::new();
        encode(self.chain, &mut record);
        self.commit([], &record, has_all_positions).map(|(writer, _)| writer)
    }

    /// Offset behind the record that was committed last.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Commits the outputs and the log's record in one transaction.
    fn commit<'o>(
        self,
        outputs: impl IntoIterator<Item = Outgoing<'o>>,
        record: &'o [u8],
        has_all_positions: bool,
    ) -> Result<(Self, Committed), Failure> {
        let Self { spec, lane, mut producer, end, mut chain, rested } = self;
        thread::sleep(rested.saturating_duration_since(Instant::now()));
        producer.begin()?;
        let delivered = producer.send(outputs.into_iter().chain([outgoing(spec, lane, record)]))?;
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
        let (end, checksum) = (offset + 1, checksum_of(record));
        chain.before = Some(Link { end, checksum });
        if has_all_positions {
            chain.checkpoint = Some(end);
        }
        let point = Point { next_offset: end, leader_epoch: -1, checksum };
        let rested = Instant::now() + PAUSE_MIN;
        Ok((Self { spec, lane, producer, end, chain, rested }, Committed { point, chain, stamp }))
    }
}

fn outgoing<'r>(spec: &Spec, lane: u32, record: &'r [u8]) -> Outgoing<'r> {
    let (kind, headers) = (Kind::Changelog, Headers::These(&[]));
    Outgoing { kind, topic: spec.log, partition: Some(lane), key: &[], value: record, headers }
}
