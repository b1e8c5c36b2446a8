//! The state that is made from the changelog: which ids are known, each in its bucket. It has the parts that the dedup index
//! has, a sealed one that a crash leaves, an open one, and batches that are decided and not committed, and nothing to make
//! them fast.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::Path;

use changelog::{Applied, LogId, Mistrust, Point, Said, State, Undecodable};
use wire::changelog::{Framed, Genesis, Record, VERSION};
use wire::{Bucket, DecodeError, Digest, Window};

use crate::decide::{Verdict, verdict};
use crate::mutant::Mutant;

/// What a crash leaves of it.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    genesis: Genesis,
    entries: BTreeMap<Digest, Bucket>,
    covered: Option<Point>,
    clock_ms: i64,
}

/// The state of a lane.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    mutant: Option<Mutant>,
    sealed: Sealed,
    open: BTreeMap<Digest, Bucket>,
    /// The oldest first. Their entries are among the open ones.
    pending: VecDeque<Pending>,
    applied: Option<Point>,
    /// The window's clock there.
    clock_ms: i64,
}

/// A batch that is decided and not committed.
#[derive(Debug, Clone, Default, Hash)]
struct Pending {
    clock_ms: i64,
    entries: Vec<(Digest, Bucket)>,
    /// Expired entries that new ones took the place of.
    replaced: Vec<(Digest, Bucket)>,
}

thread_local! {
    /// What lies on the disk of the worker that restores, in place of files.
    static DISK: RefCell<Option<Sealed>> = const { RefCell::new(None) };
}

/// Runs `restore` over a disk with this on it; what that came to, and what is on the disk then.
pub(crate) fn over<T>(disk: Option<Sealed>, restore: impl FnOnce() -> T) -> (T, Option<Sealed>) {
    DISK.set(disk);
    let restored = restore();
    (restored, DISK.take())
}

impl Pending {
    fn insert(&mut self, open: &mut BTreeMap<Digest, Bucket>, digest: Digest, bucket: Bucket) {
        match open.entry(digest) {
            Entry::Occupied(known) if *known.get() >= bucket => return,
            Entry::Occupied(mut known) => self.replaced.push((digest, known.insert(bucket))),
            Entry::Vacant(place) => {
                place.insert(bucket);
            }
        }
        self.entries.push((digest, bucket));
    }

    fn undo(&self, open: &mut BTreeMap<Digest, Bucket>) {
        for (digest, _) in &self.entries {
            open.remove(digest);
        }
        for (digest, bucket) in &self.replaced {
            raise(open, *digest, *bucket);
        }
    }

    fn redo(&mut self, open: &mut BTreeMap<Digest, Bucket>) {
        let Self { entries, clock_ms, .. } = std::mem::take(self);
        self.clock_ms = clock_ms;
        for (digest, bucket) in entries {
            self.insert(open, digest, bucket);
        }
    }
}

fn raise(entries: &mut BTreeMap<Digest, Bucket>, digest: Digest, bucket: Bucket) {
    let known = entries.entry(digest).or_insert(bucket);
    *known = bucket.max(*known);
}

impl Sealed {
    /// How far of the changelog it has.
    pub(crate) fn covered(&self) -> Option<Point> {
        self.covered
    }
}

impl Index {
    /// What a crash leaves.
    pub(crate) fn into_sealed(self) -> Sealed {
        self.sealed
    }

    /// The same, while it is in use.
    pub(crate) fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    fn window(&self) -> Window {
        self.sealed.genesis.window
    }

    /// Decides a batch at `clock_ms`; of each candidate whether it is published, and what the changelog is to hold.
    pub(crate) fn decide(
        &mut self,
        candidates: &[(Digest, i64)],
        (clock_ms, newest_ms): (i64, i64),
    ) -> (Vec<Verdict>, Vec<(Digest, Bucket)>) {
        let (window, mut pending) = (self.window(), Pending { clock_ms, ..Pending::default() });
        let (mut verdicts, mut entries) = (Vec::new(), Vec::new());
        for (digest, received_ms) in candidates {
            let known = self.open.get(digest).max(self.sealed.entries.get(digest)).copied();
            let verdict = verdict(window, known, *received_ms, clock_ms);
            verdicts.push(verdict);
            if verdict.is_published() {
                let bucket = window.bucket_of(*received_ms, clock_ms, newest_ms);
                pending.insert(&mut self.open, *digest, bucket);
                entries.push((*digest, bucket));
            }
        }
        self.pending.push_back(pending);
        (verdicts, entries)
    }

    /// The oldest batch that was decided is in the changelog, which stands at `next`.
    pub(crate) fn commit(&mut self, next: Point) {
        let pending = self.pending.pop_front().expect("batches are committed after they are decided");
        self.advance(next, pending.clock_ms);
    }

    /// Takes back the oldest batch alone.
    pub(crate) fn discard_oldest(&mut self) {
        if let Some(pending) = self.pending.pop_front() {
            pending.undo(&mut self.open);
        }
    }

    /// The changelog stands at `next`.
    pub(crate) fn advance(&mut self, next: Point, clock_ms: i64) {
        self.applied = Some(next);
        self.clock_ms = self.clock_ms.max(clock_ms);
    }

    /// Makes durable what is committed, and drops what has expired. `memory_ms` is where the clock stands that no record has.
    pub(crate) fn maintain(&mut self, memory_ms: i64) {
        let seals_pending = self.mutant == Some(Mutant::PendingSealed);
        if !seals_pending {
            self.pending.iter().rev().for_each(|pending| pending.undo(&mut self.open));
        }
        for (digest, bucket) in std::mem::take(&mut self.open) {
            raise(&mut self.sealed.entries, digest, bucket);
        }
        if !seals_pending {
            self.pending.iter_mut().for_each(|pending| pending.redo(&mut self.open));
        }
        (self.sealed.covered, self.sealed.clock_ms) = (self.applied, self.clock_ms);
        let clock_ms = if self.mutant == Some(Mutant::ExpiryByMemory) { memory_ms } else { self.clock_ms };
        let oldest = self.window().oldest(clock_ms);
        self.sealed.entries.retain(|_, bucket| *bucket >= oldest);
    }
}

impl State for Index {
    type Genesis = Genesis;
    type Settings = Option<Mutant>;
    type Error = Mistrust;
    type Record<'r> = Framed<'r>;

    fn open(_: &Path, _: LogId, genesis: &Genesis, mutant: &Option<Mutant>) -> Result<Self, Mistrust> {
        let new = || Sealed { genesis: *genesis, entries: BTreeMap::new(), covered: None, clock_ms: 0 };
        let sealed = DISK.with_borrow(Clone::clone).unwrap_or_else(new);
        if sealed.genesis != *genesis {
            return Err(Mistrust::OtherGenesis("it was made under another genesis".into()));
        }
        let (applied, clock_ms) = (sealed.covered, sealed.clock_ms);
        Ok(Self { mutant: *mutant, sealed, open: BTreeMap::new(), pending: VecDeque::new(), applied, clock_ms })
    }

    fn destroy(_: &Path) -> Result<(), Mistrust> {
        DISK.take();
        Ok(())
    }

    fn mistrust(error: &Mistrust) -> Option<Mistrust> {
        Some(error.clone())
    }

    fn window(genesis: &Genesis) -> Window {
        genesis.window
    }

    fn decode(record: &[u8]) -> Result<Framed<'_>, Undecodable> {
        Framed::decode(record).map_err(|error| match error {
            DecodeError::Version(version) if version > VERSION => Undecodable::Newer(version),
            DecodeError::Version(version) => Undecodable::Older(version),
            error => Undecodable::Damaged(error.reason()),
        })
    }

    fn said<'s>(framed: &'s Framed<'_>) -> Said<'s, Genesis> {
        let chain = framed.chain;
        let mut said = Said {
            genesis: None,
            is_genesis: false,
            is_mark: false,
            chain,
            clock_ms: 0,
            positions: &[],
            has_all_positions: false,
            entries: 0,
        };
        match &framed.record {
            Record::Genesis(genesis) => {
                (said.genesis, said.is_genesis, said.clock_ms) = (Some(*genesis), true, genesis.created_ms);
                said.has_all_positions = chain.before.is_none();
            }
            Record::Checkpoint(checkpoint) => {
                (said.genesis, said.clock_ms) = (Some(checkpoint.genesis), checkpoint.clock_ms);
                (said.positions, said.has_all_positions) = (&checkpoint.positions, true);
            }
            Record::Batch(batch) => {
                (said.clock_ms, said.entries) = (batch.clock_ms, batch.entries.len() as u64);
                (said.positions, said.has_all_positions) = (&batch.positions, batch.has_all_positions);
            }
            Record::Mark(mark) => (said.is_mark, said.clock_ms) = (true, mark.created_ms),
        }
        said
    }

    fn applied(&self) -> Option<Point> {
        self.applied
    }

    fn apply(&mut self, _: u64, next: Point, framed: &Framed<'_>) -> Result<Applied, Mistrust> {
        if self.applied.is_some_and(|point| next.next_offset <= point.next_offset) {
            return Ok(Applied::Covered);
        }
        if let Record::Batch(batch) = &framed.record {
            for (digest, bucket) in batch.entries.iter() {
                raise(&mut self.open, digest, bucket);
            }
        }
        self.advance(next, Self::said(framed).clock_ms);
        Ok(Applied::Yes)
    }

    fn discard(&mut self) {
        let is_forwards = self.mutant == Some(Mutant::OldestUndoneFirst);
        while let Some(pending) = if is_forwards { self.pending.pop_front() } else { self.pending.pop_back() } {
            pending.undo(&mut self.open);
        }
    }
}

impl Hash for Sealed {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let covered = self.covered.map(|point| (point.next_offset, point.checksum));
        (self.genesis.seed.0, &self.entries, covered, self.clock_ms).hash(hasher);
    }
}

impl Hash for Index {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let applied = self.applied.map(|point| (point.next_offset, point.checksum));
        (&self.sealed, &self.open, &self.pending, applied, self.clock_ms).hash(hasher);
    }
}
