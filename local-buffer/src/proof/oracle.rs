//! What was promised, and whether it was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::RecoveryReport;

/// A record that was taken.
#[derive(Clone)]
struct Taken {
    bytes: Arc<[u8]>,
    /// It was said to be durable, or was delivered: from then on it exists.
    exists: bool,
}

/// Everything that a buffer has promised so far.
#[derive(Clone, Default)]
pub(super) struct Promise {
    records: BTreeMap<u64, Taken>,
    /// Ids from here on were given since the last opening.
    life_start: u64,
    /// Everything below was acknowledged.
    pub(super) acknowledged: u64,
    /// The highest it ever was, before floors were lost.
    done: u64,
    /// Everything below was acknowledged, and that was said to be synced.
    pub(super) synced_floor: u64,
    /// The id after the last record that was ever delivered.
    delivered_end: u64,
    /// Records said to be in the quarantine.
    pub(super) quarantined: BTreeSet<u64>,
    /// The slot of the floor that counts may have become unreadable: the one before it counts then.
    pub(super) floor_lost: bool,
    /// So many records may be missing, because so often a bit was flipped.
    pub(super) damage: usize,
    missing: BTreeSet<u64>,
}

impl Promise {
    /// Records were taken.
    pub(super) fn take(&mut self, first: u64, records: &[Arc<[u8]>]) {
        for (id, bytes) in (first..).zip(records) {
            let before = self.records.insert(id, Taken { bytes: Arc::clone(bytes), exists: false });
            assert!(before.is_none_or(|before| !before.exists), "id {id} was given twice");
        }
    }

    /// Everything below `end` was said to be durable.
    pub(super) fn durable(&mut self, end: u64) {
        for (_, taken) in self.records.range_mut(self.life_start..end.max(self.life_start)) {
            taken.exists = true;
        }
    }

    /// A buffer was opened and reported this.
    pub(super) fn opened(&mut self, report: &RecoveryReport) {
        let floor = report.floor_id.get();
        let went_back = floor < self.synced_floor;
        assert!(!went_back || self.floor_lost, "the floor went back below {}: {report:?}", self.synced_floor);
        self.synced_floor = self.synced_floor.min(floor);
        // It may pass ids that do not exist, and no others, by itself.
        if floor > self.acknowledged {
            self.skip(self.acknowledged, floor);
        }
        let last = self.records.iter().rev().find(|(_, taken)| taken.exists).map_or(0, |(id, _)| id + 1);
        let next = report.next_id.get();
        assert!(next >= last, "id {next} would be given again, {last} is the next: {report:?}");
        assert!(next >= self.delivered_end, "a delivered id would be given again: {report:?}");
        self.acknowledged = floor;
        self.life_start = next;
    }

    /// Everything below `end` was acknowledged.
    pub(super) fn acknowledge(&mut self, end: u64) {
        self.acknowledged = self.acknowledged.max(end);
        self.done = self.done.max(end);
    }

    /// A record was delivered, at `position`: nothing between them may exist. Gives the new position.
    pub(super) fn delivered(&mut self, position: u64, id: u64, bytes: &[u8]) -> u64 {
        assert!(id >= position, "{id} came after {position}");
        self.skip(position, id);
        let taken = self.records.get_mut(&id).unwrap_or_else(|| panic!("{id} was never taken"));
        assert!(*taken.bytes == *bytes, "record {id} is not what was taken");
        taken.exists = true;
        self.delivered_end = self.delivered_end.max(id + 1);
        id + 1
    }

    /// Everything was delivered, up to `position`.
    pub(super) fn all_delivered(&mut self, position: u64) {
        self.skip(position, u64::MAX);
    }

    fn skip(&mut self, from: u64, to: u64) {
        // With the floor lost, what was done may come again, as far as its segments were not written again.
        let from = if self.floor_lost { from.max(self.done).min(to) } else { from };
        let gone = self.records.range(from..to).filter(|(_, taken)| taken.exists).map(|(id, _)| *id);
        let gone: Vec<_> = gone.collect();
        self.missing.extend(&gone);
        assert!(self.missing.len() <= self.damage, "durable records {gone:?} did not come");
    }

    /// Records that are missing because of damage.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// Records that exist.
    pub(super) fn existing(&self) -> u64 {
        self.records.values().filter(|taken| taken.exists).count() as u64
    }
}
