//! Segment files: made of zeros once, then overwritten in place for ever.
//!
//! Zeros are written, not reserved, so that later writes neither allocate nor turn extents from unwritten to written:
//! they cannot run out of space and need no journal.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::format::{BLOCK_BYTES, BlockSeed, RecordSeed};
use crate::group::Place;
use crate::id::{InstanceId, RecordId};
use crate::memory::{CHUNK_BYTES, Chunk};
use crate::recovery::Kept;
use crate::scan::Extent;
use crate::slot::{SegmentHeader, SegmentState};
use crate::storage::{Access, File, Storage, write_durable};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Folder of the segments.
pub(crate) const SEGMENTS_DIR: &str = "segments";
/// Zeros are synced this often while a segment is made, so that the syncs of others need not wait for all of it.
const ZERO_SYNC_BYTES: u64 = 8 << 20;
/// Pieces of one write of zeros.
const ZERO_PIECES: usize = 16;

/// Name of a segment file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number in the name of a segment file.
pub(crate) fn parse_file_name(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// Path of a segment file in the directory.
pub(crate) fn path(number: u64) -> String {
    format!("{SEGMENTS_DIR}/{}", file_name(number))
}

/// Path that a segment has while it is made.
pub(crate) fn unfinished_path(number: u64) -> String {
    format!("{}.tmp", path(number))
}

/// What the work on files needs to know.
#[derive(Clone)]
pub(crate) struct Files {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) access: Access,
    pub(crate) instance: InstanceId,
    pub(crate) seed: BlockSeed,
}

/// A segment in which nothing counts.
pub(crate) struct Vacant {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) sequence: u64,
    pub(crate) generation: u64,
    pub(crate) file: Box<dyn File>,
}

/// A segment with records.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) seed: RecordSeed,
    pub(crate) file: Box<dyn File>,
    /// Where its durable records end; only ever grows, and not at all once the next segment is begun.
    durable_end: AtomicU64,
    extent_known: AtomicBool,
    /// Found records with this id or a higher one do not count: the next segment has them.
    pub(crate) end_id: RecordId,
}

impl Segment {
    pub(crate) fn extent(&self) -> Extent {
        let end = self.durable_end.load(Ordering::Acquire) as usize;
        if self.extent_known.load(Ordering::Acquire) { Extent::Exact(end) } else { Extent::Unknown(end) }
    }

    /// Recovery has found where the records end.
    pub(crate) fn set_found_end(&self, end: u64) {
        self.extent_known.store(true, Ordering::Release);
        self.set_durable_end(end);
    }

    pub(crate) fn set_durable_end(&self, end: u64) {
        self.durable_end.store(end, Ordering::Release);
    }

    /// A segment that was found with records in it. Without an end all of the file is looked at.
    pub(crate) fn found(files: &Files, kept: &Kept) -> io::Result<Self> {
        let Kept { number, bytes, generation, sequence, end, end_id, .. } = *kept;
        let seed = files.seed.records(generation);
        let file = files.storage.open(&path(number), files.access)?;
        let durable_end = AtomicU64::new(end.unwrap_or(bytes));
        Ok(Self {
            number,
            bytes,
            generation,
            sequence,
            seed,
            file,
            durable_end,
            extent_known: AtomicBool::new(end.is_some()),
            end_id: end_id.unwrap_or(RecordId::from_u64(u64::MAX)),
        })
    }

    /// Marks the segment as free, durably. Its records must be done, and the floor that says so durable.
    pub(crate) fn free(&self, files: &Files, floor: RecordId) -> io::Result<Vacant> {
        let (number, bytes, generation) = (self.number, self.bytes, self.generation);
        let file = files.storage.open(&path(number), files.access)?;
        let mut vacant = Vacant { number, bytes, sequence: self.sequence, generation, file };
        vacant.mark(files, floor)?;
        Ok(vacant)
    }
}

/// What the header of a segment says of the one before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Previous {
    pub(crate) end: Place,
    pub(crate) end_id: RecordId,
}

impl Vacant {
    /// Makes a new segment: zeros, then a header, then its name. A crash leaves at most a file with another name.
    pub(crate) fn make(files: &Files, number: u64, bytes: u64) -> io::Result<Self> {
        let unfinished = unfinished_path(number);
        let storage = &*files.storage;
        if storage.free_bytes()? < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = (|| {
            // Past the page cache zeros cost no copy, and push nothing out of it; they are synced as all others.
            let past_cache = files.access == Access::Direct;
            let create = if past_cache { Access::CreateDirect } else { Access::Create };
            let file = storage.open(&unfinished, create)?;
            let zeros = Chunk::new();
            let pieces = [IoSlice::new(zeros.bytes()); ZERO_PIECES];
            let mut done = 0;
            while done < bytes {
                let step = (bytes - done).min((ZERO_PIECES * CHUNK_BYTES) as u64);
                if step == (ZERO_PIECES * CHUNK_BYTES) as u64 {
                    file.write_at(&pieces, done)?;
                } else {
                    let step = step.min(CHUNK_BYTES as u64);
                    file.write_at(&[IoSlice::new(&zeros.bytes()[..step as usize])], done)?;
                    done += step;
                    continue;
                }
                done += step;
                if done.is_multiple_of(ZERO_SYNC_BYTES) {
                    file.sync()?;
                }
            }
            file.sync()?;
            if !past_cache {
                file.forget_cached()?;
            }
            let file = storage.open(&unfinished, files.access)?;
            let mut vacant = Self { number, bytes, sequence: 0, generation: 0, file };
            // Both slots, so that a blank one is damage ever after.
            vacant.mark(files, RecordId::ZERO)?;
            vacant.mark(files, RecordId::ZERO)?;
            storage.rename(&unfinished, &path(number))?;
            storage.sync_dir(SEGMENTS_DIR)?;
            Ok(vacant)
        })();
        if written.is_err() {
            // Only the unfinished name: if the rename happened, the file is whole and the next opening finds it.
            let _ = storage.remove(&unfinished);
        }
        written
    }

    /// Writes "free" with a new sequence, durably, and the floor that allowed it.
    pub(crate) fn mark(&mut self, files: &Files, floor: RecordId) -> io::Result<()> {
        let header = SegmentHeader {
            state: SegmentState::Free,
            sequence: self.sequence + 1,
            instance: files.instance,
            segment_bytes: self.bytes,
            generation: self.generation,
            first: RecordId::ZERO,
            previous_generation: 0,
            previous_end: 0,
            previous_end_id: floor,
            written_ms: 0,
        };
        write_header(&*self.file, &header)?;
        self.sequence += 1;
        Ok(())
    }

    /// The segment as it will be, and the header that must be durable before records in it count.
    pub(crate) fn activate(
        self,
        files: &Files,
        generation: u64,
        first: RecordId,
        previous: Option<Previous>,
    ) -> (Segment, SegmentHeader) {
        let header = SegmentHeader {
            state: SegmentState::Active,
            sequence: self.sequence + 1,
            instance: files.instance,
            segment_bytes: self.bytes,
            generation,
            first,
            previous_generation: previous.map_or(0, |previous| previous.end.generation),
            previous_end: previous.map_or(0, |previous| previous.end.offset),
            previous_end_id: previous.map_or(RecordId::ZERO, |previous| previous.end_id),
            written_ms: 0,
        };
        let segment = Segment {
            number: self.number,
            bytes: self.bytes,
            generation,
            sequence: header.sequence,
            seed: files.seed.records(generation),
            file: self.file,
            durable_end: AtomicU64::new(crate::format::DATA_START),
            extent_known: AtomicBool::new(true),
            end_id: RecordId::from_u64(u64::MAX),
        };
        (segment, header)
    }
}

/// Writes a header into its slot, durably. The other slot stays as it is, so a torn write loses only the new state.
pub(crate) fn write_header(file: &dyn File, header: &SegmentHeader) -> io::Result<()> {
    let mut chunk = Chunk::new();
    chunk.bytes_mut()[..BLOCK_BYTES].copy_from_slice(&header.encode());
    let offset = header.sequence % 2 * BLOCK_BYTES as u64;
    write_durable(file, &[IoSlice::new(&chunk.bytes()[..BLOCK_BYTES])], offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_parsed_back_and_nothing_else_is() {
        for number in [0, 7, 9_999_999_999, 12_345_678_901, u64::MAX] {
            assert_eq!(parse_file_name(&file_name(number)), Some(number));
        }
        for name in ["1.seg", "0000000001.seg.tmp", "+000000001.seg", "0000000001", "x.seg"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
