//! Digests in the order in which a replay brought them, sorted when they are needed.
//!
//! Fingerprints are hashes, so their uppermost bits are spread evenly: two passes that distribute by them leave next to
//! nothing to be compared.

use wire::Bucket;

use super::{Ascending, Buckets};
use crate::fingerprint::{Entry, Fingerprint};

/// Bits of one pass. Its 2,048 places of output are as many cache lines: more than these would not stay near.
const PASS_BITS: u32 = 11;
/// Bits of both.
const SORTED_BITS: u32 = 2 * PASS_BITS;
const PLACES: usize = 1 << PASS_BITS;

#[derive(Debug, Default)]
pub(crate) struct Pile {
    entries: Vec<Entry>,
    /// Where a pass puts them.
    spare: Vec<Entry>,
    buckets: Buckets,
    is_sorted: bool,
}

/// A pile in order.
#[derive(Debug)]
pub(crate) struct SortedPile<'a>(&'a Pile);

impl Pile {
    /// Adds many entries. A fingerprint may come again; its newest bucket counts.
    pub(crate) fn push_all(&mut self, entries: impl Iterator<Item = Entry>) {
        self.is_sorted = false;
        let buckets = &mut self.buckets;
        self.entries.extend(entries.inspect(|entry| buckets.see(entry.bucket())));
    }

    /// How many there are; before it is sorted, with those that came twice.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        (self.entries.capacity() + self.spare.capacity()) * size_of::<Entry>()
    }

    /// The newest bucket of a fingerprint. Looks at every entry.
    pub(crate) fn find(&self, fingerprint: Fingerprint) -> Option<Bucket> {
        self.entries.iter().filter(|entry| entry.fingerprint() == fingerprint).map(|entry| entry.bucket()).max()
    }

    /// Brings the entries into order and leaves of each fingerprint the newest.
    pub(crate) fn sort(&mut self) -> SortedPile<'_> {
        if !std::mem::replace(&mut self.is_sorted, true) {
            self.spare.resize(self.entries.len(), Entry::NONE);
            distribute(&self.entries, &mut self.spare, 0);
            distribute(&self.spare, &mut self.entries, PASS_BITS);
            for same in self.entries.chunk_by_mut(|one, next| sorted_bits(*one) == sorted_bits(*next)) {
                if same.len() > 1 {
                    same.sort_unstable();
                }
            }
            // Of two with one fingerprint the newer stands behind.
            self.entries.dedup_by(|next, kept| {
                let is_same = next.fingerprint() == kept.fingerprint();
                if is_same {
                    *kept = *next;
                }
                is_same
            });
        }
        SortedPile(self)
    }

    /// Empties it and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.buckets = Buckets::None;
    }
}

impl Ascending for SortedPile<'_> {
    fn len(&self) -> usize {
        self.0.entries.len()
    }

    fn iter(&self) -> impl Iterator<Item = Entry> {
        self.0.entries.iter().copied()
    }

    fn only_bucket(&self) -> Option<Bucket> {
        self.0.buckets.only()
    }
}

fn sorted_bits(entry: Entry) -> u32 {
    entry.fingerprint().prefix(SORTED_BITS)
}

/// One pass: puts the entries in the order of [`PASS_BITS`] of their sorted bits, those that `shift` leaves lowest. Entries
/// that agree in these keep their order.
fn distribute(from: &[Entry], to: &mut [Entry], shift: u32) {
    let place_of = |entry: &Entry| (sorted_bits(*entry) >> shift) as usize % PLACES;
    let mut places = [0; PLACES];
    for entry in from {
        places[place_of(entry)] += 1;
    }
    let mut begin = 0;
    for place in &mut places {
        begin += std::mem::replace(place, begin);
    }
    for entry in from {
        let place = &mut places[place_of(entry)];
        to[*place] = *entry;
        *place += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_sorted_pile_is_a_sorted_map_of_newest_buckets() {
        let mut random = SmallRng::seed_from_u64(7);
        // Few fingerprints, so that they come again; few upper bits, so that they have to be compared.
        for (count, spread) in
            [(0, u128::MAX), (1, u128::MAX), (5_000, u128::MAX), (5_000, 0x3 << 90 | 0x7ff), (5_000, 0xff)]
        {
            let (mut pile, mut model) = (Pile::default(), BTreeMap::new());
            for part in 0..3 {
                let entries: Vec<_> = (0..count)
                    .map(|_| {
                        let fingerprint = Fingerprint::from_bits(random.random::<u128>() & spread);
                        Entry::new(fingerprint, Bucket(random.random_range(0..4)))
                    })
                    .collect();
                for entry in &entries {
                    let newest: &mut Bucket = model.entry(entry.fingerprint()).or_insert(entry.bucket());
                    *newest = entry.bucket().max(*newest);
                }
                pile.push_all(entries.into_iter());
                let asked = Fingerprint::from_bits(random.random::<u128>() & spread);
                assert_eq!(pile.find(asked), model.get(&asked).copied());
                let sorted = pile.sort();
                let found: Vec<_> = sorted.iter().map(|entry| (entry.fingerprint(), entry.bucket())).collect();
                assert!(found.iter().copied().eq(model.clone()), "{count} in {spread:x}, part {part}");
                assert_eq!(sorted.len(), model.len());
            }
            pile.clear();
            assert_eq!((pile.len(), pile.sort().iter().count()), (0, 0));
            pile.push_all([Entry::new(Fingerprint::from_bits(1), Bucket(3))].into_iter());
            assert_eq!(pile.sort().only_bucket(), Some(Bucket(3)));
        }
    }
}
