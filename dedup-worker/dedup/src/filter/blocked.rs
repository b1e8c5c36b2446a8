//! A Bloom filter whose every key lies in one cache line: one bit in each of the line's eight words.
//!
//! The line is chosen by the fingerprint's uppermost 32 bits, so that adding a sorted run walks the filter front to
//! back; the bits by its lower 48. A fingerprint is part of a seeded hash, nothing is hashed again.

use std::io;

use crate::fingerprint::Fingerprint;
use crate::mapping::{Line, Mapping};
use crate::prefetch::prefetch;

/// Bits of filter for each key it has room for. 12 would let five times as many through, and each costs a read.
const BITS_PER_KEY: usize = 16;
const BLOCK_BITS: usize = size_of::<Line>() * 8;
/// log2 of a word's bits: what chooses one of them.
const WORD_INDEX_BITS: u32 = 6;

/// What a key asks of a filter, the same of every filter: worked out once.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Probe {
    place: u32,
    block: Line,
}

impl Probe {
    pub(crate) fn new(key: Fingerprint) -> Self {
        let mut bits = key.low();
        let words = [(); 8].map(|()| {
            let word = 1 << (bits % u64::from(u64::BITS));
            bits >>= WORD_INDEX_BITS;
            word
        });
        Self { place: key.prefix(u32::BITS), block: Line(words) }
    }
}

#[derive(Debug)]
pub(crate) struct BlockedFilter {
    blocks: Mapping<Line>,
}

impl BlockedFilter {
    /// A filter with room for `keys`.
    ///
    /// # Errors
    /// Where the system has no memory left.
    pub(crate) fn new(keys: usize) -> io::Result<Self> {
        Ok(Self { blocks: Mapping::new((keys * BITS_PER_KEY).div_ceil(BLOCK_BITS))? })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len() * size_of::<Line>()
    }

    #[inline]
    pub(crate) fn prefetch(&self, probe: &Probe) {
        prefetch(&self.blocks[self.place_of(probe)]);
    }

    pub(crate) fn insert(&mut self, key: Fingerprint) {
        let probe = Probe::new(key);
        let place = self.place_of(&probe);
        for (word, bit) in self.blocks[place].0.iter_mut().zip(probe.block.0) {
            *word |= bit;
        }
    }

    /// Whether the key may have been inserted; one that was always is found.
    #[inline]
    pub(crate) fn contains(&self, probe: &Probe) -> bool {
        let block = &self.blocks[self.place_of(probe)];
        // Without a branch in between: this is eight instructions' worth of vectors.
        block.0.iter().zip(probe.block.0).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
    }

    fn place_of(&self, probe: &Probe) -> usize {
        ((u64::from(probe.place) * self.blocks.len() as u64) >> u32::BITS) as usize
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn a_full_filter_finds_every_key_and_few_others() {
        const KEYS: usize = 200_000;
        let mut random = SmallRng::seed_from_u64(3);
        let mut filter = BlockedFilter::new(KEYS).unwrap();
        let keys: Vec<_> = (0..KEYS).map(|_| Fingerprint::from_bits(random.random())).collect();
        assert!(!keys.iter().any(|&key| filter.contains(&Probe::new(key))));
        for &key in &keys {
            filter.insert(key);
        }
        assert!(keys.iter().all(|&key| filter.contains(&Probe::new(key))));
        let passed =
            (0..1_000_000).filter(|_| filter.contains(&Probe::new(Fingerprint::from_bits(random.random())))).count();
        assert!((200..2_000).contains(&passed), "{passed} of a million");
        assert_eq!(filter.bytes(), KEYS * 2);
    }

    #[test]
    fn ends_of_the_key_space_have_a_block() {
        let mut filter = BlockedFilter::new(0).unwrap();
        for key in [Fingerprint::from_bits(0), Fingerprint::from_bits(u128::MAX)] {
            filter.insert(key);
            assert!(filter.contains(&Probe::new(key)));
        }
    }
}
