//! Opening: looks at what is there, asks [`crate::recovery`] what it means, and does what follows.
//!
//! Only the last segment is read through. The others are known by their headers, and what is damaged in them is met and
//! set aside by the reader, so opening takes the same time whatever the backlog.
//!
//! The last group that was written may never have been synced: the process may have died in the middle of it, or after
//! a sync that failed. (The one before it was, or the last one would not have been written.) What is read back of it is
//! therefore written again, into a new segment, and synced, before it counts. If few bytes are left in all they come
//! along, so that a buffer opened again and again does not collect almost empty segments.

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::durable::DurableEnd;
use crate::error::OpenError;
use crate::floor::{self, FLOOR_FILE, FloorFile};
use crate::format::{
    BLOCK_BYTES, BlockHeader, BlockSeed, DATA_START, FORMAT_VERSION, FloorSlot, MetaSlot, RECORD_HEADER_BYTES,
    SLOTS_BYTES, SegmentHeader, Slot, record_end,
};
use crate::group::{Group, Place};
use crate::id::{InstanceId, RecordId};
use crate::janitor::JanitorSignal;
use crate::memory::{CHUNK_BYTES, Chunk};
use crate::options::{Bounds, DirectIo, Options, SyncPolicy};
use crate::quarantine::{self, QUARANTINE_DIR, Quarantine};
use crate::recovery::{self, BlocksSeen, DirectoryCase, FloorCase, Freed, Plan, SeenSegment, SegmentCase, TailCase};
use crate::scan::{Extent, Item, Scan};
use crate::segment::{Files, Previous, SEGMENTS_DIR, Segment, Vacant, file_name, parse_file_name, path, write_header};
use crate::shared::{Live, Shared};
use crate::stats::{Counters, add};
use crate::storage::{Access, File, Storage};
use crate::tail::Tail;
use crate::walk::for_each_piece;
use crate::writer::{now_ms, write_group};

const META_FILE: &str = "meta";
const LOCK_FILE: &str = "lock";

/// What an opening found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the directory was found.
    pub directory: DirectoryCase,
    /// How the floor was found.
    pub floor: FloorCase,
    /// How the end of the last segment was found.
    pub tail: TailCase,
    /// Each segment file's number and how it was found.
    pub segments: Vec<(u64, SegmentCase)>,
    /// Segments that another one names as the one before it, that held records above the floor and are not there.
    pub missing_segments: u64,
    /// Good records above the floor in the last segment.
    pub tail_records: u64,
    /// Those of them that were written again into a new segment.
    pub carried_records: u64,
    /// Pieces of damage that were set aside.
    pub damaged_pieces: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// The first record that will be delivered has this id or a higher one.
    pub floor_id: RecordId,
    /// Id of the next record.
    pub next_id: RecordId,
    /// How long it took.
    pub took: Duration,
}

/// An opened buffer, before its threads run.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lock: Arc<dyn Any + Send + Sync>,
    pub(crate) report: RecoveryReport,
    pub(crate) next_number: u64,
}

/// Gives an I/O error its operation and file.
fn at<'a>(action: &'static str, file: &'a str) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, file: file.to_string(), source }
}

pub(crate) fn open(storage: Arc<dyn Storage>, dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    let started = Instant::now();
    let bounds = Bounds::of(options)?;
    for name in ["", SEGMENTS_DIR, QUARANTINE_DIR] {
        storage.create_dir(name).map_err(at("create", name))?;
    }
    let lock = storage.lock(LOCK_FILE).map_err(at("lock", LOCK_FILE))?;
    let lock: Arc<dyn Any + Send + Sync> = Arc::from(lock.ok_or_else(|| OpenError::Locked { dir: dir.to_path_buf() })?);

    let meta_slots = read_meta(&*storage).map_err(at("read", META_FILE))?;
    let floor_slots = floor::read(&*storage).map_err(at("read", FLOOR_FILE))?;
    refuse_newer(META_FILE, &meta_slots)?;
    refuse_newer(FLOOR_FILE, &floor_slots)?;
    let mut seen = survey(&*storage)?;
    let meta_instances = meta_slots.map(|slot| slot.good().map(|meta| meta.instance));
    let floor_instances = floor_slots.map(|slot| slot.good().map(|floor| floor.instance));
    let (directory, instance) = recovery::instance(meta_instances, floor_instances, &seen);
    let instance = match instance {
        Some(known) => known,
        None => new_instance().map_err(at("name", META_FILE))?,
    };
    if meta_instances != [Some(instance); 2] {
        write_meta(&*storage, instance).map_err(at("write", META_FILE))?;
    }
    let seed = BlockSeed::of(instance);
    for segment in seen.iter_mut().filter(|segment| segment.needs_look()) {
        let file = file_name(segment.number);
        segment.blocks = look_at_blocks(&*storage, segment, seed).map_err(at("read", &file))?;
    }

    let known_floor = floor_slots
        .iter()
        .filter_map(Slot::good)
        .filter(|slot| slot.instance == instance)
        .max_by_key(|slot| slot.sequence);
    let plan =
        recovery::plan(&seen, instance, known_floor.map(|slot| slot.floor), known_floor.map(|slot| slot.generation));
    // A generation is never given twice: the one that this opening may use is durable before any block has it.
    let generation = plan.generation + 1;
    let start = FloorSlot { sequence: 0, instance, floor: plan.floor, generation };
    let direct = options.direct_io == DirectIo::Auto && options.sync != SyncPolicy::Never;
    let (floor_file, access) =
        FloorFile::open(&*storage, &floor_slots, start, direct).map_err(at("write", FLOOR_FILE))?;
    let files = Files { storage: Arc::clone(&storage), access, instance, seed };
    let quarantine = Quarantine::open(Arc::clone(&storage), instance).map_err(at("read", QUARANTINE_DIR))?;
    move_aside(&*storage, &plan.set_aside, generation)?;

    let mut recovery = Recovery {
        files: &files,
        bounds: &bounds,
        quarantine: &quarantine,
        floor: plan.floor,
        next: plan.next,
        ready: Vec::new(),
        bytes: plan.live.iter().map(|kept| kept.bytes).sum(),
        next_number: seen.iter().map(|segment| segment.number + 1).max().unwrap_or(0),
        damaged: (0, 0),
    };
    for freed in &plan.free {
        recovery.free(freed).map_err(at("free", &file_name(freed.number)))?;
    }
    let mut live = Live::default();
    for kept in &plan.live {
        let name = file_name(kept.number);
        let found = (kept.generation, kept.sequence);
        let segment = Segment::found(&files, kept.number, kept.bytes, found, kept.end).map_err(at("open", &name))?;
        live.push(Arc::new(segment));
    }
    let end = recovery.end_of(&mut live).map_err(at("read", SEGMENTS_DIR))?;
    let mut tail = Tail::new(bounds, recovery.next, generation, end.previous);
    recovery.first_segment();
    let carried = match end.carry {
        Some(carry) => recovery.carry(&mut tail, &mut live, &carry).map_err(at("write", SEGMENTS_DIR))?,
        None => 0,
    };
    tail.ready.extend(recovery.ready.drain(..));
    let report = RecoveryReport {
        directory,
        floor: if known_floor.is_some() || directory == DirectoryCase::Fresh {
            FloorCase::Known
        } else {
            FloorCase::Lost
        },
        tail: end.case,
        segments: plan.cases.clone(),
        missing_segments: plan.missing,
        tail_records: end.records,
        carried_records: carried,
        damaged_pieces: recovery.damaged.0,
        damaged_bytes: recovery.damaged.1,
        floor_id: plan.floor,
        next_id: recovery.next,
        took: started.elapsed(),
    };
    log(&report, &plan);
    let counters = Counters::default();
    add(&counters.damaged_pieces, report.damaged_pieces);
    add(&counters.damaged_bytes, report.damaged_bytes);
    let (segments_bytes, next_number) = (recovery.bytes, recovery.next_number);
    let oldest_ms = live.segments.front().map_or(0, |live| oldest_ms(&files, &live.segment));
    let shared = Arc::new(Shared {
        bounds,
        durable: Arc::new(DurableEnd::new(report.next_id)),
        tail: tail.into(),
        writer_work: std::sync::Condvar::new(),
        live: live.into(),
        janitor: JanitorSignal::default(),
        floor: AtomicU64::new(plan.floor.get()),
        floor_file: floor_file.into(),
        quarantine,
        counters,
        segments_bytes: AtomicU64::new(segments_bytes),
        oldest_ms: AtomicU64::new(oldest_ms),
        files,
    });
    Ok(Opened { shared, lock, report, next_number })
}

/// The work of an opening on segments, and what it has found so far.
struct Recovery<'a> {
    files: &'a Files,
    bounds: &'a Bounds,
    quarantine: &'a Quarantine,
    floor: RecordId,
    next: RecordId,
    ready: Vec<Vacant>,
    bytes: u64,
    next_number: u64,
    damaged: (u64, u64),
}

/// The end of the last segment.
struct End {
    case: TailCase,
    records: u64,
    previous: Option<Previous>,
    carry: Option<Carry>,
}

/// Records to be written again.
struct Carry {
    segment: Arc<Segment>,
    /// Bytes from the start of the segment.
    from: usize,
    to: usize,
    first: RecordId,
    /// Everything in the segment before `from` is below the floor.
    all: bool,
}

impl Recovery<'_> {
    /// Takes a segment back into use, or removes it if it is of another size than wanted.
    fn free(&mut self, freed: &Freed) -> io::Result<()> {
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
    fn first_segment(&mut self) {
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
    fn end_of(&mut self, live: &mut Live) -> io::Result<End> {
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
    fn carry(&mut self, tail: &mut Tail, live: &mut Live, carry: &Carry) -> io::Result<u64> {
        let Some(vacant) = self.ready.pop() else { return Ok(0) };
        let last = &carry.segment;
        let generation = tail.take_generation();
        let end = Place { generation: last.generation, offset: carry.from as u64 };
        let previous = Previous { end, end_id: carry.first };
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

fn read_meta(storage: &dyn Storage) -> io::Result<[Slot<MetaSlot>; 2]> {
    let mut bytes = [0; SLOTS_BYTES as usize];
    match storage.open(META_FILE, Access::Read) {
        Ok(file) => {
            file.read_at(&mut bytes, 0)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok([MetaSlot::decode(&bytes[..BLOCK_BYTES]), MetaSlot::decode(&bytes[BLOCK_BYTES..])])
}

fn write_meta(storage: &dyn Storage, instance: InstanceId) -> io::Result<()> {
    let unfinished = format!("{META_FILE}.tmp");
    let _ = storage.remove(&unfinished);
    let slot = MetaSlot { instance, created_ms: now_ms() }.encode();
    let file = storage.open(&unfinished, Access::Create)?;
    file.write_at(&[IoSlice::new(&slot), IoSlice::new(&slot)], 0)?;
    file.sync()?;
    storage.rename(&unfinished, META_FILE)?;
    storage.sync_dir("")
}

fn new_instance() -> io::Result<InstanceId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(InstanceId::from_bytes(bytes))
}

fn refuse_newer<T>(file: &str, slots: &[Slot<T>; 2]) -> Result<(), OpenError> {
    for slot in slots {
        if let Slot::Newer(found) = *slot {
            return Err(OpenError::NewerVersion { file: file.to_string(), found, known: FORMAT_VERSION });
        }
    }
    Ok(())
}

/// Reads the headers of all segments. Files that were being made when a crash came never held a record and are removed.
fn survey(storage: &dyn Storage) -> Result<Vec<SeenSegment>, OpenError> {
    let mut seen = Vec::new();
    for (name, bytes) in storage.list(SEGMENTS_DIR).map_err(at("list", SEGMENTS_DIR))? {
        if name.strip_suffix(".tmp").is_some_and(|name| parse_file_name(name).is_some()) {
            storage.remove(&format!("{SEGMENTS_DIR}/{name}")).map_err(at("remove", &name))?;
        }
        let Some(number) = parse_file_name(&name) else { continue };
        let mut slots = [0; DATA_START as usize];
        let file = storage.open(&path(number), Access::Read).map_err(at("open", &name))?;
        // An unreadable slot is a damaged one.
        let read = |to: &mut [u8], at| match file.read_at(to, at) {
            Ok(_) => {}
            Err(_) => to.fill(0xff),
        };
        let (first, second) = slots.split_at_mut(BLOCK_BYTES);
        read(first, 0);
        read(second, BLOCK_BYTES as u64);
        let slots = [SegmentHeader::decode(first), SegmentHeader::decode(second)];
        refuse_newer(&name, &slots)?;
        seen.push(SeenSegment { number, bytes, slots, blocks: BlocksSeen::NotLooked });
    }
    Ok(seen)
}

/// The highest generation in the blocks of a segment.
fn look_at_blocks(storage: &dyn Storage, segment: &SeenSegment, seed: BlockSeed) -> io::Result<BlocksSeen> {
    let file = storage.open(&path(segment.number), Access::Read)?;
    let mut window = vec![0; CHUNK_BYTES];
    let (mut generation, mut blank) = (None, true);
    let mut at = DATA_START;
    while at < segment.bytes {
        // What cannot be read is not blank, and says nothing.
        let read = file.read_at(&mut window, at).unwrap_or_else(|_| {
            window.fill(0xff);
            CHUNK_BYTES
        });
        for block in window[..read].chunks_exact(BLOCK_BYTES) {
            generation = generation.max(BlockHeader::decode(block, seed).map(|header| header.generation));
        }
        blank &= window[..read].iter().all(|byte| *byte == 0);
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    let blank = blank && segment.slots.iter().all(|slot| *slot == Slot::Blank);
    Ok(match generation {
        Some(generation) => BlocksSeen::Generation(generation),
        None if blank => BlocksSeen::Blank,
        None => BlocksSeen::Unreadable,
    })
}

/// Moves whole files into the quarantine; `generation` keeps the names of different openings apart.
fn move_aside(storage: &dyn Storage, numbers: &[u64], generation: u64) -> Result<(), OpenError> {
    for number in numbers {
        let name = file_name(*number);
        let to = format!("{QUARANTINE_DIR}/segment-{generation:010}-{name}");
        tracing::error!(segment = number, "a segment that is not of this buffer was set aside");
        storage.rename(&path(*number), &to).map_err(at("set aside", &name))?;
    }
    if !numbers.is_empty() {
        storage.sync_dir(QUARANTINE_DIR).map_err(at("sync", QUARANTINE_DIR))?;
        storage.sync_dir(SEGMENTS_DIR).map_err(at("sync", SEGMENTS_DIR))?;
    }
    Ok(())
}

/// When the first group of a segment was written.
fn oldest_ms(files: &Files, segment: &Segment) -> u64 {
    let mut block = [0; BLOCK_BYTES];
    let read = |file: Box<dyn File>| file.read_at(&mut block, DATA_START).ok();
    let read = files.storage.open(&path(segment.number), Access::Read).ok().and_then(read);
    read.and_then(|_| BlockHeader::decode(&block, files.seed)).map_or(0, |header| header.written_ms)
}

fn log(report: &RecoveryReport, plan: &Plan) {
    tracing::info!(
        directory = ?report.directory,
        floor = ?report.floor,
        tail = ?report.tail,
        live = plan.live.len(),
        free = plan.free.len(),
        set_aside = plan.set_aside.len(),
        floor_id = report.floor_id.get(),
        next_id = report.next_id.get(),
        carried = report.carried_records,
        damaged_bytes = report.damaged_bytes,
        took_ms = report.took.as_millis() as u64,
        "the buffer is open"
    );
    if report.missing_segments > 0 {
        tracing::error!(segments = report.missing_segments, "segments with unread records are missing");
    }
}
