//! The filter of one run: the `bloomfilter` crate's, filled by us.
//!
//! A run's filter is made in one go, and making it took a fifth of a rebuild's processor time. [`Filling`] sets the bits
//! that the crate would set, by the crate's own definition, in a third of the time: both hashes side by side, and a
//! multiplication in the place of each division. The crate reads them; a test holds the two together.

use bloomfilter::Bloom;
use bloomfilter::reexports::siphasher::sip::SipHasher13;

use crate::error::IndexError;

/// Which of the group's runs to read: one in twenty is read in vain, for 6.2 bits an identity. Halving that costs
/// another 1.4 bits of memory and disk each, to save a read for one event in some thousands.
const FALSE_RATE: f64 = 0.05;
/// The digests come from a seeded hash, so this need not be secret. Equal halves would make the crate's two hash
/// functions one.
const SEED: [u8; 32] = *b"turnstile filter of a sealed run";
/// The largest prime below 2^64: the crate takes its combined hashes modulo this.
const PRIME: u64 = 0xffff_ffff_ffff_ffc5;

/// The filter of one run.
pub(crate) type RunFilter = Bloom<u64>;

/// A filter that keys are added to.
pub(crate) struct Filling {
    /// As the crate keeps it: a header, then the bits.
    bytes: Vec<u8>,
    header_bytes: usize,
    functions: u32,
    sips: [SipHasher13; 2],
    bits: Divisor,
}

impl Filling {
    /// An empty one with room for `keys`.
    pub(crate) fn new(keys: usize) -> Result<Self, IndexError> {
        let empty = RunFilter::new_for_fp_rate_with_seed(keys.max(1), FALSE_RATE, &SEED).map_err(failed)?;
        let (bits, functions) = (empty.len(), empty.number_of_hash_functions());
        let bytes = empty.into_bytes();
        let half = |from: usize| SipHasher13::new_with_key(&std::array::from_fn(|place| SEED[from + place]));
        let header_bytes = bytes.len() - (bits / 8) as usize;
        Ok(Self { bytes, header_bytes, functions, sips: [half(0), half(16)], bits: Divisor::new(bits) })
    }

    #[inline]
    pub(crate) fn add(&mut self, key: u64) {
        let [first, second] = self.sips.map(|sip| sip.hash(&key.to_le_bytes()));
        for function in 0..self.functions {
            let hash = match function {
                0 => first,
                1 => second,
                more => {
                    let sum = first.wrapping_add(u64::from(more).wrapping_mul(second));
                    if sum < PRIME { sum } else { sum - PRIME }
                }
            };
            let bit = self.bits.rest_of(hash) as usize;
            self.bytes[self.header_bytes + bit / 8] |= 1 << (bit % 8);
        }
    }

    pub(crate) fn finish(self) -> Result<RunFilter, IndexError> {
        RunFilter::from_bytes(self.bytes).map_err(failed)
    }
}

/// A number that is divided by often.
struct Divisor {
    number: u64,
    /// 2^64 / number, rounded down; or a little less.
    reciprocal: u64,
}

impl Divisor {
    fn new(number: u64) -> Self {
        Self { number, reciprocal: u64::MAX / number }
    }

    /// `dividend` modulo the number.
    #[inline]
    fn rest_of(&self, dividend: u64) -> u64 {
        // At most two too small, because reciprocal and product are rounded down.
        let quotient = ((u128::from(dividend) * u128::from(self.reciprocal)) >> 64) as u64;
        let mut rest = dividend - quotient * self.number;
        while rest >= self.number {
            rest -= self.number;
        }
        rest
    }
}

fn failed(what: &'static str) -> IndexError {
    IndexError::Store { operation: "make run filter", detail: what.into() }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_bits_are_those_that_the_crate_sets() {
        let mut random = SmallRng::seed_from_u64(9);
        for keys in [0, 1, 2, 1_000, 77_777] {
            let mut filling = Filling::new(keys).unwrap();
            let mut theirs = RunFilter::new_for_fp_rate_with_seed(keys.max(1), FALSE_RATE, &SEED).unwrap();
            for _ in 0..keys {
                let key = random.random();
                filling.add(key);
                theirs.set(&key);
            }
            assert_eq!(filling.finish().unwrap().as_slice(), theirs.as_slice(), "{keys} keys");
        }
    }

    #[test]
    fn a_multiplication_divides() {
        let mut random = SmallRng::seed_from_u64(10);
        for number in [1, 2, 3, 8, 1 << 20, (1 << 20) + 8, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            let divisor = Divisor::new(number);
            let dividends = (0..1_000).map(|_| random.random());
            for dividend in [0, 1, number - 1, number, number.wrapping_add(1), u64::MAX].into_iter().chain(dividends) {
                assert_eq!(divisor.rest_of(dividend), dividend % number, "{dividend} by {number}");
            }
        }
    }
}
