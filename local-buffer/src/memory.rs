//! Memory that direct writes accept, in pieces of one size, made once.

use crate::format::BLOCK_BYTES;

/// Size of a chunk. A group takes at least one, so smaller ones let more groups stay in memory for the reader; larger
/// ones make fewer pieces of a write.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// A piece of memory that starts at a multiple of the block size.
pub(crate) struct Chunk {
    bytes: Box<[u8]>,
    start: usize,
}

impl Chunk {
    pub(crate) fn new() -> Self {
        let bytes = vec![0; CHUNK_BYTES + BLOCK_BYTES].into_boxed_slice();
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        // `align_offset` may say "impossible" (it does so only in interpreters); a direct write would then be refused.
        let start = if start < BLOCK_BYTES { start } else { 0 };
        Self { bytes, start }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + CHUNK_BYTES]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + CHUNK_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_aligned_and_of_its_size() {
        let mut chunk = Chunk::new();
        assert_eq!(chunk.bytes().as_ptr().addr() % BLOCK_BYTES, 0);
        assert_eq!(chunk.bytes_mut().len(), CHUNK_BYTES);
    }
}
