//! The open digests that can be asked for.
//!
//! A hash table whose slots are in fingerprint order: a sorted array with gaps. A fingerprint's home slot grows with
//! it, an insert moves its neighbours one slot to the right up to the next gap, and so
//!
//! - a miss ends at the first larger fingerprint, which at 7/8 full is a cache line or two away;
//! - sealing walks the slots front to back and has a sorted run, without sorting.
//!
//! The table doubles up to what it is expected to hold, where an entry takes 19 bytes; beyond that, when nothing can be
//! sealed, it grows by a quarter and an entry takes 18 to 23. Cleared, it keeps the memory of what is expected: a warm
//! table neither allocates nor moves.

use wire::Bucket;

use super::{Ascending, Buckets};
use crate::fingerprint::{Entry, Fingerprint};
use crate::mapping::Mapping;
use crate::prefetch::prefetch;

/// Home slots with the first entry.
const HOMES_MIN: usize = 1 << 10;
/// Slots behind the last home, for what it pushes to the right.
const TAIL_SLOTS: usize = 64;
/// The table grows when more than `LOAD.0 / LOAD.1` of its homes would be taken.
const LOAD: (usize, usize) = (7, 8);
/// Beyond what is expected it then has `GROWTH.0 / GROWTH.1` times as many.
const GROWTH: (usize, usize) = (5, 4);
/// Entries of a cache line. One is found three or four slots from its home on average: in this line or the next.
const LINE_ENTRIES: usize = 4;

/// What an insert found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// Nothing: the entry is new here.
    New,
    /// An older bucket, replaced.
    Raised {
        /// What was there.
        from: Bucket,
    },
    /// The same or a newer bucket, which stays.
    Kept,
}

#[derive(Debug)]
pub(crate) struct OpenTable {
    /// `None` until the first insert.
    slots: Option<Mapping<Entry>>,
    homes: usize,
    homes_expected: usize,
    len: usize,
    buckets: Buckets,
}

impl OpenTable {
    /// An empty table, expected to hold `entries`.
    pub(crate) fn new(entries: usize) -> Self {
        // One more percent, so that the last of them does not make it grow.
        let homes_expected = (entries * LOAD.1 / LOAD.0 * 101 / 100).max(HOMES_MIN);
        Self { slots: None, homes: 0, homes_expected, len: 0, buckets: Buckets::default() }
    }

    /// Bytes the slots take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.slots())
    }

    /// Brings the home of `fingerprint` near.
    #[inline]
    pub(crate) fn prefetch(&self, fingerprint: Fingerprint) {
        let home = self.home(fingerprint);
        for slot in [home, home + LINE_ENTRIES] {
            if let Some(entry) = self.slots().get(slot) {
                prefetch(entry);
            }
        }
    }

    #[inline]
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Option<Bucket> {
        self.place(fingerprint).ok().map(|slot| self.slots()[slot].bucket())
    }

    /// Inserts `entry`; where its fingerprint is there already the newer bucket stays.
    ///
    /// # Panics
    /// Where the system has no memory left, as with any collection.
    pub(crate) fn insert(&mut self, entry: Entry) -> Inserted {
        self.buckets.see(entry.bucket());
        loop {
            match self.place(entry.fingerprint()) {
                Ok(slot) => {
                    let from = self.slots()[slot].bucket();
                    if from >= entry.bucket() {
                        return Inserted::Kept;
                    }
                    self.slots_mut()[slot] = entry;
                    return Inserted::Raised { from };
                }
                Err(slot) => {
                    let has_room = self.has_room(1);
                    let slots = self.slots_mut();
                    if has_room && let Some(moved) = slots[slot..].iter().position(|other| other.is_none()) {
                        slots.copy_within(slot..slot + moved, slot + 1);
                        slots[slot] = entry;
                        self.len += 1;
                        return Inserted::New;
                    }
                    self.grow(1);
                }
            }
        }
    }

    /// Makes room for `more` entries. Where many come in ascending order it has to be made first: in a table that is too
    /// small for the rest of them the first ones all have the same home.
    pub(crate) fn make_room(&mut self, more: usize) {
        if !self.has_room(more) {
            self.grow(more);
        }
    }

    /// Removes a fingerprint if it is there.
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) {
        let Ok(mut slot) = self.place(fingerprint) else { return };
        while let Some(next) = self.slots().get(slot + 1).copied()
            && !next.is_none()
            && self.home(next.fingerprint()) <= slot
        {
            self.slots_mut()[slot] = next;
            slot += 1;
        }
        self.slots_mut()[slot] = Entry::NONE;
        self.len -= 1;
    }

    /// Empties the table. Its memory stays, unless it is more than was expected.
    pub(crate) fn clear(&mut self) {
        if self.homes > self.homes_expected {
            (self.slots, self.homes) = (None, 0);
        }
        self.slots_mut().fill(Entry::NONE);
        (self.len, self.buckets) = (0, Buckets::None);
    }

    fn slots(&self) -> &[Entry] {
        self.slots.as_deref().unwrap_or_default()
    }

    fn slots_mut(&mut self) -> &mut [Entry] {
        self.slots.as_deref_mut().unwrap_or_default()
    }

    /// The slot where a fingerprint would lie in an empty table; it grows with the fingerprint.
    fn home(&self, fingerprint: Fingerprint) -> usize {
        ((u64::from(fingerprint.prefix(u32::BITS)) * self.homes as u64) >> u32::BITS) as usize
    }

    /// The slot a fingerprint is in, or the one it belongs into.
    fn place(&self, fingerprint: Fingerprint) -> Result<usize, usize> {
        let mut slot = self.home(fingerprint);
        while let Some(entry) = self.slots().get(slot) {
            if entry.is_none() {
                break;
            }
            match entry.fingerprint() {
                found if found == fingerprint => return Ok(slot),
                found if found > fingerprint => break,
                _ => slot += 1,
            }
        }
        Err(slot)
    }

    fn has_room(&self, more: usize) -> bool {
        (self.len + more) * LOAD.1 <= self.homes * LOAD.0
    }

    /// Moves to more homes, so many that there is room for `more` and the last of them has some for what is pushed behind
    /// it.
    fn grow(&mut self, more: usize) {
        let old = self.slots.take();
        loop {
            self.homes = if self.homes < self.homes_expected {
                (self.homes * 2).clamp(HOMES_MIN, self.homes_expected)
            } else {
                self.homes * GROWTH.0 / GROWTH.1
            };
            if !self.has_room(more) {
                continue;
            }
            let mut slots = Mapping::new(self.homes + TAIL_SLOTS).expect("memory for open digests");
            let mut next = 0;
            let mut entries = old.iter().flat_map(|old| old.iter()).filter(|entry| !entry.is_none());
            let fits = entries.all(|entry| {
                let slot = self.home(entry.fingerprint()).max(next);
                next = slot + 1;
                slots.get_mut(slot).map(|place| *place = *entry).is_some()
            });
            if fits {
                self.slots = Some(slots);
                return;
            }
        }
    }
}

impl Ascending for OpenTable {
    fn len(&self) -> usize {
        self.len
    }

    fn iter(&self) -> impl Iterator<Item = Entry> {
        self.slots().iter().copied().filter(|entry| !entry.is_none())
    }

    fn only_bucket(&self) -> Option<Bucket> {
        self.buckets.only()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn behaves_as_a_sorted_map_of_newest_buckets() {
        for seed in 0..20 {
            let mut random = SmallRng::seed_from_u64(seed);
            let mut table = OpenTable::new(100);
            let mut model = BTreeMap::new();
            // Few distinct upper bits, so that homes collide and the tail overflows.
            let spread = [u128::MAX, 0xff, 0x3][seed as usize % 3] << 85;
            for step in 0..20_000 {
                let fingerprint = Fingerprint::from_bits(random.random::<u128>() & (spread | 0x3ff));
                let bucket = Bucket(random.random_range(0..4));
                if random.random_ratio(1, 3) {
                    table.remove(fingerprint);
                    model.remove(&fingerprint);
                } else {
                    let expected = match model.get(&fingerprint) {
                        None => Inserted::New,
                        Some(&from) if from < bucket => Inserted::Raised { from },
                        Some(_) => Inserted::Kept,
                    };
                    assert_eq!(table.insert(Entry::new(fingerprint, bucket)), expected, "seed {seed} step {step}");
                    let newest: &mut Bucket = model.entry(fingerprint).or_insert(bucket);
                    *newest = bucket.max(*newest);
                }
                assert_eq!(table.len(), model.len(), "seed {seed} step {step}");
                let asked = Fingerprint::from_bits(random.random::<u128>() & (spread | 0x3ff));
                assert_eq!(table.find(asked), model.get(&asked).copied(), "seed {seed} step {step}");
            }
            assert!(table.iter().map(|e| (e.fingerprint(), e.bucket())).eq(model), "seed {seed}");
            assert_eq!(table.only_bucket(), None, "there were four of them");
            table.clear();
            assert_eq!((table.len(), table.iter().count()), (0, 0));
            table.insert(Entry::new(Fingerprint::from_bits(1), Bucket(3)));
            table.insert(Entry::new(Fingerprint::from_bits(2), Bucket(3)));
            assert_eq!(table.only_bucket(), Some(Bucket(3)));
        }
    }

    fn filled(expected: usize, count: usize) -> OpenTable {
        let mut random = SmallRng::seed_from_u64(1);
        let mut table = OpenTable::new(expected);
        for _ in 0..count {
            table.insert(Entry::new(Fingerprint::from_bits(random.random()), Bucket(1)));
        }
        table
    }

    #[test]
    fn an_expected_entry_takes_19_bytes_and_one_more_than_expected_18_to_23() {
        let bytes = |count: usize| filled(100_000, count).bytes() as f64 / count as f64;
        let expected = bytes(100_000);
        assert!((18.0..19.0).contains(&expected), "{expected:.1}");
        for count in (120_000..400_000).step_by(20_000) {
            assert!((17.9..23.5).contains(&bytes(count)), "{count}: {:.1}", bytes(count));
        }
        assert!(bytes(10_000) < 40.0, "{:.1}", bytes(10_000));
    }

    #[test]
    fn room_is_made_once_for_many_in_order() {
        let entries: Vec<_> = filled(100_000, 90_000).iter().collect();
        for expected in [1, 50_000, 100_000] {
            let mut table = OpenTable::new(expected);
            table.make_room(entries.len());
            let bytes = table.bytes();
            for entry in &entries {
                table.insert(*entry);
            }
            assert!(table.iter().eq(entries.iter().copied()) && table.bytes() == bytes, "{expected}");
        }
    }

    #[test]
    fn a_cleared_table_keeps_memory_for_what_is_expected() {
        let mut table = filled(100_000, 100_000);
        let bytes = table.bytes();
        table.clear();
        assert_eq!(table.bytes(), bytes);
        let mut table = filled(1_000, 100_000);
        table.clear();
        assert_eq!(table.bytes(), 0);
    }
}
