//! The reader: durable records in order, from memory while it keeps up and from disk when it does not.
//!
//! Its place is a position in the segments, not an id, so that holes in the ids mean nothing to it. Damage is set aside
//! where it is met and reading goes on behind it.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::batch::Batch;
use crate::durable::ReaderWaker;
use crate::error::ReadError;
use crate::format::{BLOCK_BYTES, DATA_START, RecordKind};
use crate::group::{Group, Place};
use crate::id::RecordId;
use crate::lock::lock;
use crate::quarantine;
use crate::scan::{Extent, Item, Scan};
use crate::segment::{Segment, path};
use crate::shared::Shared;
use crate::stats::add;
use crate::storage::Access;
use crate::walk::{Found, Parsed, for_each_piece, record_at};

/// Reads whose times are remembered to tell how old the oldest unacknowledged record is; beyond them neighbours merge.
const AGES_MAX: usize = 1024;

/// Reads the records of a buffer; there is one at a time.
pub struct Reader {
    shared: Arc<Shared>,
    _lock: Arc<dyn Any + Send + Sync>,
    /// No record below it will be delivered any more.
    next: RecordId,
    /// The id after the last record that was delivered; what may be acknowledged.
    delivered: RecordId,
    segment: Option<Arc<Segment>>,
    /// Bytes from the start of the segment.
    offset: usize,
    /// A group from memory, in which `offset` lies.
    group: Option<Group>,
    scan: Option<Scan>,
    /// For each read: its end, and the append time of its first record.
    ages: VecDeque<(RecordId, u64)>,
}

/// What a step of reading gave.
enum Step {
    Delivered,
    /// The next record does not fit the batch any more.
    Enough,
    /// The place has moved without giving a record.
    Moved,
    /// Nothing more at this place; look for the next one.
    PlaceDone,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, lock: Arc<dyn Any + Send + Sync>) -> Self {
        let floor = shared.floor();
        let ages = VecDeque::with_capacity(AGES_MAX);
        Self {
            shared,
            _lock: lock,
            next: floor,
            delivered: floor,
            segment: None,
            offset: 0,
            group: None,
            scan: None,
            ages,
        }
    }

    /// Puts the next durable records into the batch, replacing what it held: at most `records_max` of them, and no more
    /// than `bytes_max` bytes, but one record at least if there is one. Gives their number; 0 means none are there now.
    ///
    /// Ids grow; one that is missing was damaged and set aside, or never given.
    ///
    /// # Errors
    ///
    /// If a segment cannot be read for another reason than damage; the next call tries again.
    pub fn read(&mut self, batch: &mut Batch, records_max: usize, bytes_max: usize) -> Result<usize, ReadError> {
        batch.clear();
        let durable_end = self.shared.durable.get();
        if self.next >= durable_end {
            self.close_hole();
            return Ok(0);
        }
        let mut from_memory = 0;
        let mut first_ms = 0;
        while batch.len() < records_max && (batch.is_empty() || batch.bytes() < bytes_max) {
            let room = if batch.is_empty() { usize::MAX } else { bytes_max.saturating_sub(batch.bytes()) };
            let step = if self.group.is_some() || self.take_group() {
                self.step_memory(batch, room, &mut first_ms).inspect(|step| {
                    from_memory += u64::from(matches!(step, Step::Delivered));
                })
            } else {
                self.step_disk(batch, room, &mut first_ms)
            };
            match step {
                Ok(Step::Delivered | Step::Moved) => {}
                Ok(Step::Enough) => break,
                Ok(Step::PlaceDone) => {
                    if !self.next_place() {
                        // Ids up to there that were not delivered do not exist.
                        self.next = self.next.max(durable_end);
                        break;
                    }
                }
                // What was read so far is good; the fault comes again with the next call.
                Err(_) if !batch.is_empty() => break,
                Err(source) => return Err(ReadError::Io { action: "read a segment", source }),
            }
        }
        if batch.is_empty() {
            self.close_hole();
        }
        if let Some(end) = batch.end() {
            self.delivered = end;
            self.note_age(end, first_ms);
            add(&self.shared.counters.read_records, batch.len() as u64);
            add(&self.shared.counters.read_memory_records, from_memory);
        }
        Ok(batch.len())
    }

    /// Waits until there is something to read, at most `timeout`; says whether there is. Returns early when another
    /// thread calls [`ReaderWaker::wake`].
    pub fn wait(&self, timeout: Duration) -> bool {
        self.shared.durable.wait_reader(self.next, timeout)
    }

    /// Everything below `end` is done. The floor moves in memory now and on disk soon after; segments that lie wholly
    /// below it are used again once it is durable. An `end` below the floor changes nothing.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotDelivered`] if `end` is above what was delivered.
    pub fn acknowledge(&mut self, end: RecordId) -> Result<(), ReadError> {
        if end > self.delivered {
            return Err(ReadError::NotDelivered { end: end.get(), delivered: self.delivered.get() });
        }
        self.raise_floor(end);
        Ok(())
    }

    /// Makes the floor durable before it returns.
    ///
    /// # Errors
    ///
    /// If it cannot be written; it will be tried again in the background.
    pub fn sync_floor(&mut self) -> Result<(), ReadError> {
        self.shared.settle().map_err(|source| ReadError::Io { action: "write the floor", source })
    }

    /// Keeps a record that nobody takes, with the reason, in the quarantine; durable on return. It still has to be
    /// acknowledged. A record that is there already, from before a crash, is left as it is.
    ///
    /// # Errors
    ///
    /// If it could not be kept: do not acknowledge the record then.
    pub fn quarantine(&mut self, id: RecordId, bytes: &[u8], reason: &str) -> Result<(), ReadError> {
        let quarantine = &self.shared.quarantine;
        match quarantine.put(quarantine::Item::Record(id), reason, bytes) {
            Ok(_) => {
                add(&self.shared.counters.quarantined_records, 1);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                Err(ReadError::QuarantineFull { bytes: quarantine.bytes() })
            }
            Err(source) => Err(ReadError::Io { action: "write to the quarantine", source }),
        }
    }

    /// Goes back to the floor: what was delivered and not acknowledged will be delivered again.
    pub fn rewind(&mut self) {
        self.leave_group();
        for live in &mut lock(&self.shared.live).segments {
            live.read_end = None;
        }
        self.segment = None;
        self.scan = None;
        self.next = self.shared.floor();
        self.delivered = self.next;
        self.ages.clear();
    }

    /// The next record to be delivered has this id or a higher one.
    pub fn position(&self) -> RecordId {
        self.next
    }

    /// A handle that makes [`Reader::wait`] return.
    pub fn waker(&self) -> ReaderWaker {
        ReaderWaker(Arc::clone(&self.shared.durable))
    }

    /// Takes the group at this place out of memory, if it is still there.
    fn take_group(&mut self) -> bool {
        let Some(segment) = &self.segment else { return false };
        if !self.offset.is_multiple_of(BLOCK_BYTES) {
            return false;
        }
        let place = Place { generation: segment.generation, offset: self.offset as u64 };
        self.group = lock(&self.shared.tail).take_recent(place);
        self.group.is_some()
    }

    fn leave_group(&mut self) {
        if let Some(group) = self.group.take() {
            self.offset = group.end_offset() as usize;
            lock(&self.shared.tail).recycle(group);
        }
    }

    fn step_memory(&mut self, batch: &mut Batch, room: usize, first_ms: &mut u64) -> io::Result<Step> {
        let Some((group, segment)) = self.group.as_ref().zip(self.segment.as_ref()) else { return Ok(Step::PlaceDone) };
        let end = group.end_offset() as usize;
        loop {
            // Nothing is verified here: the bytes never left this process.
            let found = match record_at(group, self.offset, end, segment.seed, false) {
                Parsed::Record(found) => found,
                Parsed::Short(_) | Parsed::Bad => {
                    self.leave_group();
                    return Ok(Step::PlaceDone);
                }
            };
            if found.header.kind == RecordKind::Padding || found.header.id < self.next {
                self.offset = found.end;
                continue;
            }
            if found.header.bytes as usize > room {
                return Ok(Step::Enough);
            }
            if batch.is_empty() {
                *first_ms = group.written_ms();
            }
            deliver(group, &found, batch);
            self.offset = found.end;
            self.next = found.header.id.next();
            return Ok(Step::Delivered);
        }
    }

    fn step_disk(&mut self, batch: &mut Batch, room: usize, first_ms: &mut u64) -> io::Result<Step> {
        let Some(segment) = self.segment.clone() else { return Ok(Step::PlaceDone) };
        let extent = segment.extent();
        if matches!(extent, Extent::Exact(end) if self.offset >= end) {
            return Ok(Step::PlaceDone);
        }
        self.aim(&segment)?;
        let Some(scan) = &mut self.scan else { return Ok(Step::PlaceDone) };
        let before = scan.at();
        let item = scan.next(extent)?;
        match item {
            Item::End => {
                self.offset = extent_end(extent);
                Ok(Step::PlaceDone)
            }
            Item::Damaged { from, to } => {
                self.offset = to;
                let put = set_aside(&self.shared, &segment, scan, from, to);
                if let Err(error) = put {
                    tracing::error!(%error, "damage could not be set aside; its segment is kept");
                    if let Some(live) = lock(&self.shared.live).find(segment.generation) {
                        live.held = true;
                    }
                }
                Ok(Step::Moved)
            }
            Item::GroupEnd => {
                self.offset = scan.at();
                Ok(Step::Moved)
            }
            Item::Record(found) if found.header.id >= segment.end_id => {
                self.offset = found.end;
                Ok(Step::Moved)
            }
            Item::Record(found) if found.header.bytes as usize > room => {
                scan.put_back(before, found.header.id);
                Ok(Step::Enough)
            }
            Item::Record(found) => {
                if batch.is_empty() {
                    *first_ms = scan.block_header(&found).map_or(0, |header| header.written_ms);
                }
                deliver(scan.window(), &found, batch);
                self.offset = found.end;
                self.next = found.header.id.next();
                Ok(Step::Delivered)
            }
        }
    }

    /// Makes the scan stand at this place.
    fn aim(&mut self, segment: &Segment) -> io::Result<()> {
        if self.scan.as_ref().is_some_and(|scan| scan.is_at(segment.generation, self.offset)) {
            return Ok(());
        }
        let file = self.shared.files.storage.open(&path(segment.number), Access::Read)?;
        if let Some(scan) = &mut self.scan {
            scan.reopen(file, segment.generation, self.offset, self.next);
        } else {
            let seed = self.shared.files.seed;
            self.scan = Some(Scan::new(file, segment.generation, seed, self.offset, self.next));
        }
        Ok(())
    }

    /// Goes to the next segment if this one has nothing more. `false`: there is none.
    fn next_place(&mut self) -> bool {
        let mut live = lock(&self.shared.live);
        let Some(segment) = self.segment.clone() else {
            self.segment = live.segments.front().map(|live| Arc::clone(&live.segment));
            self.offset = DATA_START as usize;
            return self.segment.is_some();
        };
        if let Some(next) = live.after(segment.generation) {
            // The next one was begun after the last group of this one was durable: read its end again.
            if self.offset < extent_end(segment.extent()) {
                return true;
            }
            live.passed(next.generation, self.next);
            self.shared.janitor.want_floor();
            self.segment = Some(next);
            self.offset = DATA_START as usize;
            return true;
        }
        if self.offset < extent_end(segment.extent()) {
            return true;
        }
        if !live.last_is_open && live.passed(u64::MAX, self.next) {
            self.shared.janitor.want_floor();
        }
        false
    }

    /// If everything that was delivered is done, so are the ids behind it that do not exist.
    fn close_hole(&mut self) {
        if self.delivered < self.next && self.shared.floor() >= self.delivered {
            self.delivered = self.next;
            self.raise_floor(self.next);
        }
    }

    fn raise_floor(&mut self, end: RecordId) {
        if end <= self.shared.floor() {
            return;
        }
        self.shared.floor.store(end.get(), Ordering::SeqCst);
        while self.ages.front().is_some_and(|(read_end, _)| *read_end <= end) {
            self.ages.pop_front();
        }
        if let Some((_, ms)) = self.ages.front() {
            self.shared.oldest_ms.store(*ms, Ordering::Relaxed);
        } else if end >= self.shared.durable.get() {
            // The writer sets it again. Otherwise the old time stands for the next record until it is read.
            self.shared.oldest_ms.store(0, Ordering::Relaxed);
        }
        self.shared.janitor.want_floor();
    }

    fn note_age(&mut self, end: RecordId, first_ms: u64) {
        if self.ages.is_empty() {
            self.shared.oldest_ms.store(first_ms, Ordering::Relaxed);
        }
        if self.ages.len() < AGES_MAX {
            self.ages.push_back((end, first_ms));
        } else if let Some(last) = self.ages.back_mut() {
            last.0 = end;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.leave_group();
    }
}

fn extent_end(extent: Extent) -> usize {
    match extent {
        Extent::Exact(end) | Extent::Unknown(end) => end,
    }
}

fn deliver(blocks: &impl crate::walk::Blocks, found: &Found, batch: &mut Batch) {
    // The record was just found in these blocks, so all of its pieces are at hand.
    let whole = for_each_piece(blocks, found, |piece| batch.extend(piece));
    debug_assert_eq!(whole, Ok(()));
    batch.finish(found.header.id);
}

/// Puts a damaged range of a segment into the quarantine, in pieces.
pub(crate) fn set_aside(shared: &Shared, segment: &Segment, scan: &Scan, from: usize, to: usize) -> io::Result<()> {
    quarantine::set_aside(&shared.quarantine, segment.generation, scan.file(), from, to, |bytes| {
        add(&shared.counters.damaged_pieces, 1);
        add(&shared.counters.damaged_bytes, bytes);
    })
}
