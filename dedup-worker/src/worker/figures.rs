//! What the worker has done so far, shared with the metrics and the status page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dedup::Stats;

use super::batch::Fate;

/// Inputs a worker reads.
pub const INPUTS: usize = 2;

/// Counters since the process started, over all lanes. Each is exact; together they are no snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events written to the output.
    pub published: AtomicU64,
    /// Of them, events older than the window, whose repeats may have been published too.
    pub expired: AtomicU64,
    /// Events that had been written before.
    pub duplicates: AtomicU64,
    /// Records set aside.
    pub rejected: AtomicU64,
    /// Transactions committed.
    pub batches: AtomicU64,
    /// Identities that a filter could not call new.
    pub filter_passes: AtomicU64,
    /// Reads of a sealed run.
    pub store_reads: AtomicU64,
}

/// One lane's figures.
#[derive(Debug, Default)]
pub struct LaneFigures {
    counters: Arc<Counters>,
    seen: Mutex<Seen>,
}

/// One lane as it was last seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its index.
    pub index: Stats,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// Records and milliseconds that each input is behind; `None` where it is not read.
    pub lags: [Option<(u64, u64)>; INPUTS],
}

/// Everybody's figures.
#[derive(Debug, Default)]
pub struct Figures {
    /// Counters.
    pub counters: Arc<Counters>,
    lanes: Mutex<BTreeMap<u32, Arc<LaneFigures>>>,
}

impl Figures {
    /// The figures of a lane that is taken over.
    pub fn enter(&self, lane: u32) -> Arc<LaneFigures> {
        let figures = LaneFigures { counters: Arc::clone(&self.counters), seen: Mutex::default() };
        let figures = Arc::new(figures);
        lock(&self.lanes).insert(lane, Arc::clone(&figures));
        figures
    }

    /// The lane has been given up.
    pub fn leave(&self, lane: u32) {
        lock(&self.lanes).remove(&lane);
    }

    /// The indexes of all lanes held, as one. What they have counted is told since the process started: an index
    /// begins at 0 with every opening and goes with its lane, and a sum that falls looks like a restart.
    pub fn index(&self) -> Stats {
        let held: Stats = self.lanes().iter().map(|(_, seen)| seen.index).sum();
        let Counters { filter_passes, store_reads, .. } = &*self.counters;
        Stats { filter_passes: filter_passes.load(Relaxed), store_reads: store_reads.load(Relaxed), ..held }
    }

    /// Every lane held, as it was last seen.
    pub fn lanes(&self) -> Vec<(u32, Seen)> {
        lock(&self.lanes).iter().map(|(lane, figures)| (*lane, figures.seen())).collect()
    }
}

impl LaneFigures {
    /// As it was last seen.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// The index as it is now; also to be told of one that has just been opened, which has counted nothing.
    pub(crate) fn index_is(&self, index: Stats, clock_ms: i64) {
        let mut seen = lock(&self.seen);
        let Counters { filter_passes, store_reads, .. } = &*self.counters;
        for (counter, now, before) in [
            (filter_passes, index.filter_passes, seen.index.filter_passes),
            (store_reads, index.store_reads, seen.index.store_reads),
        ] {
            counter.fetch_add(now.checked_sub(before).unwrap_or(now), Relaxed);
        }
        (seen.index, seen.clock_ms) = (index, clock_ms);
    }

    pub(crate) fn lag_is_unknown(&self, input: usize) {
        lock(&self.seen).lags[input] = None;
    }

    pub(crate) fn lag_is(&self, input: usize, records: u64, behind_ms: u64) {
        lock(&self.seen).lags[input] = Some((records, behind_ms));
    }

    pub(crate) fn batch(&self, fates: &[Fate], expired_count: u64) {
        let count = |counted: fn(&Fate) -> bool| fates.iter().filter(|fate| counted(fate)).count() as u64;
        let Counters { published, expired, duplicates, rejected, batches, .. } = &*self.counters;
        expired.fetch_add(expired_count, Relaxed);
        published.fetch_add(count(|fate| matches!(fate, Fate::Published)), Relaxed);
        duplicates.fetch_add(count(|fate| matches!(fate, Fate::Dropped)), Relaxed);
        rejected.fetch_add(count(|fate| matches!(fate, Fate::SetAside(_))), Relaxed);
        batches.fetch_add(1, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_indexes_counted_never_falls() {
        let counted = |store_reads| Stats { store_reads, filter_passes: store_reads * 2, runs: 1, ..Stats::default() };
        let told = |figures: &Figures| {
            let Stats { store_reads, filter_passes, runs, .. } = figures.index();
            (store_reads, filter_passes, runs)
        };
        let figures = Figures::default();
        let [one, two] = [1, 2].map(|lane| figures.enter(lane));
        one.index_is(counted(10), 0);
        two.index_is(counted(5), 0);
        assert_eq!(told(&figures), (15, 30, 2));
        figures.leave(1);
        assert_eq!(told(&figures), (15, 30, 1), "the lane is gone, what it did is not");
        two.index_is(counted(0), 0);
        two.index_is(counted(7), 0);
        assert_eq!(told(&figures), (22, 44, 1), "it was opened again");
    }
}
