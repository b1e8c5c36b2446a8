//! A Bloom filter whose every key lies in one cache line: one bit in each of the line's eight words.
//!
//! The line is chosen by the fingerprint's uppermost 32 bits, so that adding a sorted run walks the filter front to
//! back; the bits by its lower 48. A fingerprint is part of a seeded hash, nothing is hashed again.

use std::io;

use super::mapping::{Block, Mapping};
use crate::fingerprint::Fingerprint;
use crate::prefetch::prefetch;

/// Bits of filter for each key it has room for. 12 would let five times as many through, and each costs a read.
const BITS_PER_KEY: usize = 16;
const BLOCK_BITS: usize = size_of::<Block>() * 8;
/// log2 of a word's bits: what chooses one of them.
const WORD_INDEX_BITS: u32 = 6;

#[derive(Debug)]
pub(crate) struct BlockedFilter {
    blocks: Mapping,
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
        self.blocks.len() * size_of::<Block>()
    }

    pub(crate) fn prefetch(&self, key: Fingerprint) {
        prefetch(&self.blocks[self.block_of(key)]);
    }

    pub(crate) fn insert(&mut self, key: Fingerprint) {
        let block = self.block_of(key);
        let mut bits = key.low();
        for word in &mut self.blocks[block].0 {
            *word |= 1 << (bits % u64::from(u64::BITS));
            bits >>= WORD_INDEX_BITS;
        }
    }

    /// Whether `key` may have been inserted; one that was always is found.
    pub(crate) fn contains(&self, key: Fingerprint) -> bool {
        let mut bits = key.low();
        let mut all = 1;
        for word in self.blocks[self.block_of(key)].0 {
            all &= word >> (bits % u64::from(u64::BITS));
            bits >>= WORD_INDEX_BITS;
        }
        all == 1
    }

    fn block_of(&self, key: Fingerprint) -> usize {
        ((u64::from(key.prefix(u32::BITS)) * self.blocks.len() as u64) >> u32::BITS) as usize
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
        assert!(!keys.iter().any(|&key| filter.contains(key)));
        for &key in &keys {
            filter.insert(key);
        }
        assert!(keys.iter().all(|&key| filter.contains(key)));
        let passed = (0..1_000_000).filter(|_| filter.contains(Fingerprint::from_bits(random.random()))).count();
        assert!((200..2_000).contains(&passed), "{passed} of a million");
        assert_eq!(filter.bytes(), KEYS * 2);
    }

    #[test]
    fn ends_of_the_key_space_have_a_block() {
        let mut filter = BlockedFilter::new(0).unwrap();
        for key in [Fingerprint::from_bits(0), Fingerprint::from_bits(u128::MAX)] {
            filter.insert(key);
            assert!(filter.contains(key));
        }
    }
}
