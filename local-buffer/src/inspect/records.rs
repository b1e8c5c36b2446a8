//! The records of a buffer, in order, read by somebody who does not own it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::damage::{Damage, DamageKind};
use super::error::InspectError;
use super::places;
use super::seek::Seek;
use super::snapshot::Snapshot;
use crate::format::{BLOCK_BYTES, BlockSeed, DATA_START, RECORD_HEADER_BYTES};
use crate::id::RecordId;
use crate::quarantine::{DAMAGE_PIECE_BYTES, Item as SetAside};
use crate::scan::{Extent, Item, Scan};
use crate::segment::path;
use crate::slot::SegmentState;
use crate::storage::{Access, InUse, Storage};
use crate::survey::read_slots;
use crate::walk::{BlockLook, Blocks as _, Found, for_each_piece, look};

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first record that is not done.
    Floor,
    /// With this id; records that are done are among them as long as their segment was not written again.
    Id(RecordId),
    /// With the oldest record that can still be read, done or not.
    Oldest,
}

/// What was found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A record whose checksum holds.
    Record(RecordPlace),
    /// Damage of a segment that counts.
    Damage(Damage),
    /// The segment with this number was freed by its owner while it was read: what was left of it is done.
    Released(u64),
}

/// A record and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Its id.
    pub id: RecordId,
    /// Number of its segment.
    pub segment: u64,
    /// Place of its header, bytes from the start of the segment.
    pub offset: u64,
    /// Size of its payload, bytes.
    pub bytes: u32,
    /// When its group was written, milliseconds since 1970.
    pub written_ms: u64,
}

/// A use of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    number: u64,
    bytes: u64,
    generation: u64,
    sequence: u64,
    state: SegmentState,
    extent: Extent,
    /// No other segment was begun after it: a process may be writing it.
    last: bool,
}

impl Source {
    /// Bytes that are read of it at most.
    pub(super) fn bytes(&self) -> u64 {
        let (Extent::Exact(end) | Extent::Unknown(end)) = self.extent;
        (end as u64).saturating_sub(DATA_START)
    }
}

/// The records of a buffer, one after the other. Memory does not grow with the buffer.
pub struct Records {
    storage: Arc<dyn Storage>,
    seed: BlockSeed,
    in_use: bool,
    sources: VecDeque<Source>,
    /// The one being read.
    open: Option<(Source, Scan)>,
    /// Found while looking whether there is something behind damage.
    pending: Option<Item>,
    next: RecordId,
    /// Whether the headers of blocks are checked as well, and up to which one they were.
    check_blocks: bool,
    blocks_checked: usize,
    scars: VecDeque<Damage>,
    done_bytes: u64,
}

/// What a step came upon.
pub(super) enum Step {
    Record(Found, RecordPlace),
    Damage(Damage),
    Released(u64),
}

impl Records {
    pub(super) fn start(storage: Arc<dyn Storage>, snapshot: &Snapshot, start: Start) -> Result<Self, InspectError> {
        let mut sources = live(snapshot);
        let next = match start {
            Start::Floor => snapshot.plan.floor,
            Start::Id(id) => id,
            Start::Oldest => RecordId::ZERO,
        };
        if next < snapshot.plan.floor {
            sources.extend(done(snapshot));
            sources.sort_by_key(|source| source.generation);
        }
        let mut records = Self::over(storage, snapshot, sources, next);
        records.skip(next)?;
        Ok(records)
    }

    /// Everything that counts, with the headers of blocks.
    pub(super) fn to_verify(storage: Arc<dyn Storage>, snapshot: &Snapshot) -> Self {
        let mut records = Self::over(storage, snapshot, live(snapshot), RecordId::ZERO);
        records.check_blocks = true;
        records
    }

    fn over(storage: Arc<dyn Storage>, snapshot: &Snapshot, sources: Vec<Source>, next: RecordId) -> Self {
        Self {
            storage,
            seed: snapshot.seed(),
            in_use: snapshot.in_use != InUse::No,
            sources: sources.into(),
            open: None,
            pending: None,
            next,
            check_blocks: false,
            blocks_checked: 0,
            scars: VecDeque::new(),
            done_bytes: 0,
        }
    }

    /// The next piece; a record's bytes replace what `payload` held. `None` at the end.
    ///
    /// # Errors
    /// A file that cannot be read for another reason than damage.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<Piece>, InspectError> {
        Ok(match self.step()? {
            None => None,
            Some(Step::Damage(damage)) => Some(Piece::Damage(damage)),
            Some(Step::Released(number)) => Some(Piece::Released(number)),
            Some(Step::Record(found, place)) => {
                payload.clear();
                if let Some((_, scan)) = &self.open {
                    // The record was just found in the window, so all of its pieces are at hand.
                    let whole = for_each_piece(scan.window(), &found, |piece| payload.extend_from_slice(piece));
                    debug_assert_eq!(whole, Ok(()));
                }
                Some(Piece::Record(place))
            }
        })
    }

    /// Bytes read so far, and those that there are in all.
    pub(super) fn progress(&self) -> (u64, u64) {
        let current = self.open.as_ref().map_or(0, |(_, scan)| (scan.at() as u64).saturating_sub(DATA_START));
        let open = self.open.as_ref().map_or(0, |(source, _)| source.bytes());
        let left: u64 = self.sources.iter().map(Source::bytes).sum();
        (self.done_bytes + current.min(open), self.done_bytes + open + left)
    }

    /// Goes to the first record with this id in the first segment, instead of reading what lies before it.
    fn skip(&mut self, id: RecordId) -> Result<(), InspectError> {
        let Some(source) = self.sources.front().copied() else { return Ok(()) };
        let Extent::Exact(end) = source.extent else { return Ok(()) };
        let name = path(source.number);
        let open = || self.storage.open(&name, Access::Read);
        let spot = Seek::new(&open, source.generation, self.seed, end as u64).and_then(|seek| seek.record(id));
        let spot = match spot {
            Ok(spot) => spot,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(InspectError::io("read", &name)(error)),
        };
        if let Some(spot) = spot
            && self.begin()?.is_none()
            && let Some((_, scan)) = &mut self.open
        {
            scan.put_back(spot.offset, id);
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<Option<Step>, InspectError> {
        loop {
            if let Some(scar) = self.scars.pop_front() {
                return Ok(Some(Step::Damage(scar)));
            }
            if self.open.is_none() {
                if self.sources.is_empty() {
                    return Ok(None);
                }
                if let Some(released) = self.begin()? {
                    return Ok(Some(released));
                }
            }
            let Some((source, scan)) = &mut self.open else { continue };
            let source = *source;
            let item = match self.pending.take() {
                Some(item) => item,
                None => scan.next(source.extent).map_err(InspectError::io("read", &path(source.number)))?,
            };
            match item {
                Item::End => {
                    let released = !self.is_there(&source)?;
                    self.close();
                    if released && source.state == SegmentState::Active {
                        self.scars.clear();
                        return Ok(Some(Step::Released(source.number)));
                    }
                }
                Item::GroupEnd => self.look_at_blocks()?,
                Item::Record(found) => {
                    self.next = found.header.id.next();
                    let written_ms = scan.block_header(&found).map_or(0, |header| header.written_ms);
                    let place = RecordPlace {
                        id: found.header.id,
                        segment: source.number,
                        offset: (found.payload_at - RECORD_HEADER_BYTES) as u64,
                        bytes: found.header.bytes,
                        written_ms,
                    };
                    self.look_at_blocks()?;
                    return Ok(Some(Step::Record(found, place)));
                }
                // What is done may be written over at any time, and nobody misses it.
                Item::Damaged { .. } if source.state == SegmentState::Free => {}
                Item::Damaged { from, to } => {
                    if let Some(step) = self.judge(source, from, to)? {
                        return Ok(Some(step));
                    }
                }
            }
        }
    }

    /// Opens the next segment.
    fn begin(&mut self) -> Result<Option<Step>, InspectError> {
        let Some(source) = self.sources.pop_front() else { return Ok(None) };
        let name = path(source.number);
        let file = match self.storage.open(&name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Step::Released(source.number))),
            Err(error) => return Err(InspectError::io("open", &name)(error)),
        };
        let scan = Scan::new(file, source.generation, self.seed, DATA_START as usize, self.next);
        self.blocks_checked = DATA_START as usize / BLOCK_BYTES;
        self.open = Some((source, scan));
        Ok(None)
    }

    fn close(&mut self) {
        if let Some((source, _)) = self.open.take() {
            self.done_bytes += source.bytes();
        }
    }

    /// Whether the segment is still in the use that it was in.
    fn is_there(&self, source: &Source) -> Result<bool, InspectError> {
        let name = path(source.number);
        let file = match self.storage.open(&name, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(InspectError::io("open", &name)(error)),
        };
        let slots = read_slots(&*file);
        let newest = slots.iter().filter_map(crate::slot::Slot::good).max_by_key(|header| header.sequence);
        // A segment without a good header, found by its blocks, has sequence 0 or that of an older use.
        Ok(newest.map_or(0, |header| header.sequence) == source.sequence)
    }

    /// What damage means: nothing if the segment was freed meanwhile, or if the place is still being written.
    fn judge(&mut self, source: Source, from: usize, to: usize) -> Result<Option<Step>, InspectError> {
        let name = path(source.number);
        let failed = InspectError::io("read", &name);
        if !self.is_there(&source)? {
            self.close();
            self.scars.clear();
            return Ok((source.state == SegmentState::Active).then_some(Step::Released(source.number)));
        }
        let mut kind = DamageKind::Records;
        if source.last {
            let open = || self.storage.open(&name, Access::Read);
            let seek = Seek::new(&open, source.generation, self.seed, source.bytes).map_err(&failed)?;
            let last = seek.last_block_of_all(from / BLOCK_BYTES).map_err(&failed)?;
            let in_last_group = last.is_none_or(|(_, header)| from / BLOCK_BYTES >= header.group_start as usize);
            // All groups before the last one were durable before it was begun: what is not there now never will be.
            let mut again = Scan::new(open().map_err(&failed)?, source.generation, self.seed, from, self.next);
            let second = again.next(source.extent).map_err(&failed)?;
            if !matches!(second, Item::Damaged { from: same, .. } if same == from) {
                self.open = Some((source, again));
                self.pending = Some(second);
                return Ok(None);
            }
            if in_last_group && self.in_use {
                self.pending = Some(Item::End);
                return Ok(None);
            }
            let Some((_, scan)) = &mut self.open else { return Ok(None) };
            let behind = loop {
                match scan.next(source.extent).map_err(&failed)? {
                    Item::GroupEnd => {}
                    item => break item,
                }
            };
            if behind == Item::End {
                kind = DamageKind::Tail;
            }
            self.pending = Some(behind);
        }
        self.blocks_checked = self.blocks_checked.max(to.div_ceil(BLOCK_BYTES));
        let set_aside = (from..to).step_by(DAMAGE_PIECE_BYTES).all(|at| {
            let item = SetAside::Damage { generation: source.generation, offset: at as u64 };
            places::is_set_aside(&*self.storage, &item.file_name())
        });
        let damage = Damage { kind, file: name.clone(), offset: from as u64, bytes: (to - from) as u64, set_aside };
        Ok(Some(Step::Damage(damage)))
    }

    /// Looks at the headers of the blocks that were passed since the last time.
    fn look_at_blocks(&mut self) -> Result<(), InspectError> {
        let Some((source, scan)) = self.open.as_ref().filter(|_| self.check_blocks) else { return Ok(()) };
        for index in self.blocks_checked..scan.at() / BLOCK_BYTES {
            let mut copy = [0; BLOCK_BYTES];
            if let Some(block) = scan.window().block(index) {
                copy.copy_from_slice(block);
            } else {
                let read = scan.file().read_at(&mut copy, (index * BLOCK_BYTES) as u64);
                read.map_err(InspectError::io("read", &path(source.number)))?;
            }
            if !matches!(look(&copy, index, source.generation, self.seed), BlockLook::Current(_)) {
                self.scars.push_back(Damage {
                    kind: DamageKind::BlockHeader,
                    file: path(source.number),
                    offset: (index * BLOCK_BYTES) as u64,
                    bytes: BLOCK_BYTES as u64,
                    set_aside: false,
                });
            }
        }
        self.blocks_checked = self.blocks_checked.max(scan.at() / BLOCK_BYTES);
        Ok(())
    }
}

/// The segments that hold records to be delivered, in their order.
pub(super) fn live(snapshot: &Snapshot) -> Vec<Source> {
    let plan = &snapshot.plan;
    let source = |(index, kept): (usize, &crate::recovery::Kept)| Source {
        number: kept.number,
        bytes: kept.bytes,
        generation: kept.generation,
        sequence: kept.sequence,
        state: SegmentState::Active,
        extent: kept.end.map_or(Extent::Unknown(kept.bytes as usize), |end| Extent::Exact(end as usize)),
        last: index + 1 == plan.live.len(),
    };
    plan.live.iter().enumerate().map(source).collect()
}

/// Segments whose records are all done, and that were not written again since.
fn done(snapshot: &Snapshot) -> impl Iterator<Item = Source> {
    let headers = || snapshot.seen.iter().filter_map(|segment| segment.newest());
    snapshot.plan.free.iter().filter(|freed| freed.generation > 0).map(move |freed| {
        let next = headers().find(|header| header.previous_generation == freed.generation);
        let end = next.map_or(Extent::Unknown(freed.bytes as usize), |next| Extent::Exact(next.previous_end as usize));
        Source {
            number: freed.number,
            bytes: freed.bytes,
            generation: freed.generation,
            sequence: freed.sequence,
            state: SegmentState::Free,
            extent: end,
            last: false,
        }
    })
}
