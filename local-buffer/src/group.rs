//! A group: the records that go to disk in one write, already in the form they have there.
//!
//! Records are copied once, from the caller's memory into the blocks that the kernel is then given. What depends on the
//! moment of writing (padding, block headers) is added by [`Group::finish`] outside of any lock.

use crate::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, BlockSeed, RECORD_HEADER_BYTES, RecordHeader, RecordKind, RecordSeed,
    header_place, put, record_end,
};
use crate::id::RecordId;
use crate::memory::{CHUNK_BYTES, Chunk};
use crate::walk::Blocks;

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    /// Bytes from the start of the segment.
    pub(crate) offset: u64,
}

/// Records in the form they have on disk.
pub(crate) struct Group {
    chunks: Vec<Chunk>,
    place: Place,
    seed: RecordSeed,
    /// Bytes used from the start of the group, block headers counted.
    used: usize,
    end: RecordId,
    written_ms: u64,
}

impl Group {
    pub(crate) fn new(chunks_max: usize, seed: RecordSeed) -> Self {
        Self {
            chunks: Vec::with_capacity(chunks_max),
            place: Place { generation: 0, offset: 0 },
            seed,
            used: 0,
            end: RecordId::ZERO,
            written_ms: 0,
        }
    }

    /// Makes an empty group of what was left of another one.
    pub(crate) fn begin(&mut self, place: Place, seed: RecordSeed, next: RecordId) {
        debug_assert!(self.chunks.is_empty());
        *self = Self { chunks: std::mem::take(&mut self.chunks), place, seed, used: 0, end: next, written_ms: 0 };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Where the next group goes.
    pub(crate) fn end_offset(&self) -> u64 {
        self.place.offset + self.padded_bytes() as u64
    }

    pub(crate) fn end(&self) -> RecordId {
        self.end
    }

    pub(crate) fn written_ms(&self) -> u64 {
        self.written_ms
    }

    /// Size on disk: whole blocks.
    pub(crate) fn padded_bytes(&self) -> usize {
        self.used.next_multiple_of(BLOCK_BYTES)
    }

    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub(crate) fn add_chunk(&mut self, chunk: Chunk) {
        self.chunks.push(chunk);
    }

    /// Gives up its memory; nothing is in it any more.
    pub(crate) fn take_chunks(&mut self) -> impl Iterator<Item = Chunk> + '_ {
        self.used = 0;
        self.chunks.drain(..)
    }

    /// Copies a record behind the others. There must be chunks enough; ids must grow.
    pub(crate) fn push(&mut self, id: RecordId, payload: &[u8], payload_sum: u32) {
        let header = RecordHeader { bytes: payload.len() as u32, id, kind: RecordKind::Data };
        self.put_record(header, payload, payload_sum);
        self.end = id.next();
    }

    /// Fills the last block and writes the block headers; the group is then what goes to disk.
    pub(crate) fn finish(&mut self, seed: BlockSeed, now_ms: u64) {
        const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        self.written_ms = now_ms;
        let room = self.padded_bytes() - self.used;
        if room >= RECORD_HEADER_BYTES {
            let payload = &ZEROS[..room - RECORD_HEADER_BYTES];
            let header = RecordHeader { bytes: payload.len() as u32, id: self.end, kind: RecordKind::Padding };
            self.put_record(header, payload, crc32c::crc32c(payload));
        } else if room > 0 {
            let at = self.used;
            self.bytes_at(at, room).fill(0);
            self.used += room;
        }
        let group_start = (self.place.offset / BLOCK_BYTES as u64) as u32;
        for number in 0..self.used / BLOCK_BYTES {
            let generation = self.place.generation;
            let block = self.bytes_at(number * BLOCK_BYTES, BLOCK_BYTES);
            let first_record = u16::from_le_bytes([block[4], block[5]]);
            let index = group_start + number as u32;
            let header = BlockHeader { first_record, generation, index, group_start, written_ms: now_ms };
            header.encode(block, seed);
        }
    }

    fn put_record(&mut self, header: RecordHeader, payload: &[u8], payload_sum: u32) {
        let at = header_place(self.used);
        let seed = self.seed;
        if !self.used.is_multiple_of(BLOCK_BYTES) && at / BLOCK_BYTES > self.used / BLOCK_BYTES {
            let (from, room) = (self.used, BLOCK_BYTES - self.used % BLOCK_BYTES);
            self.bytes_at(from, room).fill(0);
        }
        if at % BLOCK_BYTES == BLOCK_HEADER_BYTES {
            self.begin_block(at / BLOCK_BYTES);
        }
        let block = self.bytes_at(at - at % BLOCK_BYTES, BLOCK_BYTES);
        if block[4..6] == [0, 0] {
            put(block, 4, &((at % BLOCK_BYTES) as u16).to_le_bytes());
        }
        let inside = at % BLOCK_BYTES;
        header.encode(&mut block[inside..inside + RECORD_HEADER_BYTES], seed, payload_sum);
        let mut at = at + RECORD_HEADER_BYTES;
        let mut rest = payload;
        while !rest.is_empty() {
            if at.is_multiple_of(BLOCK_BYTES) {
                self.begin_block(at / BLOCK_BYTES);
                at += BLOCK_HEADER_BYTES;
            }
            let (piece, after) = rest.split_at(rest.len().min(BLOCK_BYTES - at % BLOCK_BYTES));
            self.bytes_at(at, piece.len()).copy_from_slice(piece);
            at += piece.len();
            rest = after;
        }
        debug_assert_eq!(at, record_end(self.used, payload.len()));
        self.used = at;
    }

    fn begin_block(&mut self, number: usize) {
        self.bytes_at(number * BLOCK_BYTES, BLOCK_HEADER_BYTES).fill(0);
    }

    /// Bytes of one block; they never span two chunks because a chunk is whole blocks.
    fn bytes_at(&mut self, at: usize, bytes: usize) -> &mut [u8] {
        let inside = at % CHUNK_BYTES;
        &mut self.chunks[at / CHUNK_BYTES].bytes_mut()[inside..inside + bytes]
    }
}

impl Blocks for Group {
    fn block(&self, index: usize) -> Option<&[u8]> {
        let at = (index * BLOCK_BYTES).checked_sub(self.place.offset as usize)?;
        let inside = at % CHUNK_BYTES;
        Some(&self.chunks.get(at / CHUNK_BYTES)?.bytes()[inside..inside + BLOCK_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::DATA_START;
    use crate::id::InstanceId;
    use crate::walk::{BlockLook, Parsed, for_each_piece, look, record_at};

    #[test]
    fn what_is_pushed_is_found_again_behind_every_length_of_the_record_before() {
        let block_seed = BlockSeed::of(InstanceId::from_bytes([7; 16]));
        let seed = block_seed.records(5);
        let place = Place { generation: 5, offset: DATA_START };
        for bytes in (0..20).chain(3990..4100).chain([8128, 70_000]) {
            let mut group = Group::new(4, seed);
            group.begin(place, seed, RecordId::from_u64(40));
            (0..4).for_each(|_| {
                let mut chunk = Chunk::new();
                chunk.bytes_mut().fill(0xee);
                group.add_chunk(chunk);
            });
            let payloads = [vec![1; bytes], vec![2; 30], vec![3; 5000]];
            for (number, payload) in payloads.iter().enumerate() {
                group.push(RecordId::from_u64(40 + number as u64), payload, crc32c::crc32c(payload));
            }
            group.finish(block_seed, 123);
            assert!(group.used().is_multiple_of(BLOCK_BYTES));
            let limit = group.end_offset() as usize;
            let mut at = DATA_START as usize;
            let mut seen = Vec::new();
            while at < limit {
                let Parsed::Record(found) = record_at(&group, at, limit, seed, true) else { panic!("{bytes}: {at}") };
                at = found.end;
                if found.header.kind == RecordKind::Data {
                    let mut payload = Vec::new();
                    for_each_piece(&group, &found, |piece| payload.extend_from_slice(piece)).unwrap();
                    seen.push((found.header.id.get(), payload));
                }
                at = if limit - at < RECORD_HEADER_BYTES { limit } else { at };
            }
            let wanted: Vec<_> = (40..).zip(payloads).collect();
            assert_eq!(seen, wanted, "first of {bytes} bytes");
            for index in 2..limit / BLOCK_BYTES {
                let BlockLook::Current(header) = look(group.block(index).unwrap(), index, 5, block_seed) else {
                    panic!("{bytes}: block {index}")
                };
                assert_eq!((header.group_start, header.written_ms), (2, 123));
            }
        }
    }
}
