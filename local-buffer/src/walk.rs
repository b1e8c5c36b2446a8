//! Finding records in blocks: pure functions over bytes that somebody else has read.

use crate::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, BlockSeed, RECORD_HEADER_BYTES, RecordHeader, RecordSeed,
    header_place, payload_end,
};

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Blocks of a segment, by their index in it, as far as they are at hand.
pub(crate) trait Blocks {
    /// The block, or `None` if it is not at hand.
    fn block(&self, index: usize) -> Option<&[u8]>;
}

/// A record that was found. Places are bytes from the start of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) header: RecordHeader,
    pub(crate) payload_at: usize,
    pub(crate) end: usize,
}

/// What stands at a place where a record may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Record(Found),
    /// More blocks are needed to tell, up to this place.
    Short(usize),
    Bad,
}

/// How a block looks from the generation that its segment should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockLook {
    /// Written by this generation.
    Current(BlockHeader),
    /// Nothing but zeros.
    Blank,
    /// Left from an earlier generation.
    Stale,
    /// Neither: its header does not check.
    Bad,
}

/// The record whose header stands at the first possible place from `at` on, and lies below `limit`.
pub(crate) fn record_at(blocks: &impl Blocks, at: usize, limit: usize, seed: RecordSeed, verify: bool) -> Parsed {
    let header_at = header_place(at);
    if header_at + RECORD_HEADER_BYTES > limit {
        return Parsed::Bad;
    }
    let Some(block) = blocks.block(header_at / BLOCK_BYTES) else {
        return Parsed::Short(header_at + RECORD_HEADER_BYTES);
    };
    let inside = header_at % BLOCK_BYTES;
    let header_bytes = &block[inside..inside + RECORD_HEADER_BYTES];
    let Some(header) = RecordHeader::decode(header_bytes) else { return Parsed::Bad };
    let payload_at = header_at + RECORD_HEADER_BYTES;
    if header.bytes as usize > limit {
        return Parsed::Bad;
    }
    let end = payload_end(payload_at, header.bytes as usize);
    if end > limit {
        return Parsed::Bad;
    }
    let found = Found { header, payload_at, end };
    if !verify {
        return Parsed::Record(found);
    }
    let mut sum = 0;
    match for_each_piece(blocks, &found, |piece| sum = crc32c::crc32c_append(sum, piece)) {
        Err(()) => Parsed::Short(end),
        Ok(()) if RecordHeader::checks(header_bytes, seed, sum) => Parsed::Record(found),
        Ok(()) => Parsed::Bad,
    }
}

/// Gives the payload of a record piece by piece; fails if a block is not at hand.
pub(crate) fn for_each_piece(blocks: &impl Blocks, found: &Found, mut take: impl FnMut(&[u8])) -> Result<(), ()> {
    let mut at = found.payload_at;
    let mut left = found.header.bytes as usize;
    while left > 0 {
        if at.is_multiple_of(BLOCK_BYTES) {
            at += BLOCK_HEADER_BYTES;
        }
        let inside = at % BLOCK_BYTES;
        let piece = left.min(BLOCK_BYTES - inside);
        take(&blocks.block(at / BLOCK_BYTES).ok_or(())?[inside..inside + piece]);
        at += piece;
        left -= piece;
    }
    Ok(())
}

/// How the block with this index looks.
pub(crate) fn look(block: &[u8], index: usize, generation: u64, seed: BlockSeed) -> BlockLook {
    match BlockHeader::decode(block, seed) {
        Some(header) if header.index as usize != index || header.generation > generation => BlockLook::Bad,
        Some(header) if header.generation == generation => BlockLook::Current(header),
        Some(_) => BlockLook::Stale,
        None if block == ZEROS => BlockLook::Blank,
        None => BlockLook::Bad,
    }
}

/// Places in a block, from `from` on, where a record might stand, going by its kind alone.
pub(crate) fn candidates(block: &[u8], from: usize) -> impl Iterator<Item = usize> + '_ {
    let last = BLOCK_BYTES - RECORD_HEADER_BYTES;
    (from.max(BLOCK_HEADER_BYTES)..=last)
        .filter(|at| RecordHeader::decode(&block[*at..*at + RECORD_HEADER_BYTES]).is_some())
}
