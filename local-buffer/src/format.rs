//! The bytes on disk: pure functions between them and values. FORMAT.md has the tables; `golden.rs` holds both to it.
//!
//! A segment is two header slots and then blocks. Each block carries a header, so that a reader who lost the thread
//! finds it again at the next one. Records flow through the blocks and may span them. Every checksum is CRC-32C
//! (Castagnoli), and all but those of the slots start from the instance, so that bytes of another buffer, or bytes that
//! a client made to look like ours, never check.

use crate::id::{InstanceId, RecordId};

/// Version of all files of a buffer.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// The unit of writing: the largest sector and page size that direct writes have to respect.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Header of a block.
pub(crate) const BLOCK_HEADER_BYTES: usize = 32;
/// Header of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 20;
/// What a block holds beside its header.
pub(crate) const BLOCK_CONTENT_BYTES: usize = BLOCK_BYTES - BLOCK_HEADER_BYTES;
/// Where the blocks of a segment begin: after its two header slots.
pub(crate) const DATA_START: u64 = 2 * BLOCK_BYTES as u64;

/// One block, as a plain array.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// The largest payload that fits `blocks` blocks of its own.
pub(crate) const fn payload_bytes_max(blocks: usize) -> usize {
    blocks * BLOCK_CONTENT_BYTES - RECORD_HEADER_BYTES
}

/// Where the next record header stands if the one before it ended at `at`; a header is never split over two blocks.
pub(crate) const fn header_place(at: usize) -> usize {
    let inside = at % BLOCK_BYTES;
    if inside == 0 {
        at + BLOCK_HEADER_BYTES
    } else if inside < BLOCK_HEADER_BYTES {
        at - inside + BLOCK_HEADER_BYTES
    } else if BLOCK_BYTES - inside < RECORD_HEADER_BYTES {
        at - inside + BLOCK_BYTES + BLOCK_HEADER_BYTES
    } else {
        at
    }
}

/// Where a payload of `bytes` that starts at `at`, just behind its record header, ends.
pub(crate) const fn payload_end(at: usize, bytes: usize) -> usize {
    let room = (BLOCK_BYTES - at % BLOCK_BYTES) % BLOCK_BYTES;
    if bytes <= room {
        return at + bytes;
    }
    let left = bytes - room;
    let rest = left % BLOCK_CONTENT_BYTES;
    let tail = if rest == 0 { 0 } else { BLOCK_HEADER_BYTES + rest };
    at + room + left / BLOCK_CONTENT_BYTES * BLOCK_BYTES + tail
}

/// Where a record of `bytes` that follows one that ended at `at` ends.
pub(crate) const fn record_end(at: usize, bytes: usize) -> usize {
    payload_end(header_place(at) + RECORD_HEADER_BYTES, bytes)
}

/// What all checksums of an instance start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockSeed(u32);

impl BlockSeed {
    pub(crate) fn of(instance: InstanceId) -> Self {
        Self(crc32c::crc32c(&instance.to_bytes()))
    }

    /// What the checksums of records of one generation start from.
    pub(crate) fn records(self, generation: u64) -> RecordSeed {
        RecordSeed(crc32c::crc32c_append(self.0, &generation.to_le_bytes()))
    }
}

/// What the checksums of records of one generation of one instance start from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecordSeed(u32);

/// Header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Offset in the block of the first record header in it; 0 when none starts here.
    pub(crate) first_record: u16,
    pub(crate) generation: u64,
    /// Index of the block in its segment, header slots counted.
    pub(crate) index: u32,
    /// Index of the first block of the group that wrote it.
    pub(crate) group_start: u32,
    /// When the group was written, milliseconds since 1970.
    pub(crate) written_ms: u64,
}

impl BlockHeader {
    pub(crate) fn encode(&self, block: &mut [u8], seed: BlockSeed) {
        put(block, 4, &self.first_record.to_le_bytes());
        put(block, 6, &[0; 2]);
        put(block, 8, &self.generation.to_le_bytes());
        put(block, 16, &self.index.to_le_bytes());
        put(block, 20, &self.group_start.to_le_bytes());
        put(block, 24, &self.written_ms.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed.0, &block[4..BLOCK_HEADER_BYTES]);
        put(block, 0, &checksum.to_le_bytes());
    }

    /// The header, if its checksum holds.
    pub(crate) fn decode(block: &[u8], seed: BlockSeed) -> Option<Self> {
        if u32_at(block, 0) != crc32c::crc32c_append(seed.0, &block[4..BLOCK_HEADER_BYTES]) {
            return None;
        }
        Some(Self {
            first_record: u16::from_le_bytes(array(block, 4)),
            generation: u64_at(block, 8),
            index: u32_at(block, 16),
            group_start: u32_at(block, 20),
            written_ms: u64_at(block, 24),
        })
    }
}

/// What a record is for. The numbers are long enough to be searched for in damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// Bytes of an appender.
    Data,
    /// Fills the last block of a group; its id is that of the record before it plus one, and it uses none.
    Padding,
}

impl RecordKind {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Data => u32::from_le_bytes(*b"REC1"),
            Self::Padding => u32::from_le_bytes(*b"PAD1"),
        }
    }

    const fn of(code: u32) -> Option<Self> {
        if code == Self::Data.code() {
            Some(Self::Data)
        } else if code == Self::Padding.code() {
            Some(Self::Padding)
        } else {
            None
        }
    }
}

/// Header of a record, without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) bytes: u32,
    pub(crate) id: RecordId,
    pub(crate) kind: RecordKind,
}

impl RecordHeader {
    /// Writes the header; `payload_sum` is the plain CRC-32C of the payload, so that it can be computed beforehand.
    pub(crate) fn encode(&self, to: &mut [u8], seed: RecordSeed, payload_sum: u32) {
        put(to, 4, &self.bytes.to_le_bytes());
        put(to, 8, &self.id.get().to_le_bytes());
        put(to, 16, &self.kind.code().to_le_bytes());
        let checksum = Self::checksum(to, seed, payload_sum);
        put(to, 0, &checksum.to_le_bytes());
    }

    /// The header, if its kind is known; nothing is checked yet.
    pub(crate) fn decode(from: &[u8]) -> Option<Self> {
        let kind = RecordKind::of(u32_at(from, 16))?;
        Some(Self { bytes: u32_at(from, 4), id: RecordId::from_u64(u64_at(from, 8)), kind })
    }

    /// Whether the bytes of a header belong to a payload with this sum, an instance and a generation.
    pub(crate) fn checks(from: &[u8], seed: RecordSeed, payload_sum: u32) -> bool {
        u32_at(from, 0) == Self::checksum(from, seed, payload_sum)
    }

    fn checksum(header: &[u8], seed: RecordSeed, payload_sum: u32) -> u32 {
        let sum = crc32c::crc32c_append(seed.0, &header[4..RECORD_HEADER_BYTES]);
        crc32c::crc32c_append(sum, &payload_sum.to_le_bytes())
    }
}

pub(crate) fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

pub(crate) fn array<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&from[at..at + N]);
    bytes
}

pub(crate) fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(from, at))
}

pub(crate) fn u64_at(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(from, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_record_is_what_walking_byte_by_byte_gives() {
        for start in (32..=4096).chain([0]) {
            for bytes in [0, 1, 19, 20, 21, 4000, 4043, 4044, 4045, 4064, 8107, 8108, 8109, 20_000] {
                let mut at = header_place(start) + RECORD_HEADER_BYTES;
                for _ in 0..bytes {
                    if at.is_multiple_of(BLOCK_BYTES) {
                        at += BLOCK_HEADER_BYTES;
                    }
                    at += 1;
                }
                assert_eq!(record_end(start, bytes), at, "start {start}, {bytes} bytes");
            }
        }
    }

    #[test]
    fn the_largest_payload_fills_its_blocks_and_one_byte_more_does_not_fit() {
        for blocks in [1, 2, 62] {
            assert_eq!(record_end(0, payload_bytes_max(blocks)), blocks * BLOCK_BYTES);
            assert!(record_end(0, payload_bytes_max(blocks) + 1) > blocks * BLOCK_BYTES);
        }
    }

    #[test]
    fn a_record_of_another_generation_or_instance_does_not_check() {
        let seed = |instance, generation| BlockSeed::of(InstanceId::from_bytes([instance; 16])).records(generation);
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let header = RecordHeader { bytes: 3, id: RecordId::from_u64(5), kind: RecordKind::Data };
        let sum = crc32c::crc32c(b"abc");
        header.encode(&mut bytes, seed(1, 1), sum);
        assert_eq!(RecordHeader::decode(&bytes), Some(header));
        assert!(RecordHeader::checks(&bytes, seed(1, 1), sum));
        assert!(!RecordHeader::checks(&bytes, seed(1, 2), sum));
        assert!(!RecordHeader::checks(&bytes, seed(2, 1), sum));
        assert!(!RecordHeader::checks(&bytes, seed(1, 1), crc32c::crc32c(b"abd")));
    }
}
