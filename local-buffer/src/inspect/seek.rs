//! Finds a place in a segment by halving, so that a look at a buffer costs a few blocks and not its backlog.
//!
//! Blocks of a use of a segment stand in front of those of earlier uses, and the ids in them grow. Damage can mislead
//! this, so nothing is concluded from it but figures for people; what decides reads every block.

use std::io;

use crate::format::{
    BLOCK_BYTES, Block, BlockHeader, BlockSeed, DATA_START, RECORD_HEADER_BYTES, RecordHeader, RecordKind,
};
use crate::id::RecordId;
use crate::scan::{Extent, Item, Scan};
use crate::storage::File;
use crate::walk::{BlockLook, look};

/// A block that does not check is passed over, with at most so many behind it.
const DAMAGED_BLOCKS_MAX: usize = 8;
/// Groups looked at from the end on, until one holds a whole record: the last one may be on its way to the disk.
const GROUPS_BACK_MAX: usize = 4;
const FIRST_BLOCK: usize = DATA_START as usize / BLOCK_BYTES;

/// Opens the file of a segment again: a scan takes one of its own.
pub(super) type Open<'a> = &'a dyn Fn() -> io::Result<Box<dyn File>>;

/// A use of a segment in which places are looked for.
pub(super) struct Seek<'a> {
    file: Box<dyn File>,
    open: Open<'a>,
    generation: u64,
    seed: BlockSeed,
    /// Blocks in which its records may lie.
    blocks: usize,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Of its header, bytes from the start of the segment.
    pub(super) offset: usize,
    pub(super) id: RecordId,
    /// When its group was written, milliseconds since 1970.
    pub(super) written_ms: u64,
}

/// The end of the records of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    /// Bytes from the start of the segment.
    pub(super) end: usize,
    /// The id after the last record.
    pub(super) end_id: RecordId,
    /// When the last group was written, milliseconds since 1970.
    pub(super) written_ms: u64,
}

impl<'a> Seek<'a> {
    /// `end`: where the records end at the latest, bytes from the start of the segment.
    pub(super) fn new(open: Open<'a>, generation: u64, seed: BlockSeed, end: u64) -> io::Result<Self> {
        let blocks = (end as usize).div_ceil(BLOCK_BYTES);
        Ok(Self { file: open()?, open, generation, seed, blocks })
    }

    fn block(&self, index: usize) -> io::Result<Block> {
        let mut block = [0; BLOCK_BYTES];
        match self.file.read_at(&mut block, (index * BLOCK_BYTES) as u64) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            // What cannot be read is damage.
            Err(_) => block.fill(0xff),
        }
        Ok(block)
    }

    fn look(&self, index: usize) -> io::Result<BlockLook> {
        Ok(look(&self.block(index)?, index, self.generation, self.seed))
    }

    /// The block at `index`, or one a little behind it if that is damaged, if it is of this use.
    fn current(&self, index: usize) -> io::Result<Option<(usize, BlockHeader)>> {
        for index in index..(index + DAMAGED_BLOCKS_MAX).min(self.blocks) {
            match self.look(index)? {
                BlockLook::Current(header) => return Ok(Some((index, header))),
                BlockLook::Blank | BlockLook::Stale => return Ok(None),
                BlockLook::Bad => {}
            }
        }
        Ok(None)
    }

    /// The last block of this use, by halving.
    fn last_block(&self) -> io::Result<Option<(usize, BlockHeader)>> {
        let (mut low, mut high, mut last) = (FIRST_BLOCK, self.blocks, None);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.current(middle)? {
                Some(found) => {
                    low = found.0 + 1;
                    last = Some(found);
                }
                None => high = middle,
            }
        }
        Ok(last)
    }

    /// The last block of this use from `from` on; every block is looked at.
    pub(super) fn last_block_of_all(&self, from: usize) -> io::Result<Option<(usize, BlockHeader)>> {
        let mut last = None;
        for index in from..self.blocks {
            if let BlockLook::Current(header) = self.look(index)? {
                last = Some((index, header));
            }
        }
        Ok(last)
    }

    /// Where the records end. `None`: there is none.
    pub(super) fn tip(&self) -> io::Result<Option<Tip>> {
        let Some((mut last, mut header)) = self.last_block()? else { return Ok(None) };
        let written_ms = header.written_ms;
        for _ in 0..GROUPS_BACK_MAX {
            let from = (header.group_start as usize).clamp(FIRST_BLOCK, last);
            let mut scan = Scan::new((self.open)()?, self.generation, self.seed, from * BLOCK_BYTES, RecordId::ZERO);
            let mut end_id = None;
            loop {
                match scan.next(Extent::Exact((last + 1) * BLOCK_BYTES))? {
                    Item::End => break,
                    Item::GroupEnd | Item::Damaged { .. } => {}
                    Item::Record(found) => end_id = Some(found.header.id.next()),
                }
            }
            if let Some(end_id) = end_id {
                return Ok(Some(Tip { end: scan.good_end(), end_id, written_ms }));
            }
            match (from > FIRST_BLOCK).then(|| self.look(from - 1)).transpose()? {
                Some(BlockLook::Current(before)) => (last, header) = (from - 1, before),
                _ => break,
            }
        }
        Ok(None)
    }

    /// The first record with this id or a higher one.
    pub(super) fn record(&self, id: RecordId) -> io::Result<Option<Spot>> {
        let (mut low, mut high, mut from) = (FIRST_BLOCK, self.blocks, DATA_START as usize);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_id(middle, high)? {
                Some((at, found, index)) if found <= id => {
                    from = at;
                    low = index + 1;
                }
                _ => high = middle,
            }
        }
        let mut scan = Scan::new((self.open)()?, self.generation, self.seed, from, id);
        loop {
            match scan.next(Extent::Exact(self.blocks * BLOCK_BYTES))? {
                Item::End => return Ok(None),
                Item::GroupEnd | Item::Damaged { .. } => {}
                Item::Record(found) => {
                    let written_ms = scan.block_header(&found).map_or(0, |header| header.written_ms);
                    let offset = found.payload_at - RECORD_HEADER_BYTES;
                    return Ok(Some(Spot { offset, id: found.header.id, written_ms }));
                }
            }
        }
    }

    /// Place, id and block of the first record that begins in a block from `index` on.
    fn first_id(&self, index: usize, high: usize) -> io::Result<Option<(usize, RecordId, usize)>> {
        for index in index..high {
            let block = self.block(index)?;
            let BlockLook::Current(header) = look(&block, index, self.generation, self.seed) else {
                continue;
            };
            let inside = header.first_record as usize;
            if inside == 0 || inside + RECORD_HEADER_BYTES > BLOCK_BYTES {
                continue;
            }
            // The id is not checked here: the scan that starts at this place checks everything.
            let record = RecordHeader::decode(&block[inside..inside + RECORD_HEADER_BYTES]);
            if let Some(record) = record.filter(|record| record.kind == RecordKind::Data) {
                return Ok(Some((index * BLOCK_BYTES + inside, record.id, index)));
            }
        }
        Ok(None)
    }
}
