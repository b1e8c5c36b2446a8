//! The index, and the batches decided against it that the changelog does not have yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use changelog::{LogId, Point};
use wire::changelog::{Batch, Genesis};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::{Bucket, Digest, Window};

use crate::batch::{DecidedBatch, Pending};
use crate::decide::{Verdict, verdict};
use crate::error::IndexError;
use crate::filter::blocked::Probe;
use crate::fingerprint::{Entry, Fingerprint};
use crate::home::{self, Home};
use crate::open::Ascending as _;
use crate::open::pile::Pile;
use crate::open::table::OpenTable;
use crate::options::Options;
use crate::sealed::{Reads, Sealed, Sealing};
use crate::stats::{Maintenance, Stats};
use crate::store;

/// Batches decided and not committed: one that commits, one that is decided meanwhile, and room for a deeper pipeline.
pub const PENDING_BATCHES_MAX: usize = 8;
/// How many candidates ahead of the one that is looked at memory is asked for. Asking for many at once and then looking
/// at them took twice as long a batch: what the processor cannot remember having asked for comes late. 4 to 32 differ
/// little.
const PREFETCH_CANDIDATES: usize = 8;

/// An event to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its identity.
    pub digest: Digest,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
}

/// What [`Index::replay`] did with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Its entries were added.
    Applied,
    /// It had been applied already, and was skipped.
    Covered,
}

/// The dedup index of one lane.
///
/// The changelog is the truth and this is its cache: [`decide`](Self::decide) gives verdicts, the caller writes output
/// and changelog, [`commit`](Self::commit) says that they are there. After anything but a confirmed commit the caller
/// [`discard`](Self::discard)s, and replays what the changelog turned out to have.
///
/// No clock is read here and no thread is started. Every call is made by one owner, which also calls
/// [`maintain`](Self::maintain) after every few commits.
pub struct Index {
    window: Window,
    options: Options,
    open: OpenTable,
    /// Open as well: what was replayed since the last question.
    replayed: Pile,
    sealed: Sealed,
    /// Decided and not committed, the oldest first. Their entries are in the open table.
    pending: VecDeque<Pending>,
    next_number: u64,
    /// The changelog as far as the open table and the runs have it.
    applied: Option<Point>,
    /// The window's clock there.
    applied_clock_ms: i64,
    /// The clock's bucket when the first record since the last run was applied.
    open_since: Option<Bucket>,
    /// A batch was refused for want of memory.
    refused: bool,
    spare_pending: Vec<Pending>,
    spare_entries: Vec<Vec<(Digest, Bucket)>>,
    reads: Reads,
    counts: Stats,
}

impl Index {
    /// Opens the index in `dir`, or makes an empty one, for the changelog that began with `genesis` and is named by
    /// `log_id`. Reads every sealed run once,
    /// about 30 ns an identity. The caller then replays the changelog from [`replay_from`](Self::replay_from).
    ///
    /// # Errors
    /// [`IndexError::Foreign`] where the directory belongs to another log or genesis, [`IndexError::Locked`] where it
    /// is open already, [`IndexError::Damaged`] where a run is not as it was written.
    pub fn open(dir: &Path, genesis: &Genesis, log_id: LogId, options: &Options) -> Result<Self, IndexError> {
        let sealed = Sealed::open(Home::open(dir, genesis, log_id)?, options.open_digests_max, options.is_asked)?;
        let applied = sealed.covered();
        let applied_clock_ms = sealed.covered_clock_ms().unwrap_or(0);
        Ok(Self {
            window: genesis.window,
            options: *options,
            open: OpenTable::new(options.open_digests_max),
            replayed: Pile::default(),
            sealed,
            pending: VecDeque::new(),
            next_number: 0,
            applied,
            applied_clock_ms,
            open_since: None,
            refused: false,
            spare_pending: Vec::new(),
            spare_entries: Vec::new(),
            reads: Reads::default(),
            counts: Stats::default(),
        })
    }

    /// Removes the index in `dir`; the next open makes an empty one. Safe to repeat after a crash.
    ///
    /// # Errors
    /// [`IndexError::Locked`] where it is open, [`IndexError::Foreign`] where `dir` holds something that is no index,
    /// [`IndexError::Io`] where files cannot be removed.
    pub fn destroy(dir: &Path) -> Result<(), IndexError> {
        home::destroy(dir, store::is_free)
    }

    /// The end of what sealed runs cover: the replay begins with the record at its `next_offset`, after the record
    /// before it was found to have its checksum. `None`: no run, the replay begins with the changelog's first record.
    pub fn replay_from(&self) -> Option<Point> {
        self.sealed.covered()
    }

    /// The end of what has been applied, sealed or not.
    pub fn applied(&self) -> Option<Point> {
        self.applied
    }

    /// Applies the changelog's record at `offset`, after which the changelog stands at `next`. Records come in their
    /// order; those that have been applied before are skipped, so that a replay may begin anywhere before the end of
    /// what is covered.
    ///
    /// # Errors
    /// [`IndexError::Full`] where [`maintain`](Self::maintain) has to be called first, [`IndexError::Damaged`] where
    /// what is covered ends inside the record. The record is not applied then.
    ///
    /// # Panics
    /// Where decided batches have been neither committed nor discarded, or `next` is not behind `offset`.
    pub fn replay(&mut self, offset: u64, next: Point, batch: &Batch<'_>) -> Result<Replay, IndexError> {
        assert!(self.pending.is_empty(), "decided batches are committed or discarded before a replay");
        assert!(next.next_offset > offset, "a record ends behind its offset");
        let end = self.applied.map_or(0, |point| point.next_offset);
        if next.next_offset <= end {
            return Ok(Replay::Covered);
        }
        if offset < end {
            return Err(IndexError::Damaged(format!("the index ends at {end}, inside the record at {offset}")));
        }
        self.make_sure_of_room(batch.entries.len())?;
        self.replayed
            .push_all(batch.entries.iter().map(|(digest, bucket)| Entry::new(Fingerprint::of(digest), bucket)));
        self.advance(next, batch.clock_ms);
        Ok(Replay::Applied)
    }

    /// Says that the changelog has been read or written up to `next` by a record that holds no identities, a genesis or
    /// a checkpoint, at `clock_ms`. Nothing happens where that has been applied before.
    pub fn advance(&mut self, next: Point, clock_ms: i64) {
        if self.applied.is_some_and(|point| next.next_offset <= point.next_offset) {
            return;
        }
        self.applied = Some(next);
        self.applied_clock_ms = self.applied_clock_ms.max(clock_ms);
        self.open_since.get_or_insert(self.window.at(self.applied_clock_ms));
    }

    /// Decides a batch at `clock_ms`, and puts one verdict for each candidate into `verdicts`, whose content is replaced. An
    /// event that claims to be of later than the day after `newest_ms` is entered as of that day. Both times are
    /// milliseconds since the Unix epoch. What is published counts as known from here on, for repeats in this batch
    /// and in later ones.
    ///
    /// # Errors
    /// [`IndexError::Full`] where too much is open or pending; [`IndexError::Damaged`] or [`IndexError::Store`] where
    /// a run could not be read. Nothing is decided then, and `verdicts` is empty.
    ///
    /// # Panics
    /// Where there are more candidates than one changelog record holds, [`CHANGELOG_ENTRIES_MAX`], or the index was opened
    /// [to be filled](Options::is_asked).
    pub fn decide(
        &mut self,
        candidates: &[Candidate],
        clock_ms: i64,
        newest_ms: i64,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<DecidedBatch, IndexError> {
        assert!(candidates.len() <= CHANGELOG_ENTRIES_MAX, "a batch has at most {CHANGELOG_ENTRIES_MAX} candidates");
        assert!(self.options.is_asked, "the index was opened to be filled");
        verdicts.clear();
        if self.pending.len() >= PENDING_BATCHES_MAX {
            let (count, count_max) = (self.pending.len() + 1, PENDING_BATCHES_MAX);
            return Err(IndexError::Full { what: "uncommitted batches", count, count_max });
        }
        self.make_sure_of_room(candidates.len())?;
        self.enter_replayed();

        let mut pending = self.spare_pending.pop().unwrap_or_default();
        pending.begin(self.next_number, clock_ms);
        let mut entries = self.spare_entries.pop().unwrap_or_default();
        entries.clear();
        if let Err(error) = self.decide_each(candidates, (clock_ms, newest_ms), verdicts, &mut pending, &mut entries) {
            pending.undo(&mut self.open);
            self.spare_pending.push(pending);
            self.spare_entries.push(entries);
            verdicts.clear();
            return Err(error);
        }
        let published = |verdict| verdicts.iter().filter(|one| **one == verdict).count() as u64;
        self.counts.candidates += candidates.len() as u64;
        self.counts.duplicates += published(Verdict::Duplicate);
        self.counts.expired += published(Verdict::Expired);
        self.pending.push_back(pending);
        self.next_number += 1;
        Ok(DecidedBatch { number: self.next_number - 1, clock_ms, entries })
    }

    fn decide_each(
        &mut self,
        candidates: &[Candidate],
        (clock_ms, newest_ms): (i64, i64),
        verdicts: &mut Vec<Verdict>,
        pending: &mut Pending,
        entries: &mut Vec<(Digest, Bucket)>,
    ) -> Result<(), IndexError> {
        let oldest = self.window.oldest(clock_ms);
        let mut probes = [Probe::default(); PREFETCH_CANDIDATES];
        for ahead in 0..candidates.len() + PREFETCH_CANDIDATES {
            let place = ahead % PREFETCH_CANDIDATES;
            if let Some(behind) = ahead.checked_sub(PREFETCH_CANDIDATES) {
                let candidate = &candidates[behind];
                let fingerprint = Fingerprint::of(candidate.digest);
                let mut known = self.open.find(fingerprint).filter(|bucket| *bucket >= oldest);
                if known.is_some() {
                    self.counts.open_hits += 1;
                } else {
                    known = self.sealed.find_kept(fingerprint, &probes[place], oldest, &mut self.reads)?;
                }
                let verdict = verdict(self.window, known, candidate.received_at_ms, clock_ms);
                verdicts.push(verdict);
                if verdict.is_published() {
                    let bucket = self.window.bucket_of(candidate.received_at_ms, clock_ms, newest_ms);
                    pending.insert(&mut self.open, Entry::new(fingerprint, bucket));
                    entries.push((candidate.digest, bucket));
                }
            }
            if let Some(candidate) = candidates.get(ahead) {
                let fingerprint = Fingerprint::of(candidate.digest);
                probes[place] = Probe::new(fingerprint);
                self.open.prefetch(fingerprint);
                self.sealed.prefetch(&probes[place]);
            }
        }
        Ok(())
    }

    /// Says that the oldest decided batch is in the changelog, which now stands at `next`.
    ///
    /// # Panics
    /// Where `decided` is not the oldest one: batches commit in the order in which they were decided.
    pub fn commit(&mut self, decided: DecidedBatch, next: Point) {
        let pending = self.pending.pop_front().expect("no batch is decided");
        assert_eq!(pending.number, decided.number, "batches commit in the order in which they were decided");
        self.advance(next, pending.clock_ms);
        self.spare_pending.push(pending);
        self.spare_entries.push(decided.entries);
    }

    /// Forgets every decided batch that has not been committed, as if none had been decided.
    pub fn discard(&mut self) {
        while let Some(pending) = self.pending.pop_back() {
            pending.undo(&mut self.open);
            self.spare_pending.push(pending);
        }
    }

    /// Housekeeping at `clock_ms`: drops runs that have expired, and seals what is open where that is due, because
    /// there is enough of it or the clock's bucket has changed since the last run. Does at most one of either; sealing
    /// takes about 0.1 µs a digest. Uncommitted batches stay as they are.
    ///
    /// # Errors
    /// [`Remedy::Retry`](crate::Remedy::Retry) errors, above all of a full disk, leave every digest in memory and every
    /// verdict right; call again later.
    pub fn maintain(&mut self, clock_ms: i64) -> Result<Maintenance, IndexError> {
        let mut done = Maintenance::default();
        if !self.sealed.is_doubtful() {
            let dropped = self.sealed.drop_expired(self.window.oldest(clock_ms));
            done.runs_dropped = self.counted(dropped)?;
            self.counts.runs_dropped += u64::from(done.runs_dropped);
        }
        if self.is_sealing_due() {
            done = Maintenance { runs_dropped: done.runs_dropped, ..self.seal()? };
        } else if self.sealed.is_doubtful() {
            let loaded = self.sealed.load();
            self.counted(loaded)?;
        }
        Ok(done)
    }

    fn is_sealing_due(&self) -> bool {
        let committed = self.open_digests() - self.pending_digests();
        let turned = self.open_since.is_some_and(|since| since < self.window.at(self.applied_clock_ms));
        let unsealed = self.applied != self.sealed.covered();
        unsealed && (turned || self.refused || self.sealed.is_doubtful() || committed >= self.options.open_digests_max)
    }

    /// Seals what is open and committed, due or not, so that the next open replays nothing.
    ///
    /// # Errors
    /// As [`maintain`](Self::maintain).
    pub fn seal(&mut self) -> Result<Maintenance, IndexError> {
        let mut done = Maintenance::default();
        let Some(to) = self.applied.filter(|_| self.applied != self.sealed.covered()) else { return Ok(done) };
        // What the changelog does not have must not be in a run.
        for pending in self.pending.iter().rev() {
            pending.undo(&mut self.open);
        }
        let clock_ms = self.applied_clock_ms;
        let sealing = if self.open.len() == 0 {
            self.sealed.seal(&self.replayed.sort(), to, clock_ms)
        } else {
            self.enter_replayed();
            self.sealed.seal(&self.open, to, clock_ms)
        };
        // An earlier attempt that had worked after all may cover less than what is open by now.
        if self.sealed.covered() == self.applied {
            self.open.clear();
            self.replayed.clear();
            self.open_since = None;
            self.refused = false;
        }
        for pending in &mut self.pending {
            pending.redo(&mut self.open);
        }
        if let Sealing::Sealed { digests, bytes } = self.counted(sealing)? {
            self.counts.runs_sealed += 1;
            (done.digests_sealed, done.bytes_sealed) = (digests as u64, bytes);
        }
        Ok(done)
    }

    /// The newest bucket the index gives to an identity, kept or not, uncommitted batches included. For tools: a
    /// verdict also asks the clock.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] or [`IndexError::Store`] where a run could not be read.
    ///
    /// # Panics
    /// Where the index was opened [to be filled](Options::is_asked).
    pub fn lookup(&self, digest: Digest) -> Result<Option<Bucket>, IndexError> {
        assert!(self.options.is_asked, "the index was opened to be filled");
        let fingerprint = Fingerprint::of(digest);
        let open = self.open.find(fingerprint).max(self.replayed.find(fingerprint));
        Ok(open.max(self.sealed.find_newest(fingerprint)?))
    }

    /// The changelog offsets that each sealed run covers, the oldest run first. For tools.
    pub fn runs(&self) -> Vec<Range<u64>> {
        self.sealed.covered_by_run().collect()
    }

    /// Gives every identity of the run at a place of [`runs`](Self::runs), as [`kept_of`](Self::kept_of) it, to `visit`
    /// in ascending order, with its bucket. For tools.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] or [`IndexError::Store`] where the run could not be read.
    ///
    /// # Panics
    /// Where there is no such run.
    pub fn read_run(&self, place: usize, mut visit: impl FnMut(Digest, Bucket)) -> Result<(), IndexError> {
        self.sealed.scan(place, |entry| visit(entry.fingerprint().to_digest(), entry.bucket()))
    }

    /// What the index keeps of a digest: all but its lower 32 bits.
    pub fn kept_of(digest: Digest) -> Digest {
        Fingerprint::of(digest).to_digest()
    }

    /// What the index holds and has done.
    pub fn stats(&self) -> Stats {
        let (filter_bytes, run_filter_bytes) = self.sealed.filter_bytes();
        let (filter_keys, filter_keys_max) = self.sealed.filter_fill();
        Stats {
            sealed_digests: self.sealed.digests() as u64,
            sealed_bytes: self.sealed.file_bytes(),
            runs: self.sealed.run_count() as u64,
            open_digests: self.open_digests() as u64,
            open_bytes: (self.open.bytes() + self.replayed.bytes()) as u64,
            pending_digests: self.pending_digests() as u64,
            pending_batches: self.pending.len() as u64,
            filters: self.sealed.group_count() as u64,
            filter_keys: filter_keys as u64,
            filter_keys_max: filter_keys_max as u64,
            filter_bytes: filter_bytes as u64,
            run_filter_bytes: run_filter_bytes as u64,
            oldest_bucket: self.sealed.oldest_bucket().map(|bucket| bucket.0),
            filter_passes: self.reads.passed,
            store_reads: self.reads.groups,
            store_hits: self.reads.hits,
            ..self.counts
        }
    }

    /// Enters what was replayed into the table, where it can be asked for, and gives its memory back.
    fn enter_replayed(&mut self) {
        if self.replayed.len() == 0 {
            return;
        }
        let sorted = self.replayed.sort();
        self.open.make_room(sorted.len());
        for entry in sorted.iter() {
            self.open.insert(entry);
        }
        self.replayed = Pile::default();
    }

    /// Digests that no run has, decided batches included. A digest that was replayed twice may count twice.
    fn open_digests(&self) -> usize {
        self.open.len() + self.replayed.len()
    }

    fn make_sure_of_room(&mut self, more: usize) -> Result<(), IndexError> {
        let (count, count_max) = (self.open_digests() + more, self.options.unsealed_digests_max);
        if count > count_max && self.open_digests() > 0 {
            self.refused = true;
            return Err(IndexError::Full { what: "open digests", count, count_max });
        }
        Ok(())
    }

    fn pending_digests(&self) -> usize {
        self.pending.iter().map(Pending::len).sum()
    }

    fn counted<T>(&mut self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        self.counts.maintenance_failures += u64::from(result.is_err());
        result
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("applied", &self.applied).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
