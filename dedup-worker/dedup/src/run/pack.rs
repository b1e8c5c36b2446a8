//! How a run's identities are packed, as functions of bytes.
//!
//! Fingerprints that share their uppermost bits form a group, the value of one key. It holds the lower bytes of each,
//! sorted and all of one length, then the buckets of those that are not in the run's main one:
//!
//! ```text
//! tails       tail_bytes each, big-endian, ascending
//! exceptions  u32 index of the tail, u32 bucket, ascending by index
//! u32         number of exceptions
//! ```
//!
//! A day's run has next to no exceptions, so an identity costs its tail and its share of the group's key.

use wire::Bucket;

use crate::error::IndexError;
use crate::fingerprint::{Entry, Fingerprint};

/// Groups are no larger than this on average: a lookup reads the whole group.
const GROUP_COUNT_MAX: u64 = 128;
/// And no smaller, for the sake of the key that each costs.
const GROUP_COUNT_MIN: u64 = 16;
/// Bytes a group costs beside its tails: key, RocksDB's trailer, lengths, number of exceptions.
const GROUP_OVERHEAD_BYTES: f64 = 21.0;
const PREFIX_BITS_MAX: u32 = 24;
const EXCEPTION_BYTES: usize = 8;
const COUNT_BYTES: usize = 4;

/// How the fingerprints of one run are split between key and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Split {
    prefix_bits: u32,
    tail_bytes: usize,
}

/// What a group says about one fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    No,
    InMain,
    In(Bucket),
}

impl Split {
    /// The split that takes the fewest bytes for `count` fingerprints.
    pub(crate) fn for_count(count: u64) -> Self {
        let cost = |bits: u32| {
            Self::at(bits).tail_bytes as f64 + GROUP_OVERHEAD_BYTES * 2_f64.powi(bits.cast_signed()) / count as f64
        };
        let sized = (0..=PREFIX_BITS_MAX)
            .filter(|bits| (GROUP_COUNT_MIN << bits..=GROUP_COUNT_MAX << bits).contains(&count))
            .min_by(|one, other| cost(*one).total_cmp(&cost(*other)));
        let least = if count < GROUP_COUNT_MIN { 0 } else { PREFIX_BITS_MAX };
        Self::at(sized.unwrap_or(least))
    }

    /// The split a run says it has.
    pub(crate) fn try_new(prefix_bits: u8, tail_bytes: u8) -> Result<Self, IndexError> {
        let split = Self::at(u32::from(prefix_bits).min(PREFIX_BITS_MAX));
        if split.prefix_bits == u32::from(prefix_bits) && split.tail_bytes == usize::from(tail_bytes) {
            Ok(split)
        } else {
            Err(damaged("a split that no run has"))
        }
    }

    fn at(prefix_bits: u32) -> Self {
        Self { prefix_bits, tail_bytes: Fingerprint::BYTES - prefix_bits as usize / 8 }
    }

    pub(crate) fn prefix_bits(self) -> u8 {
        self.prefix_bits as u8
    }

    pub(crate) fn tail_bytes(self) -> u8 {
        self.tail_bytes as u8
    }

    /// The group a fingerprint belongs to.
    pub(crate) fn group_of(self, fingerprint: Fingerprint) -> u32 {
        fingerprint.prefix(self.prefix_bits)
    }

    /// What `group`, the fingerprint's own, says about it.
    pub(crate) fn find(self, group: &[u8], fingerprint: Fingerprint) -> Result<Found, IndexError> {
        let (tails, exceptions) = self.parts(group)?;
        let bytes = fingerprint.to_bytes();
        let tail = &bytes[Fingerprint::BYTES - self.tail_bytes..];
        let (mut low, mut high) = (0, tails.len() / self.tail_bytes);
        while low < high {
            let middle = low.midpoint(high);
            match tails[middle * self.tail_bytes..][..self.tail_bytes].cmp(tail) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let exception = exceptions.iter().copied().map(exception).find(|(index, _)| *index == middle);
                    return Ok(exception.map_or(Found::InMain, |(_, bucket)| Found::In(bucket)));
                }
            }
        }
        Ok(Found::No)
    }

    /// Gives every fingerprint of a group to `visit`, front to back, with its bucket. Counts them.
    pub(crate) fn visit(
        self,
        group: &[u8],
        prefix: u32,
        main: Bucket,
        mut visit: impl FnMut(Entry) -> Result<(), IndexError>,
    ) -> Result<u64, IndexError> {
        let (tails, exceptions) = self.parts(group)?;
        let mut exceptions = exceptions.iter().copied().map(exception).peekable();
        // The key's bits above the tail. Those that lie in both come from the tail and are compared with the key.
        let tail_bits = self.tail_bytes as u32 * 8;
        let upper = u128::from(prefix) << (Fingerprint::BYTES as u32 * 8 - self.prefix_bits) >> tail_bits << tail_bits;
        for (index, tail) in tails.chunks_exact(self.tail_bytes).enumerate() {
            let mut bytes = [0; 16];
            bytes[16 - self.tail_bytes..].copy_from_slice(tail);
            let fingerprint = Fingerprint::from_bits(upper | u128::from_be_bytes(bytes));
            if self.group_of(fingerprint) != prefix {
                return Err(damaged("an identity in a group that is not its own"));
            }
            let bucket = exceptions.next_if(|(at, _)| *at == index).map_or(main, |(_, bucket)| bucket);
            visit(Entry::new(fingerprint, bucket))?;
        }
        if exceptions.next().is_some() {
            return Err(damaged("buckets that belong to no identity"));
        }
        Ok((tails.len() / self.tail_bytes) as u64)
    }

    fn parts(self, group: &[u8]) -> Result<(&[u8], &[[u8; EXCEPTION_BYTES]]), IndexError> {
        let short = || damaged("a group of a wrong length");
        let (rest, count) = group.split_last_chunk::<COUNT_BYTES>().ok_or_else(short)?;
        let exceptions_bytes = u32::from_le_bytes(*count) as usize * EXCEPTION_BYTES;
        let tails_bytes = rest.len().checked_sub(exceptions_bytes).ok_or_else(short)?;
        let (tails, exceptions) = rest.split_at(tails_bytes);
        if tails.is_empty() || tails.len() % self.tail_bytes != 0 {
            return Err(short());
        }
        Ok((tails, exceptions.as_chunks().0))
    }
}

/// Collects one group at a time; its buffers are reused.
#[derive(Debug)]
pub(crate) struct GroupWriter {
    split: Split,
    main: Bucket,
    value: Vec<u8>,
    exceptions: Vec<u8>,
    count: u32,
}

impl GroupWriter {
    pub(crate) fn new(split: Split, main: Bucket) -> Self {
        Self { split, main, value: Vec::new(), exceptions: Vec::new(), count: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds the next identity of the group, a larger one than the last.
    pub(crate) fn push(&mut self, entry: Entry) {
        let bytes = entry.fingerprint().to_bytes();
        // The lengths that there are, each known to the compiler: a copy of unknown length costs more than all the rest.
        match self.split.tail_bytes {
            9 => self.value.extend_from_slice(&bytes[3..]),
            10 => self.value.extend_from_slice(&bytes[2..]),
            11 => self.value.extend_from_slice(&bytes[1..]),
            _ => self.value.extend_from_slice(&bytes),
        }
        if entry.bucket() != self.main {
            self.exceptions.extend_from_slice(&self.count.to_le_bytes());
            self.exceptions.extend_from_slice(&entry.bucket().0.to_le_bytes());
        }
        self.count += 1;
    }

    /// The group's bytes, after which the next group begins.
    pub(crate) fn finish(&mut self, write: impl FnOnce(&[u8]) -> Result<(), IndexError>) -> Result<(), IndexError> {
        self.value.extend_from_slice(&self.exceptions);
        self.value.extend_from_slice(&((self.exceptions.len() / EXCEPTION_BYTES) as u32).to_le_bytes());
        let written = write(&self.value);
        self.value.clear();
        self.exceptions.clear();
        self.count = 0;
        written
    }
}

fn exception(bytes: [u8; EXCEPTION_BYTES]) -> (usize, Bucket) {
    let [i0, i1, i2, i3, b0, b1, b2, b3] = bytes;
    (u32::from_le_bytes([i0, i1, i2, i3]) as usize, Bucket(u32::from_le_bytes([b0, b1, b2, b3])))
}

fn damaged(what: &str) -> IndexError {
    IndexError::Damaged(format!("a run has {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn splits_keep_96_bits_and_cost_less_than_12_bytes() {
        for (count, prefix_bits, tail_bytes) in
            [(0, 0, 12), (15, 0, 12), (100, 0, 12), (10_000, 8, 11), (416_667, 12, 11), (3_571_429, 16, 10)]
        {
            let split = Split::for_count(count);
            assert_eq!((split.prefix_bits, split.tail_bytes), (prefix_bits, tail_bytes), "{count}");
        }
        for count in (0..40).map(|bits| 3_u64 << bits) {
            let split = Split::for_count(count);
            assert!(split.prefix_bits as usize + split.tail_bytes * 8 >= 96, "{count}");
            let overhead = GROUP_OVERHEAD_BYTES * 2_f64.powi(split.prefix_bits.cast_signed()) / count as f64;
            assert!(count < 4_096 || split.tail_bytes as f64 + overhead < 12.0, "{count}");
            assert_eq!(Split::try_new(split.prefix_bits(), split.tail_bytes()).unwrap(), split);
        }
        assert!(Split::try_new(16, 11).is_err());
        assert!(Split::try_new(25, 9).is_err());
    }

    #[test]
    fn a_group_is_laid_out_as_the_document_says() {
        let split = Split::at(8);
        let mut writer = GroupWriter::new(split, Bucket(5));
        let first = Fingerprint::from_bits(0x0a00_0000_0000_0000_0000_0001);
        let second = Fingerprint::from_bits(0x0a00_0000_0000_0000_0000_0002);
        writer.push(Entry::new(first, Bucket(5)));
        writer.push(Entry::new(second, Bucket(6)));
        let mut value = Vec::new();
        writer
            .finish(|bytes| {
                value = bytes.to_vec();
                Ok(())
            })
            .unwrap();
        assert_eq!(value, b"\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x02\x01\0\0\0\x06\0\0\0\x01\0\0\0");
        assert_eq!(split.find(&value, first).unwrap(), Found::InMain);
        assert_eq!(split.find(&value, second).unwrap(), Found::In(Bucket(6)));
        assert_eq!(split.find(&value, Fingerprint::from_bits(0x0a << 88)).unwrap(), Found::No);
        let too_many = [&value[..value.len() - 4], &[9, 0, 0, 0]].concat();
        for wrong in [&value[..3], &value[1..], &value[value.len() - 4..], &too_many] {
            assert!(matches!(split.find(wrong, first), Err(IndexError::Damaged(_))), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_found_and_visited(
            prefix_bits in 0_u32..=PREFIX_BITS_MAX,
            numbers in prop::collection::btree_map(any::<u128>(), 0_u32..3, 1..200),
        ) {
            let split = Split::at(prefix_bits);
            let prefix = 0x00ab_cdef & ((1 << prefix_bits) - 1);
            let upper = u128::from(prefix) << (96 - prefix_bits);
            let mask = (1_u128 << (96 - prefix_bits)) - 1;
            let numbers: std::collections::BTreeMap<_, _> =
                numbers.into_iter().map(|(n, b)| (Fingerprint::from_bits(upper | (n & mask)), Bucket(b))).collect();
            let entries: Vec<_> = numbers.into_iter().map(|(f, b)| Entry::new(f, b)).collect();
            let mut writer = GroupWriter::new(split, Bucket(1));
            for entry in &entries {
                prop_assert_eq!(split.group_of(entry.fingerprint()), prefix);
                writer.push(*entry);
            }
            let mut value = Vec::new();
            writer.finish(|bytes| { value = bytes.to_vec(); Ok(()) }).unwrap();
            let mut visited = Vec::new();
            let count = split.visit(&value, prefix, Bucket(1), |entry| { visited.push(entry); Ok(()) }).unwrap();
            prop_assert_eq!(count, entries.len() as u64);
            prop_assert_eq!(&visited, &entries);
            for entry in entries {
                let expected = if entry.bucket() == Bucket(1) { Found::InMain } else { Found::In(entry.bucket()) };
                prop_assert_eq!(split.find(&value, entry.fingerprint()).unwrap(), expected);
            }
        }

        #[test]
        fn no_bytes_panic(prefix_bits in 0_u32..=PREFIX_BITS_MAX, value in prop::collection::vec(any::<u8>(), 0..200)) {
            let split = Split::at(prefix_bits);
            let _ = split.find(&value, Fingerprint::from_bits(7));
            let _ = split.visit(&value, 0, Bucket(1), |_| Ok(()));
        }
    }
}
