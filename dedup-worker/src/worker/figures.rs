//! What the worker has done so far, shared with the metrics and the status page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use changelog::Progress;
use dedup::Stats;

use super::publish::Fate;

/// Inputs a worker reads.
pub const INPUTS: usize = 2;

/// What is happening to a partition that this worker should own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Taking the fence.
    #[default]
    Fencing,
    /// Replaying the changelog.
    Restoring(Progress),
    /// Records flow.
    Running,
    /// It could not go on, for this reason, and tries again by itself after this pause.
    Failing(String, Duration),
    /// It is not worked on before somebody has put right what the reason says of its changelog or topics; it is looked at
    /// again and again. Any worker would refuse it.
    RefusedByLog(String),
    /// The same of this host. Another worker could own it.
    RefusedHere(String),
}

/// Counters since the process started, over all partitions. Each is exact; together they are no snapshot.
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
    /// Times that a partition was begun again after a fault.
    pub faults: AtomicU64,
    /// Partitions taken over.
    pub takeovers: AtomicU64,
    /// Changelog records replayed at takeovers.
    pub replayed: AtomicU64,
    /// Indexes thrown away and made again.
    pub indexes_thrown_away: AtomicU64,
    /// Identities that a filter could not call new.
    pub filter_passes: AtomicU64,
    /// Reads of a sealed run.
    pub store_reads: AtomicU64,
}

/// One partition's figures.
#[derive(Debug, Default)]
pub struct PartitionFigures {
    counters: Arc<Counters>,
    seen: Mutex<Seen>,
}

/// One partition as it was last seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What is happening to it.
    pub state: State,
    /// Since when; a replay that moves on is one state.
    pub since: Instant,
    /// When its loop came round the last time.
    pub turned: Instant,
    /// Its index.
    pub index: Stats,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// Records and milliseconds that each input is behind; `None` where it is not read.
    pub lags: [Option<(u64, u64)>; INPUTS],
}

impl Default for Seen {
    fn default() -> Self {
        let (state, index, lags) = (State::default(), Stats::default(), [None; INPUTS]);
        Self { state, since: Instant::now(), turned: Instant::now(), index, clock_ms: 0, lags }
    }
}

/// Everybody's figures.
#[derive(Debug, Default)]
pub struct Figures {
    /// Counters.
    pub counters: Arc<Counters>,
    partitions: Mutex<BTreeMap<u32, Arc<PartitionFigures>>>,
    /// Why the group does not take this worker in; `None` as far as is known that it does.
    shut_out: Mutex<Option<String>>,
}

impl Figures {
    /// The figures of a partition that is taken over.
    pub fn enter(&self, partition: u32) -> Arc<PartitionFigures> {
        let figures = PartitionFigures { counters: Arc::clone(&self.counters), seen: Mutex::default() };
        let figures = Arc::new(figures);
        lock(&self.partitions).insert(partition, Arc::clone(&figures));
        figures
    }

    /// The group has given this worker something to do.
    pub(crate) fn is_in_group(&self) {
        lock(&self.shut_out).take();
    }

    /// The group does not take this worker in; whether that is news.
    pub(crate) fn is_shut_out(&self, why: &str) -> bool {
        let why = Some(why.to_owned());
        let mut before = lock(&self.shut_out);
        let is_news = *before != why;
        *before = why;
        is_news
    }

    /// Why the group does not take this worker in, if it does not.
    pub fn shut_out(&self) -> Option<String> {
        lock(&self.shut_out).clone()
    }

    /// The partition has been given up.
    pub fn leave(&self, partition: u32) {
        lock(&self.partitions).remove(&partition);
    }

    /// The indexes of all partitions held, as one. What they have counted is told since the process started: an index
    /// begins at 0 with every opening and goes with its partition, and a sum that falls looks like a restart.
    pub fn index(&self) -> Stats {
        let held: Stats = self.partitions().iter().map(|(_, seen)| seen.index).sum();
        let Counters { filter_passes, store_reads, .. } = &*self.counters;
        Stats { filter_passes: filter_passes.load(Relaxed), store_reads: store_reads.load(Relaxed), ..held }
    }

    /// Every partition held, as it was last seen.
    pub fn partitions(&self) -> Vec<(u32, Seen)> {
        lock(&self.partitions).iter().map(|(partition, figures)| (*partition, figures.seen())).collect()
    }
}

impl PartitionFigures {
    /// As it was last seen.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn state_is(&self, state: State) {
        let mut seen = lock(&self.seen);
        let is_same = match (&seen.state, &state) {
            (State::Restoring(_), State::Restoring(_)) => true,
            (was, is) => was == is,
        };
        if !is_same {
            seen.since = Instant::now();
        }
        (seen.state, seen.turned) = (state, Instant::now());
    }

    /// The loop has come round.
    pub(crate) fn turned(&self) {
        lock(&self.seen).turned = Instant::now();
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
        let [one, two] = [1, 2].map(|partition| figures.enter(partition));
        one.index_is(counted(10), 0);
        two.index_is(counted(5), 0);
        assert_eq!(told(&figures), (15, 30, 2));
        figures.leave(1);
        assert_eq!(told(&figures), (15, 30, 1), "the partition is gone, what it did is not");
        two.index_is(counted(0), 0);
        two.index_is(counted(7), 0);
        assert_eq!(told(&figures), (22, 44, 1), "it was opened again");
    }
}
