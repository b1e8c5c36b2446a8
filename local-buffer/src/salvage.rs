//! The last segment at an opening: what is good in it, what is set aside, what is written again.
//!
//! The last group that was written may never have been synced: the process may have died in the middle of it, or after
//! a sync that failed. (The one before it was, or the last one would not have been written.) What is read back of it is
//! therefore written again, into a new segment, and synced, before it counts. If few bytes are left in all they come
//! along, so that a buffer opened again and again does not collect almost empty segments.

use std::io;
use std::sync::Arc;

use crate::format::{BLOCK_BYTES, DATA_START, RECORD_HEADER_BYTES, record_end};
use crate::group::{Group, Place};
use crate::id::RecordId;
use crate::memory::{CHUNK_BYTES, Chunk};
use crate::options::Bounds;
use crate::quarantine::{self, Quarantine};
use crate::recovery::{Freed, TailCase};
use crate::scan::{Extent, Item, Scan};
use crate::segment::{Files, Previous, SEGMENTS_DIR, Segment, Vacant, path, write_header};
use crate::shared::Live;
use crate::storage::Access;
use crate::tail::Tail;
use crate::walk::for_each_piece;
use crate::writer::{now_ms, write_group};

/// The work of an opening on segments, and what it has found so far.
pub(crate) struct Salvage<'a> {
    pub(crate) files: &'a Files,
    pub(crate) bounds: &'a Bounds,
    pub(crate) quarantine: &'a Quarantine,
    pub(crate) floor: RecordId,
    pub(crate) next: RecordId,
    pub(crate) ready: Vec<Vacant>,
    pub(crate) bytes: u64,
    pub(crate) next_number: u64,
    pub(crate) damaged: (u64, u64),
}

/// The end of the last segment.
pub(crate) struct End {
    pub(crate) case: TailCase,
    /// Good records above the floor.
    pub(crate) records: u64,
    pub(crate) previous: Option<Previous>,
    pub(crate) carry: Option<Carry>,
}

/// Records to be written again.
pub(crate) struct Carry {
    segment: Arc<Segment>,
    /// Bytes from the start of the segment.
    from: usize,
    to: usize,
    first: RecordId,
    /// Everything in the segment before `from` is below the floor.
    all: bool,
}

impl Salvage<'_> {
    /// Takes a segment back into use, or removes it if it is of another size than wanted.
    pub(crate) fn free(&mut self, freed: &Freed) -> io::Result<()> {
        let Freed { number, bytes, generation, sequence, mark } = *freed;
        if bytes != self.bounds.segment_bytes || self.bytes + bytes > self.bounds.bytes_max {
            self.files.storage.remove(&path(number))?;
            return self.files.storage.sync_dir(SEGMENTS_DIR);
        }
        let file = self.files.storage.open(&path(number), self.files.access)?;
        let mut vacant = Vacant { number, bytes, sequence, generation, file };
        if mark {
            vacant.mark(self.files, self.floor)?;
        }
        self.bytes += bytes;
        self.ready.push(vacant);
        Ok(())
    }

    /// One segment at least, if there is room, so that the first appends need not wait for it.
    pub(crate) fn first_segment(&mut self) {
        let bytes = self.bounds.segment_bytes;
        if self.ready.is_empty() && self.bytes + bytes <= self.bounds.bytes_max {
            match Vacant::make(self.files, self.next_number, bytes) {
                Ok(vacant) => {
                    self.ready.push(vacant);
                    self.bytes += bytes;
                    self.next_number += 1;
                }
                Err(error) => tracing::warn!(%error, "no segment can be made at opening"),
            }
        }
    }

    /// Reads the last segment through.
    pub(crate) fn end_of(&mut self, live: &mut Live) -> io::Result<End> {
        let Some(last) = live.segments.back().map(|live| Arc::clone(&live.segment)) else {
            return Ok(End { case: TailCase::None, records: 0, previous: None, carry: None });
        };
        if let Err(error) = self.files.storage.open(&path(last.number), Access::Write)?.sync() {
            // It is read past the page cache below, so what did not reach the disk is not found there.
            tracing::warn!(%error, "the last segment could not be synced");
        }
        let open = || self.files.storage.open(&path(last.number), Access::Read);
        let file = open()?;
        file.forget_cached()?;
        let start = DATA_START as usize;
        let mut scan = Scan::new(file, last.generation, self.files.seed, start, RecordId::ZERO);
        let mut seen = SeenRecords::default();
        let mut damaged_bytes = 0;
        loop {
            let at = scan.at();
            match scan.next(Extent::Unknown(last.bytes as usize))? {
                Item::End => break,
                Item::GroupEnd => {}
                Item::Damaged { from, to } => {
                    damaged_bytes += to - from;
                    let count = |bytes| self.damaged = (self.damaged.0 + 1, self.damaged.1 + bytes);
                    let aside = quarantine::set_aside(self.quarantine, last.generation, scan.file(), from, to, count);
                    if let Err(error) = aside {
                        tracing::error!(%error, "damage could not be set aside; its segment is kept");
                        if let Some(last) = live.segments.back_mut() {
                            last.held = true;
                        }
                    }
                }
                Item::Record(found) => {
                    let group = scan.block_header(&found).map(|header| header.group_start);
                    seen.add(at, found.end, found.header.id, found.header.bytes as usize, group, self.floor);
                }
            }
        }
        last.set_found_end(scan.good_end() as u64);
        let end_id = seen.end.max(self.next);
        // Damaged bytes may have been records that somebody has read: their ids are not given again.
        let lost_ids = if damaged_bytes == 0 { 0 } else { damaged_bytes as u64 / RECORD_HEADER_BYTES as u64 + 1 };
        self.next = RecordId::from_u64(end_id.get() + lost_ids);
        let place = Place { generation: last.generation, offset: scan.good_end() as u64 };
        let previous = Some(Previous { end: place, end_id });
        let case = match (damaged_bytes, seen.end) {
            (1.., _) => TailCase::Damaged,
            (0, RecordId::ZERO) => TailCase::Empty,
            (0, _) => TailCase::Clean,
        };
        let held = live.segments.back().is_some_and(|live| live.held);
        let carry = seen.carry(self.bounds, &last, scan.good_end());
        if seen.live == 0 && !held {
            live.segments.pop_back();
            self.bytes -= last.bytes;
            self.free(&freed(&last))?;
        }
        Ok(End { case, records: seen.live, previous, carry })
    }

    /// Writes records again, in a new segment, and lets them count there and no longer where they were. Gives their
    /// number; without a free segment they stay where they are.
    pub(crate) fn carry(&mut self, tail: &mut Tail, live: &mut Live, carry: &Carry) -> io::Result<u64> {
        let Some(vacant) = self.ready.pop() else { return Ok(0) };
        let last = &carry.segment;
        let generation = tail.take_generation();
        let end = Place { generation: last.generation, offset: carry.from as u64 };
        // If all come along nothing above the floor is missed when the old segment is gone.
        let end_id = if carry.all { self.floor.min(carry.first) } else { carry.first };
        let previous = Previous { end, end_id };
        let (segment, header) = vacant.activate(self.files, generation, carry.first, Some(previous));
        let mut group = Group::new(0, segment.seed);
        group.begin(Place { generation, offset: DATA_START }, segment.seed, carry.first);
        let file = self.files.storage.open(&path(last.number), Access::Read)?;
        let mut scan = Scan::new(file, last.generation, self.files.seed, carry.from, carry.first);
        let (mut payload, mut records) = (Vec::new(), 0);
        loop {
            match scan.next(Extent::Exact(carry.to))? {
                Item::End => break,
                Item::GroupEnd | Item::Damaged { .. } => {}
                Item::Record(found) => {
                    payload.clear();
                    let whole = for_each_piece(scan.window(), &found, |piece| payload.extend_from_slice(piece));
                    debug_assert_eq!(whole, Ok(()));
                    let end = record_end(group.used(), payload.len());
                    while group.chunks().len() * CHUNK_BYTES < end {
                        group.add_chunk(Chunk::new());
                    }
                    group.push(found.header.id, &payload, crc32c::crc32c(&payload));
                    records += 1;
                }
            }
        }
        group.finish(self.files.seed, now_ms());
        // The copy first, then the header that makes it count and ends the old one before it.
        write_group(&segment, &group, true)?;
        if !segment.file.writes_through() {
            segment.file.sync()?;
        }
        write_header(&*segment.file, &header)?;
        last.set_found_end(carry.from as u64);
        segment.set_durable_end(group.end_offset());
        let segment = Arc::new(segment);
        let held = live.segments.back().is_some_and(|live| live.held);
        if carry.all && !held {
            live.segments.pop_back();
            self.bytes -= last.bytes;
            self.free(&freed(last))?;
        }
        live.push(Arc::clone(&segment));
        live.last_is_open = true;
        tail.resume(segment, group.end_offset());
        Ok(records)
    }
}

fn freed(segment: &Segment) -> Freed {
    let Segment { number, bytes, generation, sequence, .. } = *segment;
    Freed { number, bytes, generation, sequence, mark: true }
}

/// What was seen of the records of the last segment.
#[derive(Default)]
struct SeenRecords {
    end: RecordId,
    live: u64,
    /// Place and id of the first record above the floor.
    first: Option<(usize, RecordId)>,
    /// What the records from there on take in one group.
    all_bytes: usize,
    /// The same for those of the last group.
    group: Option<u32>,
    group_first: Option<(usize, RecordId)>,
    group_bytes: usize,
}

impl SeenRecords {
    fn add(&mut self, at: usize, end: usize, id: RecordId, bytes: usize, group: Option<u32>, floor: RecordId) {
        debug_assert!(at < end);
        self.end = id.next();
        if group != self.group || group.is_none() {
            (self.group, self.group_first, self.group_bytes) = (group, None, 0);
        }
        if id < floor {
            return;
        }
        self.live += 1;
        self.first.get_or_insert((at, id));
        self.all_bytes = record_end(self.all_bytes, bytes);
        self.group_first.get_or_insert((at, id));
        self.group_bytes = record_end(self.group_bytes, bytes);
    }

    /// All that is above the floor if it is no more than a group, else the last group.
    fn carry(&self, bounds: &Bounds, segment: &Arc<Segment>, to: usize) -> Option<Carry> {
        let fits = |bytes: usize| bytes.next_multiple_of(BLOCK_BYTES) <= bounds.group_bytes_max;
        let all = fits(self.all_bytes);
        if !all && !fits(self.group_bytes) {
            // Written with larger bounds than those of now: it stays where it is.
            return None;
        }
        let (from, first) = if all { self.first? } else { self.group_first? };
        Some(Carry { segment: Arc::clone(segment), from, to, first, all })
    }
}
