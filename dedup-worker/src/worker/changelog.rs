//! The changelog of one partition, read from Kafka.

use std::time::{Duration, Instant};

use kafka::{Cluster, Isolation, Read, Reader, TopicFacts, Watermarks};
use wire::changelog::{Genesis, Record};
use wire::topic::EVENTS_INDEX;
use xxhash_rust::xxh3::xxh3_128;

use super::fault::Fault;
use super::positions::Positions;

/// Time without any progress after which the end that was measured counts as unreachable. Longer than a transaction may
/// stay open, since an open one hides everything behind it.
const STALL: Duration = Duration::from_secs(90);
/// Time of one poll, and so until a stop is seen.
const POLL: Duration = Duration::from_millis(50);

/// Offsets before the end among which the newest record is looked for first: records and the marks of transactions,
/// aborted ones included.
const TAIL_OFFSETS: u64 = 64;

/// The changelog of one partition, as it was when its end was measured.
#[derive(Debug, Clone, Copy)]
pub struct Changelog<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Which topic it is.
    pub facts: &'a TopicFacts,
    /// Which partition.
    pub partition: u32,
    /// Its ends.
    pub marks: Watermarks,
}

/// What a changelog begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// Whether it is the genesis: nothing came before.
    pub is_genesis: bool,
}

/// What a changelog's newest record says.
#[derive(Debug)]
pub struct Newest {
    /// How far the inputs have been read.
    pub positions: Positions,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Where it began.
    pub from: u64,
    /// Offset of the changelog reached.
    pub offset: u64,
    /// Offset to be reached.
    pub end: u64,
    /// Identities entered since it began.
    pub digests: u64,
}

/// What is told of the way, and whether to go on.
pub type Tell<'a> = &'a mut dyn FnMut(Progress) -> Result<(), Fault>;

/// Is handed a record, with its offset and its bytes, and says whether to go on.
pub type Apply<'a> = &'a mut dyn FnMut(u64, &[u8], Record<'_>) -> Result<bool, Fault>;

/// 16 bytes that no other changelog has, nor another partition of this one.
pub fn log_id(facts: &TopicFacts, partition: u32) -> [u8; 16] {
    let name = [facts.cluster_id.as_bytes(), &facts.topic_id, &partition.to_le_bytes()].concat();
    xxh3_128(&name).to_le_bytes()
}

/// The window's clock at a record.
fn clock_of(record: &Record<'_>) -> i64 {
    match record {
        Record::Genesis(genesis) => genesis.created_ms,
        Record::Batch(batch) => batch.clock_ms,
        Record::Checkpoint(checkpoint) => checkpoint.clock_ms,
    }
}

impl Changelog<'_> {
    /// The first genesis or checkpoint, whichever comes first; `None` where nothing was ever committed, although there
    /// may be offsets that an aborted genesis took.
    ///
    /// # Errors
    /// [`Fault::Refused`] where there are records without one, or where they have been deleted.
    pub fn genesis(&self, tell: Tell<'_>) -> Result<Option<Genesis>, Fault> {
        let mut genesis = None;
        let mut is_empty = self.marks.low == 0;
        self.read(self.marks.low, tell, &mut |_, _, record| {
            is_empty = false;
            match record {
                Record::Genesis(found) => genesis = Some(found),
                Record::Checkpoint(found) => genesis = Some(found.genesis),
                Record::Batch(_) => return Ok(true),
            }
            Ok(false)
        })?;
        if genesis.is_some() || is_empty {
            return Ok(genesis);
        }
        let Watermarks { low, high } = self.marks;
        let partition = self.partition;
        Err(Fault::Refused(format!(
            "{EVENTS_INDEX} {partition} holds neither a genesis nor a checkpoint between {low} and {high}: what was \
             published is not known any more, and would be published again. Make it again with `dedup-worker rebuild \
             --from events.deduped`"
        )))
    }

    /// Its first record; `None` where there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn first(&self, tell: Tell<'_>) -> Result<Option<First>, Fault> {
        let mut first = None;
        self.read(self.marks.low, tell, &mut |_, _, record| {
            first = Some(First { clock_ms: clock_of(&record), is_genesis: matches!(record, Record::Genesis(_)) });
            Ok(false)
        })?;
        Ok(first)
    }

    /// Its newest record, without reading the whole; `None` where there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn newest(&self, tell: Tell<'_>) -> Result<Option<Newest>, Fault> {
        let Watermarks { low, high } = self.marks;
        let mut offsets = TAIL_OFFSETS;
        loop {
            let (from, mut newest) = (high.saturating_sub(offsets).max(low), None);
            self.read(from, tell, &mut |_, _, record| {
                let clock_ms = clock_of(&record);
                let positions = match record {
                    Record::Genesis(_) => Vec::new(),
                    Record::Batch(batch) => batch.positions,
                    Record::Checkpoint(checkpoint) => checkpoint.positions,
                };
                newest = Some(Newest { positions: Positions::from_record(&positions), clock_ms });
                Ok(true)
            })?;
            if newest.is_some() || from == low {
                return Ok(newest);
            }
            offsets *= 2;
        }
    }

    /// Hands every record from `from` to the end that was measured to `apply`, until it says `false`.
    ///
    /// # Errors
    /// As `apply`; [`Fault::Again`] where the end is not reached; [`Fault::Refused`] for a damaged record.
    pub fn read(&self, from: u64, tell: Tell<'_>, apply: Apply<'_>) -> Result<(), Fault> {
        let end = self.marks.high;
        let mut progress = Progress { from, offset: from, end, digests: 0 };
        if from >= end {
            return Ok(());
        }
        let reader = Reader::open(self.cluster, EVENTS_INDEX, self.partition, from, Isolation::Committed)?;
        let mut moved = Instant::now();
        loop {
            match reader.read(POLL) {
                Read::Record(message) => {
                    let offset = message.offset();
                    if offset >= end {
                        return Ok(());
                    }
                    let bytes = message.value().unwrap_or_default();
                    let record = self.decode(offset, bytes)?;
                    if let Record::Batch(batch) = &record {
                        progress.digests += batch.entries.len() as u64;
                    }
                    if !apply(offset, bytes, record)? {
                        return Ok(());
                    }
                    progress.offset = offset + 1;
                    moved = Instant::now();
                    tell(progress)?;
                }
                Read::End | Read::Nothing => tell(progress)?,
                Read::OutOfRange => {
                    return Err(Fault::Again(format!("{EVENTS_INDEX} {} was cut while it was read", self.partition)));
                }
                Read::Trouble(failure) => {
                    tracing::debug!(%failure, "reading the changelog");
                    tell(progress)?;
                }
            }
            if progress.offset + 1 >= end || moved.elapsed() > POLL {
                // The marks of transactions at the end are no records; the position passes them.
                if reader.position().is_some_and(|position| position >= end) {
                    return Ok(());
                }
            }
            if moved.elapsed() > STALL {
                let at = reader.position().unwrap_or(progress.offset);
                let partition = self.partition;
                return Err(Fault::Again(format!(
                    "the end of {EVENTS_INDEX} {partition} was not reached: it is at {end}, reading stands at {at}"
                )));
            }
        }
    }

    fn decode<'b>(&self, offset: u64, bytes: &'b [u8]) -> Result<Record<'b>, Fault> {
        let damaged = |reason: String| {
            Fault::Refused(format!(
                "{EVENTS_INDEX} {} is damaged at {offset}: {reason}; make it again with `dedup-worker rebuild --from \
                 events.deduped`",
                self.partition
            ))
        };
        match Record::decode(bytes) {
            Ok((partition, record)) if partition == self.partition => Ok(record),
            Ok((other, _)) => Err(damaged(format!("the record is partition {other}'s"))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}
