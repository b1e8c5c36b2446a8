//! The slots in which a segment, the floor and the name of a buffer are kept: two of each, so that one is always whole.

use std::io;

use crate::format::{BLOCK_BYTES, Block, FORMAT_VERSION, array, put, u32_at, u64_at};
use crate::id::{InstanceId, RecordId};
use crate::storage::{File, UNREADABLE, is_unreadable};

/// Size of a file that is nothing but two slots.
pub(crate) const SLOTS_BYTES: u64 = 2 * BLOCK_BYTES as u64;

const SEGMENT_MAGIC: [u8; 8] = *b"TURNSEG\0";
const FLOOR_MAGIC: [u8; 8] = *b"TURNFLR\0";
const META_MAGIC: [u8; 8] = *b"TURNBUF\0";
const SEGMENT_SLOT_BYTES: usize = 108;
const FLOOR_SLOT_BYTES: usize = 60;
const META_SLOT_BYTES: usize = 44;

/// What a slot of two holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot<T> {
    /// Never written.
    Blank,
    /// Written, and its checksum does not hold.
    Damaged,
    /// Whole, but of a version this program does not know.
    Newer(u32),
    Good(T),
}

impl<T> Slot<T> {
    pub(crate) fn good(&self) -> Option<&T> {
        match self {
            Self::Good(value) => Some(value),
            _ => None,
        }
    }
}

impl<T> Slot<T> {
    /// One whose sequence belongs into the other slot was not written there, and is damage.
    pub(crate) fn in_its_place(self, number: usize, sequence: impl Fn(&T) -> u64) -> Self {
        match self {
            Self::Good(value) if sequence(&value) % 2 != number as u64 => Self::Damaged,
            slot => slot,
        }
    }
}

/// What a segment is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Nothing in it counts; it may be overwritten.
    Free,
    /// It holds records, or is about to.
    Active,
}

/// Header slot of a segment. The slot with the higher sequence counts; sequence n stands in slot n mod 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) state: SegmentState,
    pub(crate) sequence: u64,
    pub(crate) instance: InstanceId,
    pub(crate) segment_bytes: u64,
    /// Active: of its blocks. Free: the last one used, 0 for none.
    pub(crate) generation: u64,
    /// Active: no record in it has a lower id.
    pub(crate) first: RecordId,
    /// Active: the segment that was written before, 0 for none, ...
    pub(crate) previous_generation: u64,
    /// ... where its records end, bytes from its start, ...
    pub(crate) previous_end: u64,
    /// ... and the id after its last one. Free: the floor that allowed it.
    pub(crate) previous_end_id: RecordId,
    pub(crate) written_ms: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, &SEGMENT_MAGIC);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        let state: u32 = match self.state {
            SegmentState::Free => 1,
            SegmentState::Active => 2,
        };
        put(&mut block, 12, &state.to_le_bytes());
        put(&mut block, 16, &self.sequence.to_le_bytes());
        put(&mut block, 24, &self.instance.to_bytes());
        put(&mut block, 40, &self.segment_bytes.to_le_bytes());
        put(&mut block, 48, &self.generation.to_le_bytes());
        put(&mut block, 56, &self.first.get().to_le_bytes());
        put(&mut block, 64, &self.previous_generation.to_le_bytes());
        put(&mut block, 72, &self.previous_end.to_le_bytes());
        put(&mut block, 80, &self.previous_end_id.get().to_le_bytes());
        put(&mut block, 88, &self.written_ms.to_le_bytes());
        // Bytes 96..104 are kept for later and zero.
        seal(&mut block, SEGMENT_SLOT_BYTES);
        block
    }

    pub(crate) fn decode(block: &[u8]) -> Slot<Self> {
        open_slot(block, SEGMENT_MAGIC, SEGMENT_SLOT_BYTES, |block| {
            let state = match u32_at(block, 12) {
                1 => SegmentState::Free,
                2 => SegmentState::Active,
                _ => return None,
            };
            Some(Self {
                state,
                sequence: u64_at(block, 16),
                instance: InstanceId::from_bytes(array(block, 24)),
                segment_bytes: u64_at(block, 40),
                generation: u64_at(block, 48),
                first: RecordId::from_u64(u64_at(block, 56)),
                previous_generation: u64_at(block, 64),
                previous_end: u64_at(block, 72),
                previous_end_id: RecordId::from_u64(u64_at(block, 80)),
                written_ms: u64_at(block, 88),
            })
        })
    }
}

/// Slot of the floor file. Higher sequence counts; sequence n stands in slot n mod 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloorSlot {
    pub(crate) sequence: u64,
    pub(crate) instance: InstanceId,
    /// Everything below it is done.
    pub(crate) floor: RecordId,
    /// No block on disk has a higher generation, but for those of segments that say so in their own header.
    pub(crate) generation: u64,
}

impl FloorSlot {
    pub(crate) fn encode(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, &FLOOR_MAGIC);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, 16, &self.sequence.to_le_bytes());
        put(&mut block, 24, &self.instance.to_bytes());
        put(&mut block, 40, &self.floor.get().to_le_bytes());
        put(&mut block, 48, &self.generation.to_le_bytes());
        seal(&mut block, FLOOR_SLOT_BYTES);
        block
    }

    pub(crate) fn decode(block: &[u8]) -> Slot<Self> {
        open_slot(block, FLOOR_MAGIC, FLOOR_SLOT_BYTES, |block| {
            Some(Self {
                sequence: u64_at(block, 16),
                instance: InstanceId::from_bytes(array(block, 24)),
                floor: RecordId::from_u64(u64_at(block, 40)),
                generation: u64_at(block, 48),
            })
        })
    }
}

/// Slot of the meta file; both slots say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MetaSlot {
    pub(crate) instance: InstanceId,
    pub(crate) created_ms: u64,
}

impl MetaSlot {
    pub(crate) fn encode(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, &META_MAGIC);
        put(&mut block, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut block, 16, &self.instance.to_bytes());
        put(&mut block, 32, &self.created_ms.to_le_bytes());
        seal(&mut block, META_SLOT_BYTES);
        block
    }

    pub(crate) fn decode(block: &[u8]) -> Slot<Self> {
        open_slot(block, META_MAGIC, META_SLOT_BYTES, |block| {
            Some(Self { instance: InstanceId::from_bytes(array(block, 16)), created_ms: u64_at(block, 32) })
        })
    }
}

/// The bytes of the two slots of a file. One that the disk cannot read is a damaged one.
pub(crate) fn read_slot_bytes(file: &dyn File) -> io::Result<[u8; SLOTS_BYTES as usize]> {
    let mut bytes = [0; SLOTS_BYTES as usize];
    for (number, slot) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        match file.read_at(slot, (number * BLOCK_BYTES) as u64) {
            Ok(_) => {}
            Err(error) if is_unreadable(&error) => slot.fill(UNREADABLE),
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// A slot's checksum stands in its last four bytes and covers those before.
fn seal(block: &mut [u8], slot_bytes: usize) {
    let checksum = crc32c::crc32c(&block[..slot_bytes - 4]);
    put(block, slot_bytes - 4, &checksum.to_le_bytes());
}

/// Every later version keeps magic, version and checksum where they are, so that it can be refused by name.
fn open_slot<T>(block: &[u8], magic: [u8; 8], bytes: usize, parse: impl Fn(&[u8]) -> Option<T>) -> Slot<T> {
    if block.len() < bytes || block[..bytes].iter().all(|byte| *byte == 0) {
        return Slot::Blank;
    }
    if block[..8] != magic || u32_at(block, bytes - 4) != crc32c::crc32c(&block[..bytes - 4]) {
        return Slot::Damaged;
    }
    let version = u32_at(block, 8);
    if version > FORMAT_VERSION {
        return Slot::Newer(version);
    }
    parse(block).map_or(Slot::Damaged, Slot::Good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_in_a_slot_is_damage() {
        let good = FloorSlot {
            sequence: 7,
            instance: InstanceId::from_bytes([3; 16]),
            floor: RecordId::from_u64(99),
            generation: 4,
        };
        let block = good.encode();
        assert_eq!(FloorSlot::decode(&block), Slot::Good(good));
        for bit in 0..FLOOR_SLOT_BYTES * 8 {
            let mut bad = block;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FloorSlot::decode(&bad), Slot::Damaged, "bit {bit}");
        }
        assert_eq!(FloorSlot::decode(&[0; BLOCK_BYTES]), Slot::Blank);
    }
}
