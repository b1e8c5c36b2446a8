//! What the drain has done so far, shared with the metrics and the status page.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use dedup::Stats;

use crate::pipeline::{Outcome, Recovered};

/// What the drain is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Bringing output, ledger and index into step.
    #[default]
    Opening,
    /// Records flow.
    Running,
    /// It could not go on, for this reason, and tries again by itself.
    Failing(String),
    /// Ended in good order.
    Stopped,
}

/// Counters since the process started. Each is exact; together they are no snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events written to the output.
    pub published: AtomicU64,
    /// Events not written because they had been before.
    pub duplicates: AtomicU64,
    /// Published events that were older than the window.
    pub expired: AtomicU64,
    /// Events written to the rejected files.
    pub rejected: AtomicU64,
    /// Records that were no envelopes and went into quarantine.
    pub unreadable: AtomicU64,
    /// Bytes of lines written to the output.
    pub output_bytes: AtomicU64,
    /// Batches put through.
    pub batches: AtomicU64,
    /// Times that everything was opened again after a failure.
    pub failures: AtomicU64,
    /// Output lines adopted at an opening.
    pub adopted: AtomicU64,
}

/// The drain's figures.
#[derive(Debug, Default)]
pub struct Figures {
    /// Counters.
    pub counters: Counters,
    seen: Mutex<(State, Stats)>,
}

impl Figures {
    /// What the drain is doing.
    pub fn state(&self) -> State {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// The index, as it was after the newest batch.
    pub fn index(&self) -> Stats {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(crate) fn enter(&self, state: State) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0 = state;
    }

    pub(crate) fn recovered(&self, recovered: &Recovered) {
        self.counters.adopted.fetch_add(recovered.adopted, Relaxed);
    }

    pub(crate) fn batch(&self, outcome: &Outcome) {
        let Counters { published, duplicates, expired, rejected, unreadable, output_bytes, batches, .. } =
            &self.counters;
        for (counter, by) in [
            (published, outcome.published),
            (duplicates, outcome.duplicates),
            (expired, outcome.expired),
            (rejected, outcome.rejected),
            (unreadable, outcome.unreadable),
            (output_bytes, outcome.output_bytes),
            (batches, 1),
        ] {
            counter.fetch_add(by, Relaxed);
        }
    }

    pub(crate) fn index_is(&self, stats: Stats) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = stats;
    }
}
