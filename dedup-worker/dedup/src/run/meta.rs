//! What a run says about itself: the first key of its file, so that ingesting the file is the whole durable step.

use wire::Bucket;

use crate::error::IndexError;
use crate::point::ChangelogPoint;

/// First four bytes of a description.
const MAGIC: [u8; 4] = *b"TSRN";
/// Format version that this program writes.
const VERSION: u16 = 1;
/// Bytes of a description.
pub(crate) const META_BYTES: usize = 76;

/// A run's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunMeta {
    /// Checksum of the directory's identity: a store moved here from another directory is noticed.
    pub(crate) owner: u32,
    /// Number of the run; the next one's is one more.
    pub(crate) sequence: u32,
    /// Uppermost bits of a fingerprint that choose its group.
    pub(crate) prefix_bits: u8,
    /// Bytes kept of each fingerprint in its group.
    pub(crate) tail_bytes: u8,
    /// First changelog offset covered.
    pub(crate) from_offset: u64,
    /// The end of what is covered, and what lies before it.
    pub(crate) to: ChangelogPoint,
    /// The bucket of every identity that does not name another one.
    pub(crate) main_bucket: Bucket,
    /// The oldest bucket of any.
    pub(crate) oldest_bucket: Bucket,
    /// The newest bucket of any: the run expires with it.
    pub(crate) newest_bucket: Bucket,
    /// How many identities there are.
    pub(crate) count: u64,
    /// The window's clock at the end of what is covered, milliseconds since the Unix epoch.
    pub(crate) clock_ms: i64,
}

impl RunMeta {
    pub(crate) fn to_bytes(self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&[self.prefix_bits, self.tail_bytes]);
        put(&self.owner.to_le_bytes());
        put(&self.sequence.to_le_bytes());
        put(&self.from_offset.to_le_bytes());
        put(&self.to.next_offset.to_le_bytes());
        put(&self.to.checksum.to_le_bytes());
        put(&self.to.leader_epoch.to_le_bytes());
        put(&self.main_bucket.0.to_le_bytes());
        put(&self.oldest_bucket.0.to_le_bytes());
        put(&self.newest_bucket.0.to_le_bytes());
        put(&self.count.to_le_bytes());
        put(&self.clock_ms.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..META_BYTES - 4]);
        bytes[META_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let damaged = |what| IndexError::Damaged(format!("a run's description has {what}"));
        let bytes: &[u8; META_BYTES] = bytes.try_into().map_err(|_| damaged("another length"))?;
        if bytes[..4] != MAGIC {
            return Err(damaged("another magic"));
        }
        if u32_at(bytes, META_BYTES - 4) != crc32c::crc32c(&bytes[..META_BYTES - 4]) {
            return Err(damaged("a bad checksum"));
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if version != VERSION {
            return Err(IndexError::Version(version));
        }
        Ok(Self {
            prefix_bits: bytes[6],
            tail_bytes: bytes[7],
            owner: u32_at(bytes, 8),
            sequence: u32_at(bytes, 12),
            from_offset: u64_at(bytes, 16),
            to: ChangelogPoint {
                next_offset: u64_at(bytes, 24),
                checksum: u64_at(bytes, 32),
                leader_epoch: u32_at(bytes, 40).cast_signed(),
            },
            main_bucket: Bucket(u32_at(bytes, 44)),
            oldest_bucket: Bucket(u32_at(bytes, 48)),
            newest_bucket: Bucket(u32_at(bytes, 52)),
            count: u64_at(bytes, 56),
            clock_ms: u64_at(bytes, 64).cast_signed(),
        })
    }
}

fn u32_at(bytes: &[u8; META_BYTES], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8; META_BYTES], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> RunMeta {
        RunMeta {
            owner: 0x0a0b_0c0d,
            sequence: 2,
            prefix_bits: 16,
            tail_bytes: 10,
            from_offset: 3,
            to: ChangelogPoint { next_offset: 4, leader_epoch: -1, checksum: 6 },
            main_bucket: Bucket(8),
            oldest_bucket: Bucket(7),
            newest_bucket: Bucket(9),
            count: 10,
            clock_ms: -11,
        }
    }

    /// The table in STORE.md, field by field.
    #[test]
    fn bytes_are_those_of_the_document() {
        let bytes = meta().to_bytes();
        let mut golden = Vec::from(*b"TSRN\x01\0\x10\x0a\x0d\x0c\x0b\x0a\x02\0\0\0");
        for word in [3_u64, 4, 6] {
            golden.extend_from_slice(&word.to_le_bytes());
        }
        golden.extend_from_slice(b"\xff\xff\xff\xff\x08\0\0\0\x07\0\0\0\x09\0\0\0\x0a\0\0\0\0\0\0\0");
        golden.extend_from_slice(b"\xf5\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(bytes[..META_BYTES - 4], golden);
        assert_eq!(bytes[META_BYTES - 4..], crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(RunMeta::from_bytes(&bytes).unwrap(), meta());
    }

    #[test]
    fn every_flipped_bit_is_damage() {
        let bytes = meta().to_bytes();
        for bit in 0..META_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(RunMeta::from_bytes(&flipped), Err(IndexError::Damaged(_))), "bit {bit}");
        }
        assert!(matches!(RunMeta::from_bytes(&bytes[1..]), Err(IndexError::Damaged(_))));
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = meta().to_bytes();
        bytes[4] = 2;
        let checksum = crc32c::crc32c(&bytes[..META_BYTES - 4]);
        bytes[META_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(RunMeta::from_bytes(&bytes), Err(IndexError::Version(2))));
    }
}
