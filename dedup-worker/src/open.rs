//! The open digests: those that the changelog has and no sealed run covers yet.
//!
//! A hash table whose slots are in fingerprint order: a sorted array with gaps. A fingerprint's home slot grows with
//! it, an insert moves its neighbours one slot to the right up to the next gap, and so
//!
//! - a miss ends at the first larger fingerprint, which at 7/8 full is a cache line or two away;
//! - sealing walks the slots front to back and has a sorted run, without sorting.
//!
//! 256 shards by the uppermost 8 bits, each growing on its own by a quarter: no pause is longer than one shard's copy,
//! and an entry takes 18 to 23 bytes. Cleared, the table keeps its memory, so that a warm one never allocates.

use wire::Bucket;

use crate::fingerprint::{Entry, Fingerprint};
use crate::prefetch::prefetch;

const SHARD_BITS: u32 = 8;
/// Home slots of a shard with its first entry.
const HOMES_MIN: usize = 16;
/// Slots behind the last home, for what it pushes to the right.
const TAIL_SLOTS: usize = 16;
/// A shard grows when more than `LOAD.0 / LOAD.1` of its homes would be taken.
const LOAD: (usize, usize) = (7, 8);
/// It then has `GROWTH.0 / GROWTH.1` times as many.
const GROWTH: (usize, usize) = (5, 4);

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
    shards: Box<[Shard]>,
    len: usize,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Entry>,
    homes: usize,
    len: usize,
}

impl OpenTable {
    pub(crate) fn new() -> Self {
        Self { shards: (0..1 << SHARD_BITS).map(|_| Shard::default()).collect(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes the slots take.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.slots.capacity() * size_of::<Entry>()).sum()
    }

    /// Brings the home of `fingerprint` near.
    pub(crate) fn prefetch(&self, fingerprint: Fingerprint) {
        let shard = &self.shards[fingerprint.prefix(SHARD_BITS) as usize];
        if let Some(slot) = shard.slots.get(shard.home(fingerprint)) {
            prefetch(slot);
        }
    }

    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Option<Bucket> {
        let shard = &self.shards[fingerprint.prefix(SHARD_BITS) as usize];
        shard.find(fingerprint).ok().map(|slot| shard.slots[slot].bucket())
    }

    /// Inserts `entry`; where its fingerprint is there already the newer bucket stays.
    pub(crate) fn insert(&mut self, entry: Entry) -> Inserted {
        let inserted = self.shards[entry.fingerprint().prefix(SHARD_BITS) as usize].insert(entry);
        self.len += usize::from(inserted == Inserted::New);
        inserted
    }

    /// Removes a fingerprint if it is there.
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) {
        self.len -= usize::from(self.shards[fingerprint.prefix(SHARD_BITS) as usize].remove(fingerprint));
    }

    /// Every entry in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Entry> {
        self.shards.iter().flat_map(|shard| shard.slots.iter().copied()).filter(|entry| !entry.is_none())
    }

    /// Empties the table. Its memory stays, unless it is more than `entries_kept` need.
    pub(crate) fn clear(&mut self, entries_kept: usize) {
        let slots_kept = entries_kept * LOAD.1 / LOAD.0 * GROWTH.0 / GROWTH.1 * 9 / 8 / self.shards.len();
        for shard in &mut self.shards {
            if shard.homes > slots_kept.max(HOMES_MIN) {
                *shard = Shard::default();
            }
            shard.slots.fill(Entry::NONE);
            shard.len = 0;
        }
        self.len = 0;
    }
}

impl Shard {
    /// The slot where a fingerprint would lie in an empty shard; it grows with the fingerprint.
    fn home(&self, fingerprint: Fingerprint) -> usize {
        ((u64::from(fingerprint.middle(SHARD_BITS)) * self.homes as u64) >> u32::BITS) as usize
    }

    /// The slot a fingerprint is in, or the one it belongs into.
    fn find(&self, fingerprint: Fingerprint) -> Result<usize, usize> {
        let mut slot = self.home(fingerprint);
        while let Some(entry) = self.slots.get(slot) {
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

    fn insert(&mut self, entry: Entry) -> Inserted {
        loop {
            match self.find(entry.fingerprint()) {
                Ok(slot) => {
                    let from = self.slots[slot].bucket();
                    if from >= entry.bucket() {
                        return Inserted::Kept;
                    }
                    self.slots[slot] = entry;
                    return Inserted::Raised { from };
                }
                Err(slot) => {
                    if (self.len + 1) * LOAD.1 <= self.homes * LOAD.0
                        && let Some(moved) = self.slots[slot..].iter().position(|other| other.is_none())
                    {
                        self.slots.copy_within(slot..slot + moved, slot + 1);
                        self.slots[slot] = entry;
                        self.len += 1;
                        return Inserted::New;
                    }
                    self.grow();
                }
            }
        }
    }

    fn remove(&mut self, fingerprint: Fingerprint) -> bool {
        let Ok(mut slot) = self.find(fingerprint) else { return false };
        while let Some(next) = self.slots.get(slot + 1)
            && !next.is_none()
            && self.home(next.fingerprint()) <= slot
        {
            self.slots[slot] = *next;
            slot += 1;
        }
        self.slots[slot] = Entry::NONE;
        self.len -= 1;
        true
    }

    /// Moves to more homes, until the last of them has room for what is pushed behind it.
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        loop {
            self.homes = (self.homes * GROWTH.0 / GROWTH.1).max(HOMES_MIN);
            self.slots = Vec::new();
            self.slots.reserve_exact(self.homes + TAIL_SLOTS);
            self.slots.resize(self.homes + TAIL_SLOTS, Entry::NONE);
            let mut next = 0;
            let fits = old.iter().filter(|entry| !entry.is_none()).all(|entry| {
                let slot = self.home(entry.fingerprint()).max(next);
                next = slot + 1;
                self.slots.get_mut(slot).is_some_and(|place| {
                    *place = *entry;
                    true
                })
            });
            if fits {
                return;
            }
        }
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
            let mut table = OpenTable::new();
            let mut model = BTreeMap::new();
            // Few distinct upper bits, so that shards fill, homes collide and tails overflow.
            let spread = [u128::MAX, 0xff, 0x3][seed as usize % 3] << 80;
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
            table.clear(0);
            assert_eq!((table.len(), table.iter().count()), (0, 0));
        }
    }

    #[test]
    fn an_entry_takes_18_to_23_bytes() {
        let mut random = SmallRng::seed_from_u64(1);
        let mut table = OpenTable::new();
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for count in 1..1_500_000 {
            table.insert(Entry::new(Fingerprint::from_bits(random.random()), Bucket(1)));
            if count > 500_000 && count % 10_000 == 0 {
                let bytes = table.bytes() as f64 / f64::from(count);
                (least, most) = (least.min(bytes), most.max(bytes));
            }
        }
        assert!(least >= 17.5 && most <= 23.5, "{least:.1} to {most:.1}");
    }

    #[test]
    fn a_cleared_table_keeps_memory_for_what_it_usually_holds() {
        let mut random = SmallRng::seed_from_u64(2);
        let mut table = OpenTable::new();
        for _ in 0..200_000 {
            table.insert(Entry::new(Fingerprint::from_bits(random.random()), Bucket(1)));
        }
        let bytes = table.bytes();
        table.clear(200_000);
        assert!(table.bytes() * 10 >= bytes * 9, "{} of {bytes}", table.bytes());
        table.clear(20_000);
        assert!(table.bytes() * 10 < bytes, "{} of {bytes}", table.bytes());
    }
}
