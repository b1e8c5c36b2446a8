//! Reads a segment record by record through a window, and finds the way again behind damage.

use std::io;

use crate::format::{BLOCK_BYTES, BlockHeader, BlockSeed, RecordKind, RecordSeed, header_place};
use crate::id::RecordId;
use crate::storage::{File, UNREADABLE, is_unreadable};
use crate::walk::{BlockLook, Blocks, Found, Parsed, candidates, look, record_at};

/// Read at once: large enough that a read costs little beside its bytes, small enough to stay in the processor's cache.
const READ_BYTES: usize = 256 << 10;

/// How far a segment's records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Up to this place, known from the next segment's header or from having written it: all below it must be good.
    Exact(usize),
    /// Nobody knows: every block up to this place, the end of the file, is looked at.
    Unknown(usize),
}

impl Extent {
    fn limit(self) -> usize {
        match self {
            Self::Exact(limit) | Self::Unknown(limit) => limit,
        }
    }
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A record whose checksum holds; its bytes are in the window until the next call.
    Record(Found),
    /// The end of a group that was filled up; the next one begins at the scan's place.
    GroupEnd,
    /// Bytes that should be records and are not.
    Damaged { from: usize, to: usize },
    /// No more below the extent.
    End,
}

/// A place in a segment that moves forward.
pub(crate) struct Scan {
    file: Box<dyn File>,
    generation: u64,
    block_seed: BlockSeed,
    seed: RecordSeed,
    window: Window,
    at: usize,
    /// End of the last record that was good, padding counted.
    good_end: usize,
    /// Records below it were seen already.
    next: RecordId,
    /// Whether the window was read past the page cache since the last good record.
    refreshed: bool,
}

impl Scan {
    pub(crate) fn new(file: Box<dyn File>, generation: u64, seed: BlockSeed, at: usize, next: RecordId) -> Self {
        let window = Window { bytes: Vec::new(), at: 0, len: 0 };
        let (block_seed, seed) = (seed, seed.records(generation));
        Self { file, generation, block_seed, seed, window, at, good_end: at, next, refreshed: false }
    }

    /// Goes on in another file, keeping the memory.
    pub(crate) fn reopen(&mut self, file: Box<dyn File>, generation: u64, at: usize, next: RecordId) {
        self.file = file;
        self.generation = generation;
        self.seed = self.block_seed.records(generation);
        self.window.len = 0;
        self.at = at;
        self.good_end = at;
        self.next = next;
        self.refreshed = false;
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether the next call goes on at this place.
    pub(crate) fn is_at(&self, generation: u64, at: usize) -> bool {
        self.generation == generation && self.at == at
    }

    pub(crate) fn good_end(&self) -> usize {
        self.good_end
    }

    pub(crate) fn window(&self) -> &impl Blocks {
        &self.window
    }

    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Steps back to where a record was found, so that the next call finds it again.
    pub(crate) fn put_back(&mut self, at: usize, id: RecordId) {
        self.at = at;
        self.next = id;
    }

    /// Header of the block in which a record begins, if it is whole.
    pub(crate) fn block_header(&self, found: &Found) -> Option<BlockHeader> {
        let index = (found.payload_at - 1) / BLOCK_BYTES;
        BlockHeader::decode(self.window.block(index)?, self.block_seed)
    }

    /// The next record or damage below the extent. Damage is looked at twice, the second time past the page cache.
    pub(crate) fn next(&mut self, extent: Extent) -> io::Result<Item> {
        let limit = extent.limit();
        loop {
            let head = header_place(self.at);
            if head >= limit {
                return Ok(Item::End);
            }
            if head / BLOCK_BYTES > self.at / BLOCK_BYTES {
                self.at = head / BLOCK_BYTES * BLOCK_BYTES;
            }
            if let Parsed::Record(found) = self.parse(self.at, limit, true)? {
                self.at = found.end;
                self.good_end = found.end;
                self.refreshed = false;
                if found.header.kind == RecordKind::Padding {
                    return Ok(Item::GroupEnd);
                }
                if found.header.id < self.next {
                    continue;
                }
                self.next = found.header.id.next();
                return Ok(Item::Record(found));
            }
            if !self.refreshed {
                self.refreshed = true;
                self.window.len = 0;
                self.file.forget_cached()?;
                continue;
            }
            let from = self.at;
            let (resume, written_end) = self.resync(from, extent)?;
            let to = match (resume, extent) {
                (Some(resume), _) => resume,
                (None, Extent::Exact(limit)) => limit,
                (None, Extent::Unknown(_)) if written_end > from => written_end,
                (None, Extent::Unknown(_)) => return Ok(Item::End),
            };
            self.at = to;
            return Ok(Item::Damaged { from, to });
        }
    }

    /// The next place behind `from` where a good record stands, and the end of the last block that is not stale.
    fn resync(&mut self, from: usize, extent: Extent) -> io::Result<(Option<usize>, usize)> {
        let limit = extent.limit();
        // A payload was hit and the length in its header was not: the next record stands where it says.
        if let Parsed::Record(claimed) = self.parse(from, limit, false)?
            && header_place(claimed.end) < limit
            && matches!(self.parse(claimed.end, limit, true)?, Parsed::Record(_))
        {
            return Ok((Some(claimed.end), claimed.end));
        }
        let mut written_end = 0;
        for index in from / BLOCK_BYTES..limit.div_ceil(BLOCK_BYTES) {
            let start = index * BLOCK_BYTES;
            self.window.fill(&*self.file, start, start + BLOCK_BYTES, limit)?;
            let Some(block) = self.window.block(index) else { break };
            let mut copy = [0; BLOCK_BYTES];
            copy.copy_from_slice(block);
            let seen = look(&copy, index, self.generation, self.block_seed);
            if seen == BlockLook::Blank {
                continue;
            }
            // A stale block is looked at too: the sector of its header may be all that was not written.
            if seen != BlockLook::Stale {
                written_end = start + BLOCK_BYTES;
            }
            if let BlockLook::Current(header) = seen
                && header.first_record != 0
                && start + header.first_record as usize > from
                && self.is_good(start + header.first_record as usize, limit)?
            {
                return Ok((Some(start + header.first_record as usize), written_end));
            }
            let first = (from + 1).saturating_sub(start);
            for inside in candidates(&copy, first) {
                if self.is_good(start + inside, limit)? {
                    return Ok((Some(start + inside), written_end));
                }
            }
        }
        Ok((None, written_end))
    }

    fn is_good(&mut self, at: usize, limit: usize) -> io::Result<bool> {
        Ok(header_place(at) == at && matches!(self.parse(at, limit, true)?, Parsed::Record(_)))
    }

    fn parse(&mut self, at: usize, limit: usize, verify: bool) -> io::Result<Parsed> {
        loop {
            match record_at(&self.window, at, limit, self.seed, verify) {
                Parsed::Short(end) => self.window.fill(&*self.file, header_place(at), end, limit)?,
                parsed => return Ok(parsed),
            }
        }
    }
}

/// Some blocks of the file.
struct Window {
    bytes: Vec<u8>,
    at: usize,
    len: usize,
}

impl Window {
    /// Makes the blocks of a range be at hand. Nothing from `limit` on is read, but the rest of its block: it may be
    /// about to be written. What lies behind the end of the file reads as zeros.
    fn fill(&mut self, file: &dyn File, from: usize, to: usize, limit: usize) -> io::Result<()> {
        let from = from / BLOCK_BYTES * BLOCK_BYTES;
        let to = to.next_multiple_of(BLOCK_BYTES);
        if self.at <= from && to <= self.at + self.len {
            return Ok(());
        }
        let to = to.max((from + READ_BYTES).min(limit.next_multiple_of(BLOCK_BYTES)));
        self.len = 0;
        if self.bytes.len() < to - from {
            self.bytes.resize(to - from, 0);
        }
        let bytes = &mut self.bytes[..to - from];
        match file.read_at(bytes, from as u64) {
            Ok(read) => bytes[read..].fill(0),
            Err(error) if is_unreadable(&error) => {
                // The disk cannot read some of it: that is damage to those blocks, not to the rest.
                for (number, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
                    match file.read_at(block, (from + number * BLOCK_BYTES) as u64) {
                        Ok(read) => block[read..].fill(0),
                        Err(_) => block.fill(UNREADABLE),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        (self.at, self.len) = (from, to - from);
        Ok(())
    }
}

impl Blocks for Window {
    fn block(&self, index: usize) -> Option<&[u8]> {
        let at = (index * BLOCK_BYTES).checked_sub(self.at)?;
        self.bytes[..self.len].get(at..at + BLOCK_BYTES)
    }
}
