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

use dedup::{ChangelogPoint, Index, Options};
use wire::Window;
use wire::changelog::{Genesis, Position, Record, checksum_of};
use wire::topic::EVENTS_INDEX;

use super::changelog::{Changelog, First, Tell, log_id};
use super::fault::Fault;
use super::positions::Positions;
use super::remaking;

/// An index at the end of its changelog.
#[derive(Debug)]
pub struct Restored {
    /// The index.
    pub index: Index,
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

impl Changelog<'_> {
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
        Index::destroy(dir)?;
        let restored = self.replay(dir, options, genesis, beginning, tell)?;
        Ok(Restored { thrown_away: Some(mistrust), ..restored })
    }

    /// Refuses a changelog of which records are gone that the window still reaches. Retention takes only older ones, and
    /// leaves a checkpoint or a batch at the beginning; so does who cuts it, or makes it anew under a live worker.
    fn reaches_back(&self, window: Window, tell: Tell<'_>) -> Result<(), Fault> {
        let Some(First { clock_ms: begins_ms, is_genesis: false }) = self.first(tell)? else { return Ok(()) };
        let clock_ms = self.newest(tell)?.map_or(begins_ms, |newest| newest.clock_ms);
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

    fn replay(
        &self,
        dir: &Path,
        options: &Options,
        genesis: Genesis,
        beginning: Beginning,
        tell: Tell<'_>,
    ) -> Result<Restored, Fault> {
        let mut index = Index::open(dir, &genesis, log_id(self.facts, self.partition), options)?;
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
}
