//! The cells that one server thread counts in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::connection::Closed;
use crate::refusal::Refusal;
use crate::reject::Reject;
use crate::respond::Answer;
use crate::route::Label;
use crate::sources::Sources;

/// Every status that is ever answered, and its label.
pub(crate) const STATUSES: [(u16, &str); 8] =
    [(200, "200"), (204, "204"), (400, "400"), (401, "401"), (404, "404"), (405, "405"), (429, "429"), (503, "503")];

/// Upper bounds of the time until durable, seconds: from a fast disk to a client's timeout.
pub(crate) const STORED_BUCKETS_S: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1.0, 5.0];

/// Sources that events with an unreadable point in time are counted by; those of further sources are counted together.
const TIMES_SOURCES_MAX: usize = 256;
/// The label of those.
const OTHER_SOURCES: &str = "(other)";
/// Characters of a source that is itself a write key.
const KEY_CHARACTERS: usize = 6;

/// A number that one thread changes and others read, so that counting needs no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, count: u64) {
        self.set(self.get() + count);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// A count for each reason.
#[derive(Debug)]
pub(crate) struct ByReject([Cell; Reject::ALL.len()]);

impl Default for ByReject {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::default()))
    }
}

impl ByReject {
    pub(crate) fn of(&self, reject: Reject) -> u64 {
        self.0[reject as usize].get()
    }

    fn add(&self, reject: Reject, count: usize) {
        self.0[reject as usize].add(count as u64);
    }

    fn all(&self) -> u64 {
        self.0.iter().map(Cell::get).sum()
    }
}

/// The cells of one thread.
#[derive(Debug, Default)]
pub(crate) struct ThreadMetrics {
    pub(super) requests: [[Cell; STATUSES.len()]; Label::ALL.len()],
    pub(super) refused: ByReject,
    pub(super) events: Cell,
    pub(super) set_aside: ByReject,
    pub(super) unreadable_times: Mutex<BTreeMap<String, u64>>,
    pub(super) body_bytes: Cell,
    pub(super) connections: Cell,
    pub(super) starved: Cell,
    pub(super) closed: [Cell; Closed::ALL.len()],
    pub(super) accepts_failed: Cell,
    pub(super) connections_refused: [Cell; Refusal::ALL.len()],
    pub(super) stored_buckets: [Cell; STORED_BUCKETS_S.len() + 1],
    pub(super) stored_us: Cell,
}

impl ThreadMetrics {
    pub(crate) fn answered(&self, label: Label, answer: &Answer) {
        let status = answer.status().as_u16();
        if let Some(index) = STATUSES.iter().position(|(known, _)| *known == status) {
            self.requests[label as usize][index].add(1);
        }
        if let Some(reject) = answer.reject() {
            self.refused.add(reject, 1);
        }
    }

    pub(crate) fn body(&self, bytes: usize) {
        self.body_bytes.add(bytes as u64);
    }

    pub(crate) fn events(&self, stored: usize, set_aside: impl Iterator<Item = (Reject, usize)>) {
        self.events.add(stored as u64);
        set_aside.for_each(|(reject, count)| self.set_aside.add(reject, count));
    }

    /// Events whose `timestamp` or `sentAt` is no point in time, by source. Rare, so a lock and a string do no harm.
    pub(crate) fn unreadable_times<'a>(&self, counts: impl Iterator<Item = (&'a [u8], usize)>, sources: &Sources) {
        for (source, count) in counts {
            let mut rows = self.unreadable_times.lock().unwrap_or_else(PoisonError::into_inner);
            let label = source_label(source, sources);
            let known = rows.contains_key(&label) || rows.len() < TIMES_SOURCES_MAX;
            *rows.entry(if known { label } else { OTHER_SOURCES.into() }).or_default() += count as u64;
        }
    }

    /// The time until durable; a clock that was set back in between counts as no time.
    pub(crate) fn stored(&self, elapsed_us: i64) {
        let elapsed_us = elapsed_us.max(0) as u64;
        let elapsed_s = elapsed_us as f64 / 1e6;
        let index = STORED_BUCKETS_S.partition_point(|bound| *bound < elapsed_s);
        self.stored_buckets[index].add(1);
        self.stored_us.add(elapsed_us);
    }

    pub(crate) fn connections(&self, count: usize) {
        self.connections.set(count as u64);
    }

    /// Whether new connections wait although none is idle.
    pub(crate) fn starved(&self, is_starved: bool) {
        self.starved.set(u64::from(is_starved));
    }

    /// Counts a connection that ended, and gives how many ended for that before.
    pub(crate) fn closed(&self, closed: Closed) -> u64 {
        let cell = &self.closed[closed as usize];
        cell.add(1);
        cell.get() - 1
    }

    pub(crate) fn accept_failed(&self) {
        self.accepts_failed.add(1);
    }

    pub(crate) fn connection_refused(&self, refusal: Refusal) {
        self.connections_refused[refusal as usize].add(1);
    }

    pub(super) fn requests_all(&self) -> u64 {
        self.requests.iter().flatten().map(Cell::get).sum()
    }

    pub(super) fn refused_all(&self) -> u64 {
        self.refused.all()
    }

    pub(super) fn set_aside_all(&self) -> u64 {
        self.set_aside.all()
    }
}

/// The source as a label; of one that is itself the key no more than the logs show.
fn source_label(source: &[u8], sources: &Sources) -> String {
    let text = String::from_utf8_lossy(source);
    match sources {
        Sources::Configured { .. } => text.into_owned(),
        Sources::Open => {
            format!("{}… ({} bytes)", text.chars().take(KEY_CHARACTERS).collect::<String>(), source.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_times_are_counted_by_a_bounded_number_of_sources() {
        let metrics = ThreadMetrics::default();
        let sources = Sources::configured([]);
        for index in 0..TIMES_SOURCES_MAX + 2 {
            let source = format!("source-{index:03}");
            metrics.unreadable_times([(source.as_bytes(), 2)].into_iter(), &sources);
        }
        metrics.unreadable_times([(&b"source-000"[..], 1)].into_iter(), &sources);
        let rows = metrics.unreadable_times.lock().unwrap();
        assert_eq!((rows.len(), rows["source-000"], rows[OTHER_SOURCES]), (TIMES_SOURCES_MAX + 1, 3, 4));
        assert_eq!(source_label(b"0123456789", &Sources::Open), "012345… (10 bytes)");
    }

    #[test]
    fn every_answer_has_its_status() {
        let known = |status: u16| STATUSES.iter().any(|(other, _)| *other == status);
        assert!(Reject::ALL.iter().all(|reject| known(reject.status())));
        assert!(known(Answer::NothingToStore.status().as_u16()) && known(Answer::Preflight.status().as_u16()));
        assert!(STATUSES.iter().all(|(status, label)| status.to_string() == *label));
    }

    #[test]
    fn times_go_to_the_bucket_that_bounds_them() {
        let metrics = ThreadMetrics::default();
        for elapsed_us in [-5, 250, 251, 60_000_000] {
            metrics.stored(elapsed_us);
        }
        let counts: Vec<_> = metrics.stored_buckets.iter().map(Cell::get).collect();
        assert_eq!((counts[0], counts[1], counts[14]), (2, 1, 1));
        assert_eq!(metrics.stored_us.get(), 60_000_501);
    }
}
