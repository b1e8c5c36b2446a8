//! All sealed runs of a lane, with the filters in front of them.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::PathBuf;

use changelog::Point;
use service::crash;
use wire::Bucket;

use crate::error::IndexError;
use crate::filter::blocked::{BlockedFilter, Probe};
use crate::filter::groups::Groups;
use crate::fingerprint::{Entry, Fingerprint};
use crate::home::{self, Home};
use crate::open::Ascending;
use crate::run::meta::RunMeta;
use crate::run::pack::Split;
use crate::store::{self, RunFilter, Store};

/// [Step](service::crash): a run's file is written and synced; the store has not taken it.
pub const RUN_WRITTEN: &str = "run-written";
/// [Step](service::crash): the store has taken the run; nothing in memory knows.
pub const RUN_TAKEN: &str = "run-taken";

/// What lookups have cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reads {
    /// Fingerprints that the filter of at least one group let through.
    pub(crate) passed: u64,
    /// Groups of identities read.
    pub(crate) groups: u64,
    /// Reads that found what was asked for.
    pub(crate) hits: u64,
}

struct Run {
    meta: RunMeta,
    /// `None` where nobody asks.
    filter: Option<RunFilter>,
    file_bytes: u64,
}

pub(crate) struct Sealed {
    home: Home,
    run_digests: usize,
    /// Whether there are filters, and so anybody may ask.
    is_asked: bool,
    /// `None` only after a store that had failed could not be opened again.
    store: Option<Store>,
    /// The store failed to take a run or to drop some: what it holds has to be read anew before it takes another.
    doubtful: bool,
    runs: VecDeque<Run>,
    groups: Groups,
    digests: usize,
    /// The next ingest works and reports that it did not.
    #[cfg(test)]
    pub(crate) fails_after_ingest: bool,
}

impl Sealed {
    /// Opens the store, whose runs hold `run_digests` or so. Where it `is_asked`, every run is read: the filters are made,
    /// and every identity has been checked once.
    pub(crate) fn open(home: Home, run_digests: usize, is_asked: bool) -> Result<Self, IndexError> {
        let groups = Groups::new(run_digests);
        let mut sealed = Self {
            home,
            run_digests,
            is_asked,
            store: None,
            doubtful: false,
            runs: VecDeque::new(),
            groups,
            digests: 0,
            #[cfg(test)]
            fails_after_ingest: false,
        };
        sealed.load()?;
        sealed.home.clear_sealing()?;
        Ok(sealed)
    }

    /// Whether the store has failed and has to be read anew.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Reads the store anew, closing it first. After an error there is none, and every lookup that needs it fails.
    pub(crate) fn load(&mut self) -> Result<(), IndexError> {
        self.store = None;
        self.doubtful = true;
        let store = Store::open(&self.home.store())?;
        let metas = store.runs()?;
        check_chain(&metas, self.home.tag())?;
        let digests = metas.iter().map(|(meta, _)| meta.count as usize).sum();
        let mut groups = Groups::new(self.run_digests);
        let mut runs = VecDeque::with_capacity(metas.len());
        for (meta, file_bytes) in metas {
            let mut filter = None;
            if self.is_asked {
                let count = meta.count as usize;
                groups.make_room_opening(count, digests).map_err(no_memory)?;
                let group = groups.join(meta.sequence, count);
                filter = Some(filter_of(&store, &meta, group)?);
            }
            runs.push_back(Run { meta, filter, file_bytes });
        }
        (self.store, self.runs, self.groups, self.digests) = (Some(store), runs, groups, digests);
        self.doubtful = false;
        Ok(())
    }

    /// The end of what the runs cover.
    pub(crate) fn covered(&self) -> Option<Point> {
        self.runs.back().map(|run| run.meta.to)
    }

    /// The window's clock at that end.
    pub(crate) fn covered_clock_ms(&self) -> Option<i64> {
        self.runs.back().map(|run| run.meta.clock_ms)
    }

    /// Brings near what a lookup will ask first.
    #[inline]
    pub(crate) fn prefetch(&self, probe: &Probe) {
        self.groups.prefetch(probe);
    }

    /// A bucket of a fingerprint that is `oldest` or newer: of the newest run that has one.
    #[inline]
    pub(crate) fn find_kept(
        &self,
        fingerprint: Fingerprint,
        probe: &Probe,
        oldest: Bucket,
        reads: &mut Reads,
    ) -> Result<Option<Bucket>, IndexError> {
        let mut passing = self.groups.passing(probe).peekable();
        if passing.peek().is_none() {
            return Ok(None);
        }
        reads.passed += 1;
        for run in passing.flat_map(|group| self.runs_of(group)) {
            if run.meta.newest_bucket < oldest || !run.may_hold(fingerprint) {
                continue;
            }
            reads.groups += 1;
            if let Some(bucket) = self.store()?.find(&run.meta, fingerprint)? {
                reads.hits += 1;
                if bucket >= oldest {
                    return Ok(Some(bucket));
                }
            }
        }
        Ok(None)
    }

    /// The newest bucket of a fingerprint, kept or not.
    pub(crate) fn find_newest(&self, fingerprint: Fingerprint) -> Result<Option<Bucket>, IndexError> {
        let mut newest = None;
        for run in self.groups.passing(&Probe::new(fingerprint)).flat_map(|group| self.runs_of(group)) {
            if run.may_hold(fingerprint) {
                newest = newest.max(self.store()?.find(&run.meta, fingerprint)?);
            }
        }
        Ok(newest)
    }

    /// What each run covers, the oldest first.
    pub(crate) fn covered_by_run(&self) -> impl Iterator<Item = Range<u64>> {
        self.runs.iter().map(|run| run.meta.from_offset..run.meta.to.next_offset)
    }

    /// Gives every identity of the run at a place in that order to `visit`, ascending.
    pub(crate) fn scan(&self, place: usize, visit: impl FnMut(Entry)) -> Result<(), IndexError> {
        self.store()?.scan(&self.runs[place].meta, visit)
    }

    /// Those of a group's runs that have not been dropped, the newest first.
    fn runs_of(&self, group: Range<u32>) -> impl Iterator<Item = &Run> {
        let first = self.first_sequence();
        let place = |sequence: u32| (sequence.max(first) - first) as usize;
        self.runs.range(place(group.start)..place(group.end)).rev()
    }

    /// Seals the whole of `open`, which the changelog has between the end of the last run and `to`.
    pub(crate) fn seal(&mut self, open: &impl Ascending, to: Point, clock_ms: i64) -> Result<Sealing, IndexError> {
        let from_offset = self.covered().map_or(0, |point| point.next_offset);
        let meta = describe(self.home.tag(), self.next_sequence(), from_offset, to, clock_ms, open);
        let file = self.home.run_file(meta.sequence);
        let sealed = self.write_and_ingest(&meta, open, file.clone());
        home::remove_run_file(&file);
        sealed
    }

    fn write_and_ingest(
        &mut self,
        meta: &RunMeta,
        open: &impl Ascending,
        file: PathBuf,
    ) -> Result<Sealing, IndexError> {
        let count = meta.count as usize;
        self.make_room(count)?;
        let mut filter = self.is_asked.then(|| store::new_filter(meta)).transpose()?;
        let file_bytes = store::write_run(&file, meta, open.iter(), filter.as_mut())?;
        // Only now that there was space for a whole run: a full disk must not cost the store that lookups still use.
        if self.doubtful {
            self.load()?;
            if self.next_sequence() != meta.sequence {
                return Ok(Sealing::Adopted);
            }
            self.make_room(count)?;
        }
        self.doubtful = true;
        crash::at(RUN_WRITTEN);
        self.store()?.ingest(file, self.is_asked)?;
        crash::at(RUN_TAKEN);
        #[cfg(test)]
        if std::mem::take(&mut self.fails_after_ingest) {
            return Err(IndexError::Store { operation: "ingest run", detail: "so the test says".into() });
        }
        self.doubtful = false;
        if self.is_asked {
            let group = self.groups.join(meta.sequence, count);
            for entry in open.iter() {
                group.insert(entry.fingerprint());
            }
        }
        self.digests += count;
        self.runs.push_back(Run { meta: *meta, filter, file_bytes });
        Ok(Sealing::Sealed { digests: count, bytes: file_bytes })
    }

    fn make_room(&mut self, count: usize) -> Result<(), IndexError> {
        if self.is_asked {
            self.groups.make_room(count, self.digests).map_err(no_memory)?;
        }
        Ok(())
    }

    /// Drops the runs whose every bucket is older than `oldest`, the oldest run first, and never the newest run: it
    /// says how far the changelog has been applied. Returns how many.
    pub(crate) fn drop_expired(&mut self, oldest: Bucket) -> Result<u32, IndexError> {
        let expired = self.runs.iter().take_while(|run| run.meta.newest_bucket < oldest).count();
        let expired = expired.min(self.runs.len().saturating_sub(1));
        if expired == 0 {
            return Ok(0);
        }
        let first = self.first_sequence();
        let last = first + expired as u32 - 1;
        self.store()?.drop_runs(first, last).inspect_err(|_| self.doubtful = true)?;
        for run in self.runs.drain(..expired) {
            self.digests -= run.meta.count as usize;
        }
        self.groups.drop_before(last + 1);
        Ok(expired as u32)
    }

    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn digests(&self) -> usize {
        self.digests
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.file_bytes).sum()
    }

    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Identities in the groups' filters, and how many they have room for.
    pub(crate) fn filter_fill(&self) -> (usize, usize) {
        self.groups.fill()
    }

    /// Bytes of the filters: of the groups, of the runs.
    pub(crate) fn filter_bytes(&self) -> (usize, usize) {
        (
            self.groups.bytes(),
            self.runs.iter().filter_map(|run| run.filter.as_ref()).map(|filter| (filter.len() / 8) as usize).sum(),
        )
    }

    pub(crate) fn oldest_bucket(&self) -> Option<Bucket> {
        self.runs.iter().filter(|run| run.meta.count > 0).map(|run| run.meta.oldest_bucket).min()
    }

    fn store(&self) -> Result<&Store, IndexError> {
        let closed = || IndexError::Store { operation: "use store", detail: "it could not be opened again".into() };
        self.store.as_ref().ok_or_else(closed)
    }

    fn first_sequence(&self) -> u32 {
        self.runs.front().map_or(0, |run| run.meta.sequence)
    }

    fn next_sequence(&self) -> u32 {
        self.runs.back().map_or(0, |run| run.meta.sequence + 1)
    }
}

impl Run {
    fn may_hold(&self, fingerprint: Fingerprint) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.check(&fingerprint.low()))
    }
}

/// Reads a whole run into the filter of its group. Returns the run's own filter, which is made where it has none inside.
fn filter_of(store: &Store, meta: &RunMeta, group: &mut BlockedFilter) -> Result<RunFilter, IndexError> {
    if let Some(filter) = store.filter(meta)? {
        store.scan(meta, |entry| group.insert(entry.fingerprint()))?;
        return Ok(filter);
    }
    let mut filter = store::new_filter(meta)?;
    store.scan(meta, |entry| {
        group.insert(entry.fingerprint());
        filter.set(&entry.fingerprint().low());
    })?;
    Ok(filter)
}

/// What sealing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealing {
    Sealed {
        digests: usize,
        bytes: u64,
    },
    /// An earlier attempt that had reported an error turned out to have worked.
    Adopted,
}

/// The description of a run that would hold all of `open`.
fn describe(owner: u32, sequence: u32, from_offset: u64, to: Point, clock_ms: i64, open: &impl Ascending) -> RunMeta {
    let mut counts: Vec<(Bucket, u64)> = Vec::new();
    if let Some(bucket) = open.only_bucket().filter(|_| open.len() > 0) {
        counts.push((bucket, open.len() as u64));
    } else {
        for entry in open.iter() {
            match counts.iter_mut().find(|(bucket, _)| *bucket == entry.bucket()) {
                Some((_, count)) => *count += 1,
                None => counts.push((entry.bucket(), 1)),
            }
        }
    }
    let split = Split::for_count(open.len() as u64);
    let buckets = || counts.iter().map(|(bucket, _)| *bucket);
    RunMeta {
        owner,
        sequence,
        prefix_bits: split.prefix_bits(),
        tail_bytes: split.tail_bytes(),
        from_offset,
        to,
        main_bucket: counts.iter().max_by_key(|(_, count)| *count).map_or(Bucket(0), |(bucket, _)| *bucket),
        oldest_bucket: buckets().min().unwrap_or(Bucket(0)),
        newest_bucket: buckets().max().unwrap_or(Bucket(0)),
        count: open.len() as u64,
        clock_ms,
    }
}

/// Runs are numbered without gaps, and each covers the changelog from where the last one ended. A run that is missing
/// in the middle is damage; one that is missing at the end is replayed; those at the beginning have expired.
fn check_chain(metas: &[(RunMeta, u64)], owner: u32) -> Result<(), IndexError> {
    for (meta, _) in metas {
        if meta.owner != owner {
            return Err(IndexError::Foreign {
                is_log: true,
                field: "owner of its runs",
                expected: format!("{owner:#010x}"),
                found: format!("{:#010x}", meta.owner),
            });
        }
    }
    for pair in metas.windows(2) {
        let (one, next) = (&pair[0].0, &pair[1].0);
        if one.sequence + 1 != next.sequence || one.to.next_offset != next.from_offset {
            return Err(IndexError::Damaged(format!("run {} is not followed by {}", one.sequence, next.sequence)));
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn no_memory(error: std::io::Error) -> IndexError {
    IndexError::Store { operation: "make filter", detail: error.to_string() }
}
