//! The end of the queue in memory: the group being filled, those on their way to the disk, and those that are durable
//! and kept for the reader.
//!
//! All memory is made at opening: a pool of chunks that groups take from and give back to. When it is empty the oldest
//! durable group is dropped, whether it was read or not: the reader finds it on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{AppendError, FullCause};
use crate::format::{BLOCK_BYTES, DATA_START, RecordSeed, record_end};
use crate::group::{Group, Place};
use crate::id::RecordId;
use crate::memory::{CHUNK_BYTES, Chunk};
use crate::options::{Bounds, SyncPolicy};
use crate::segment::{Files, Previous, Segment, Vacant};
use crate::slot::SegmentHeader;

/// A group of so many bytes is worth a write of its own: batches of events come in this size, and while one waits for
/// company the disk does nothing.
const COMPANY_BYTES: usize = 128 << 10;

/// What a sealed group needs besides its bytes.
pub(crate) struct Sealed {
    pub(crate) group: Group,
    pub(crate) segment: Arc<Segment>,
    /// Set for the first group of a segment: the header that must be durable before it.
    pub(crate) activates: Option<SegmentHeader>,
}

/// Whether records are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// What is pending is still written.
    Closing,
    /// The writer is gone.
    Ended,
}

/// Where the next group goes.
struct Spot {
    segment: Arc<Segment>,
    offset: u64,
    activates: Option<SegmentHeader>,
}

/// The end of the queue; one mutex guards it.
pub(crate) struct Tail {
    bounds: Bounds,
    pub(crate) phase: Phase,
    pub(crate) writer_parked: bool,
    /// Why there is no segment to go on in, when `ready` is empty; `None` while one is being made.
    pub(crate) full: Option<FullCause>,
    pub(crate) ready: VecDeque<Vacant>,
    next: RecordId,
    next_generation: u64,
    previous: Option<Previous>,
    spot: Option<Spot>,
    filling: Group,
    sealed: VecDeque<Sealed>,
    /// Durable and not yet read, oldest first.
    recent: VecDeque<Group>,
    shells: Vec<Group>,
    pool: Vec<Chunk>,
    pending_chunks: usize,
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
}

/// What an append did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) first: RecordId,
    pub(crate) end: RecordId,
    pub(crate) wake_writer: bool,
    pub(crate) wants_segment: bool,
}

impl Tail {
    pub(crate) fn new(bounds: Bounds, next: RecordId, next_generation: u64, previous: Option<Previous>) -> Self {
        let chunks = bounds.pending_chunks_max + bounds.recent_chunks;
        // A group has at least one chunk, so there are never more groups than chunks, beside the one being filled.
        let seed = RecordSeed::default();
        let group_chunks_max = bounds.group_bytes_max.div_ceil(CHUNK_BYTES);
        let shell = || Group::new(group_chunks_max, seed);
        Self {
            bounds,
            phase: Phase::Open,
            writer_parked: false,
            full: None,
            ready: VecDeque::with_capacity(8),
            next,
            next_generation,
            previous,
            spot: None,
            filling: shell(),
            sealed: VecDeque::with_capacity(chunks),
            recent: VecDeque::with_capacity(chunks),
            shells: std::iter::repeat_with(shell).take(chunks + 2).collect(),
            pool: std::iter::repeat_with(Chunk::new).take(chunks).collect(),
            pending_chunks: 0,
            appended_records: 0,
            appended_bytes: 0,
        }
    }

    pub(crate) fn next(&self) -> RecordId {
        self.next
    }

    pub(crate) fn pending_bytes(&self) -> u64 {
        (self.pending_chunks * CHUNK_BYTES) as u64
    }

    /// Goes on behind a group that recovery has written into a new segment.
    pub(crate) fn resume(&mut self, segment: Arc<Segment>, offset: u64) {
        self.spot = Some(Spot { segment, offset, activates: None });
    }

    pub(crate) fn take_generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation - 1
    }

    /// Takes all records or none. `sums` holds the plain checksums of the first of them; the rest are computed here.
    pub(crate) fn append<'a>(
        &mut self,
        files: &Files,
        records: impl Iterator<Item = &'a [u8]> + Clone,
        sums: &[u32],
    ) -> Result<Taken, AppendError> {
        if self.phase != Phase::Open {
            return Err(AppendError::Closed);
        }
        let fill = |from: usize| records.clone().fold(from, |at, record| record_end(at, record.len()));
        let alone = fill(0);
        if alone > self.bounds.group_bytes_max {
            let bytes_max = self.bounds.group_bytes_max as u64;
            return Err(AppendError::TooLarge { bytes: alone as u64, bytes_max });
        }
        let mut wants_segment = false;
        let mut end = fill(self.filling.used());
        if self.filling.is_empty() || end > self.bounds.group_bytes_max || !self.fits_segment(end) {
            self.seal();
            self.needs_chunks(alone)?;
            wants_segment = self.begin_group(files, alone)?;
            end = alone;
        }
        let missing = self.needs_chunks(end)?;
        for _ in 0..missing {
            let chunk = self.take_chunk();
            self.filling.add_chunk(chunk);
        }
        self.pending_chunks += missing;
        let first = self.next;
        for (number, record) in records.enumerate() {
            let sum = sums.get(number).copied().unwrap_or_else(|| crc32c::crc32c(record));
            self.filling.push(self.next, record, sum);
            self.next = self.next.next();
            self.appended_bytes += record.len() as u64;
        }
        self.appended_records += self.next.get() - first.get();
        if self.bounds.sync == SyncPolicy::EveryAppend {
            self.seal();
        }
        let wake_writer = std::mem::take(&mut self.writer_parked);
        Ok(Taken { first, end: self.next, wake_writer, wants_segment })
    }

    /// Whether the next group for the disk is one that more records may still come into, and should: it is small.
    pub(crate) fn may_grow(&self) -> bool {
        let is_small = (1..COMPANY_BYTES).contains(&self.filling.used());
        self.phase == Phase::Open && self.sealed.is_empty() && is_small
    }

    /// The next group for the disk, oldest first; what is being filled counts when nothing else is there.
    pub(crate) fn take_group(&mut self) -> Option<Sealed> {
        if self.sealed.is_empty() {
            self.seal();
        }
        self.sealed.pop_front()
    }

    /// Keeps a group that is durable now for the reader.
    pub(crate) fn keep(&mut self, group: Group) {
        self.pending_chunks -= group.chunks().len();
        self.recent.push_back(group);
    }

    /// The durable group that starts at `place`, if memory still has it. What lies before it is dropped.
    pub(crate) fn take_recent(&mut self, place: Place) -> Option<Group> {
        while self.recent.front().is_some_and(|group| group.place() < place) {
            self.drop_oldest();
        }
        if self.recent.front()?.place() == place { self.recent.pop_front() } else { None }
    }

    /// Takes back the memory of a group.
    pub(crate) fn recycle(&mut self, mut group: Group) {
        self.pool.extend(group.take_chunks());
        self.shells.push(group);
    }

    fn seal(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        let Some(spot) = &mut self.spot else { return };
        let shell = self.shells.pop().unwrap_or_else(|| Group::new(0, RecordSeed::default()));
        let group = std::mem::replace(&mut self.filling, shell);
        spot.offset = group.end_offset();
        let place = Place { generation: spot.segment.generation, offset: spot.offset };
        self.previous = Some(Previous { end: place, end_id: group.end() });
        let (segment, activates) = (Arc::clone(&spot.segment), spot.activates.take());
        self.sealed.push_back(Sealed { group, segment, activates });
    }

    /// Whether the group being filled may grow to `end` bytes in its segment.
    fn fits_segment(&self, end: usize) -> bool {
        let Some(spot) = &self.spot else { return false };
        spot.offset + end.next_multiple_of(BLOCK_BYTES) as u64 <= spot.segment.bytes
    }

    /// Begins an empty group that will hold at least `bytes`, in a new segment if this one has no room for it. Says
    /// whether a segment was used up.
    fn begin_group(&mut self, files: &Files, bytes: usize) -> Result<bool, AppendError> {
        let rolls = !self.fits_segment(bytes);
        if rolls {
            let Some(vacant) = self.ready.pop_front() else {
                return Err(self.full.map_or(AppendError::Busy, |cause| AppendError::Full { cause }));
            };
            let generation = self.take_generation();
            let (segment, header) = vacant.activate(files, generation, self.next, self.previous);
            self.spot = Some(Spot { segment: Arc::new(segment), offset: DATA_START, activates: Some(header) });
        }
        if let Some(spot) = &self.spot {
            let place = Place { generation: spot.segment.generation, offset: spot.offset };
            self.filling.begin(place, spot.segment.seed, self.next);
        }
        Ok(rolls)
    }

    /// How many more chunks the group needs to reach `end` bytes.
    fn needs_chunks(&self, end: usize) -> Result<usize, AppendError> {
        let missing = end.div_ceil(CHUNK_BYTES).saturating_sub(self.filling.chunks().len());
        if self.pending_chunks + missing > self.bounds.pending_chunks_max {
            return Err(AppendError::Busy);
        }
        Ok(missing)
    }

    fn take_chunk(&mut self) -> Chunk {
        while self.pool.is_empty() && !self.recent.is_empty() {
            self.drop_oldest();
        }
        // Only while the reader holds a group can both be empty; at most one group is made beyond the pool then.
        self.pool.pop().unwrap_or_else(Chunk::new)
    }

    fn drop_oldest(&mut self) {
        if let Some(group) = self.recent.pop_front() {
            self.recycle(group);
        }
    }
}
