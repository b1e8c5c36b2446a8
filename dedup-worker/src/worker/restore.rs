//! Bringing an index to the end of its changelog.
//!
//! | what is found | what follows |
//! |---|---|
//! | the changelog holds the record that the index says it ends with | only what comes after it is replayed |
//! | it does not: cut back, restored, made anew, expired | the index is thrown away and made from the first record |
//! | records, but neither a genesis nor a checkpoint | refused: nobody can say what the digests mean |
//! | neither an index nor the changelog's beginning, and the window reaches back behind its first record | refused: records of the window are gone |
//! | a newest record with the [mark](super::remaking) | refused: a rebuild of the changelog was interrupted |
//! | fewer records than the end that was measured, after all waiting | a fault with a name, never "go on" |

use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use wire::Window;
use wire::changelog::{Genesis, Position, Record, checksum_of};
use wire::topic::EVENTS_INDEX;
use xxhash_rust::xxh3::xxh3_128;

use super::fault::Fault;
use super::positions::Positions;
use super::remaking;
use crate::kafka::{Cluster, Isolation, LogReader, Read, TopicFacts, Watermarks};
use crate::{ChangelogPoint, Options, Partition};

/// Time without any progress after which the end that was measured counts as unreachable. Longer than a transaction may
/// stay open, since an open one hides everything behind it.
const STALL: Duration = Duration::from_secs(90);
/// Time of one poll, and so until a stop is seen.
const POLL: Duration = Duration::from_millis(50);

/// Offsets before the end among which the newest record is looked for first: records and the marks of transactions.
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

/// An index at the end of its changelog.
#[derive(Debug)]
pub struct Restored {
    /// The index.
    pub index: Partition,
    /// What its changelog began with.
    pub genesis: Genesis,
    /// How far the inputs have been read.
    pub positions: Positions,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// Why the index that was there was thrown away, if it was.
    pub thrown_away: Option<String>,
    /// Records replayed.
    pub records: u64,
}

/// What is to be done where records of the window are gone from the changelog's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It is refused: what they published would be published again.
    MustBeThere,
    /// What is left is taken for all there was.
    MayBeGone,
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

    /// Opens the index in `dir` of the changelog that began with `genesis`, and replays what it lacks.
    ///
    /// # Errors
    /// [`Fault`]; see the table above.
    pub fn restore(
        &self,
        dir: &Path,
        options: &Options,
        genesis: Genesis,
        beginning: Beginning,
        tell: Tell<'_>,
    ) -> Result<Restored, Fault> {
        let mistrust = match self.replay(dir, options, genesis, beginning, tell) {
            Ok(restored) => return Ok(restored),
            Err(Fault::Index(reason)) => reason,
            Err(fault) => return Err(fault),
        };
        Partition::destroy(dir)?;
        let restored = self.replay(dir, options, genesis, beginning, tell)?;
        Ok(Restored { thrown_away: Some(mistrust), ..restored })
    }

    /// Refuses a changelog of which records are gone that the window still reaches. Retention takes only older ones, and
    /// leaves a checkpoint or a batch at the beginning; so does who cuts it, or makes it anew under a live worker.
    fn reaches_back(&self, window: Window, tell: Tell<'_>) -> Result<(), Fault> {
        let mut begins_ms = None;
        self.read(self.marks.low, tell, &mut |_, _, record| {
            begins_ms = (!matches!(record, Record::Genesis(_))).then_some(clock_of(&record));
            Ok(false)
        })?;
        let Some(begins_ms) = begins_ms else { return Ok(()) };
        let clock_ms = self.newest_clock_ms(tell)?.unwrap_or(begins_ms);
        if window.at(begins_ms) <= window.oldest(clock_ms) {
            return Ok(());
        }
        Err(Fault::Refused(format!(
            "{EVENTS_INDEX} {} begins in the middle of the window, at {}: what was published before is not known any more, \
             and would be published again. Make it again with `dedup-worker rebuild --from events.deduped`, or go on with \
             what is left with `dedup-worker run --begin-anew`",
            self.partition, self.marks.low
        )))
    }

    /// The window's clock at the newest record, without reading the whole.
    fn newest_clock_ms(&self, tell: Tell<'_>) -> Result<Option<i64>, Fault> {
        let Watermarks { low, high } = self.marks;
        let mut offsets = TAIL_OFFSETS;
        loop {
            let (from, mut newest) = (high.saturating_sub(offsets).max(low), None);
            self.read(from, tell, &mut |_, _, record| {
                newest = newest.max(Some(clock_of(&record)));
                Ok(true)
            })?;
            if newest.is_some() || from == low {
                return Ok(newest);
            }
            offsets *= 2;
        }
    }

    fn replay(
        &self,
        dir: &Path,
        options: &Options,
        genesis: Genesis,
        beginning: Beginning,
        tell: Tell<'_>,
    ) -> Result<Restored, Fault> {
        let mut index = Partition::open(dir, &genesis, log_id(self.facts, self.partition), options)?;
        let mistrust = |reason: &str| Fault::Index(reason.into());
        // From the last record that is covered on: it proves that this is the same changelog, and it has the positions.
        let covered = index.replay_from();
        let from = match covered {
            None => self.marks.low,
            Some(end) if end.next_offset > self.marks.high => return Err(mistrust("it is ahead of the changelog")),
            Some(end) if end.next_offset <= self.marks.low => {
                return Err(mistrust("the changelog begins after its end"));
            }
            Some(end) => end.next_offset - 1,
        };
        // Before anything is entered: an index that covers something is proof that all was there.
        if covered.is_none() && beginning == Beginning::MustBeThere {
            self.reaches_back(genesis.window, tell)?;
        }
        let mut positions: Vec<Position> = Vec::new();
        let mut clock_ms = 0;
        let mut records = 0;
        let mut proof = covered;
        let mut apply = |offset: u64, bytes: &[u8], record: Record<'_>| {
            let next = ChangelogPoint { next_offset: offset + 1, leader_epoch: -1, checksum: checksum_of(bytes) };
            if let Some(end) = proof.take()
                && (end.next_offset, end.checksum) != (next.next_offset, next.checksum)
            {
                return Err(mistrust("the changelog does not hold the record that it ends with"));
            }
            records += 1;
            match record {
                Record::Genesis(found) => {
                    self.is_same(&genesis, &found)?;
                    clock_ms = clock_ms.max(found.created_ms);
                    index.advance(next, found.created_ms);
                }
                Record::Checkpoint(found) => {
                    self.is_same(&genesis, &found.genesis)?;
                    clock_ms = clock_ms.max(found.clock_ms);
                    index.advance(next, found.clock_ms);
                    positions = found.positions;
                }
                Record::Batch(batch) => {
                    clock_ms = clock_ms.max(batch.clock_ms);
                    index.replay(offset, next, &batch)?;
                    index.maintain(batch.clock_ms)?;
                    positions = batch.positions;
                }
            }
            Ok(true)
        };
        self.read(from, tell, &mut apply)?;
        if proof.is_some() {
            return Err(mistrust("the changelog does not hold the record that it ends with"));
        }
        remaking::refuse_unfinished(self.partition, &positions)?;
        let positions = Positions::from_record(&positions);
        Ok(Restored { index, genesis, positions, clock_ms, thrown_away: None, records })
    }

    fn is_same(&self, expected: &Genesis, found: &Genesis) -> Result<(), Fault> {
        if expected == found {
            return Ok(());
        }
        Err(Fault::Refused(format!(
            "{EVENTS_INDEX} {} holds two different geneses: {expected:?} and {found:?}",
            self.partition
        )))
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
        let reader = LogReader::open(self.cluster, EVENTS_INDEX, self.partition, from, Isolation::Committed)?;
        let mut moved = Instant::now();
        loop {
            match reader.read(POLL) {
                Read::Record(message) => {
                    let offset = message.offset() as u64;
                    if offset >= end {
                        return Ok(());
                    }
                    let bytes = message.payload().unwrap_or_default();
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
