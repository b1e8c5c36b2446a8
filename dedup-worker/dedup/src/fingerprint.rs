//! What the index keeps of a digest: its upper 96 bits, and beside them the bucket, 16 bytes together.
//!
//! With n ids in the window the chance that a new one is taken for an old one is about n / 2^96: 1e-18 with 60 billion.
//!
//! Every structure of the index is ordered by fingerprint and finds its place by the *upper* bits: the open table's
//! slot, the filter's block, the run's group. So a sorted run is read, written and added to a filter front to back.

use wire::{Bucket, Digest};

const BUCKET_BITS: u32 = 32;

/// The upper 96 bits of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    /// Bytes of a fingerprint.
    pub(crate) const BYTES: usize = 12;

    pub(crate) fn of(digest: Digest) -> Self {
        Self(digest.0 >> BUCKET_BITS)
    }

    /// Big-endian, so that bytes sort as fingerprints do.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&self.0.to_be_bytes()[4..]);
        bytes
    }

    /// The digest of this fingerprint whose lower bits are 0.
    pub(crate) fn to_digest(self) -> Digest {
        Digest(self.0 << BUCKET_BITS)
    }

    /// The fingerprint whose value is `bits`, those above 96 ignored.
    pub(crate) fn from_bits(bits: u128) -> Self {
        Self(bits & (u128::MAX >> BUCKET_BITS))
    }

    /// The uppermost `bits`, at most 32.
    pub(crate) fn prefix(self, bits: u32) -> u32 {
        debug_assert!(bits <= 32);
        ((self.0 >> 64) >> (32 - bits)) as u32
    }

    /// The lower 64 bits.
    pub(crate) fn low(self) -> u64 {
        self.0 as u64
    }
}

/// A fingerprint with its bucket. All zeroes never stands for an entry: the bucket is kept plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Entry(u128);

impl Entry {
    /// The value of no entry.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(fingerprint: Fingerprint, bucket: Bucket) -> Self {
        Self(fingerprint.0 << BUCKET_BITS | u128::from(bucket.0.saturating_add(1)))
    }

    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0 >> BUCKET_BITS)
    }

    pub(crate) fn bucket(self) -> Bucket {
        Bucket((self.0 as u32).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_bits_are_kept_and_come_back() {
        let digest = Digest(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let fingerprint = Fingerprint::of(digest);
        assert_eq!(fingerprint.to_bytes(), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0x11, 0x22, 0x33]);
        assert_eq!(fingerprint, Fingerprint::of(Digest(digest.0 ^ 0xffff_ffff)));
        assert_ne!(fingerprint, Fingerprint::of(Digest(digest.0 ^ 0x1_0000_0000)));
        assert_eq!((fingerprint.prefix(0), fingerprint.prefix(12), fingerprint.prefix(32)), (0, 0x012, 0x0123_4567));
        assert_eq!(fingerprint.low(), 0x89ab_cdef_0011_2233);
    }

    #[test]
    fn an_entry_is_never_all_zeroes() {
        for bucket in [0, 1, 20_000, u32::MAX - 1] {
            let entry = Entry::new(Fingerprint(0), Bucket(bucket));
            assert!(!entry.is_none());
            assert_eq!((entry.fingerprint(), entry.bucket()), (Fingerprint(0), Bucket(bucket)));
        }
        // The last bucket there is shares its number with the one before, half a billion years from now.
        assert_eq!(Entry::new(Fingerprint(7), Bucket(u32::MAX)).bucket(), Bucket(u32::MAX - 1));
    }
}
