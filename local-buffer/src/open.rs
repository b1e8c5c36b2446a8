//! Opening: looks at what is there, asks [`crate::recovery`] what it means, and does what follows.
//!
//! Only the last segment is read through. The others are known by their headers, and what is damaged in them is met and
//! set aside by the reader, so opening takes the same time whatever the backlog.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use crate::durable::DurableEnd;
use crate::error::OpenError;
use crate::floor::{self, FLOOR_FILE, FloorFile};
use crate::format::BlockSeed;
use crate::id::{InstanceId, RecordId};
use crate::janitor::JanitorSignal;
use crate::meta::{self, META_FILE};
use crate::options::{Bounds, DirectIo, SyncPolicy};
use crate::quarantine::{QUARANTINE_DIR, Quarantine};
use crate::recovery::{self, DirectoryCase, FloorCase, Plan, SeenSegment, SegmentCase, TailCase};
use crate::salvage::Salvage;
use crate::segment::{Files, SEGMENTS_DIR, Segment, file_name};
use crate::shared::{Live, Shared};
use crate::slot::{FloorSlot, Slot};
use crate::stats::{Counters, add};
use crate::storage::Storage;
use crate::survey::{at, look_at_blocks, move_aside, move_strange, oldest_ms, refuse_newer, survey};
use crate::sync::Condvar;
use crate::tail::Tail;

/// Name of the lock file.
pub(crate) const LOCK_FILE: &str = "lock";

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

pub(crate) fn open(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    bounds: Bounds,
    direct_io: DirectIo,
) -> Result<Opened, OpenError> {
    let started = Instant::now();
    for name in ["", SEGMENTS_DIR, QUARANTINE_DIR] {
        storage.create_dir(name).map_err(at("create", name))?;
    }
    let lock = storage.lock(LOCK_FILE).map_err(at("lock", LOCK_FILE))?;
    let lock: Arc<dyn Any + Send + Sync> = Arc::from(lock.ok_or_else(|| OpenError::Locked { dir: dir.to_path_buf() })?);
    // A process that was killed, or whose sync failed, leaves names that are seen and not safe. What follows relies on them.
    for name in ["", SEGMENTS_DIR, QUARANTINE_DIR] {
        storage.sync_dir(name).map_err(at("sync", name))?;
    }

    let Found { directory, instance, floor_slots, seen } = look(&**storage)?;
    let seed = BlockSeed::of(instance);
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
    let direct = direct_io == DirectIo::Auto && bounds.sync != SyncPolicy::Never;
    move_strange(&**storage, FLOOR_FILE, &floor_slots)?;
    let (floor_file, access) =
        FloorFile::open(&**storage, &floor_slots, start, direct).map_err(at("write", FLOOR_FILE))?;
    let files = Files { storage: Arc::clone(storage), access, instance, seed };
    let quarantine = Quarantine::open(Arc::clone(storage), instance).map_err(at("read", QUARANTINE_DIR))?;
    move_aside(&**storage, &plan.set_aside, generation)?;

    let mut salvage = Salvage {
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
        salvage.free(freed).map_err(at("free", &file_name(freed.number)))?;
    }
    let mut live = Live::default();
    for kept in &plan.live {
        let name = file_name(kept.number);
        let segment = Segment::found(&files, kept).map_err(at("open", &name))?;
        live.push(Arc::new(segment));
    }
    let end = salvage.end_of(&mut live).map_err(at("read", SEGMENTS_DIR))?;
    let mut tail = Tail::new(bounds, salvage.next, generation, end.previous);
    salvage.first_segment();
    let carried = match end.carry {
        Some(carry) => salvage.carry(&mut tail, &mut live, &carry).map_err(at("write", SEGMENTS_DIR))?,
        None => 0,
    };
    tail.ready.extend(salvage.ready.drain(..));
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
        damaged_pieces: salvage.damaged.0,
        damaged_bytes: salvage.damaged.1,
        floor_id: plan.floor,
        next_id: salvage.next,
        took: started.elapsed(),
    };
    log(&report, &plan);
    let counters = Counters::default();
    add(&counters.damaged_pieces, report.damaged_pieces);
    add(&counters.damaged_bytes, report.damaged_bytes);
    let (segments_bytes, next_number) = (salvage.bytes, salvage.next_number);
    let oldest_ms = live.segments.front().map_or(0, |live| oldest_ms(&files, &live.segment));
    let shared = Arc::new(Shared {
        bounds,
        durable: Arc::new(DurableEnd::new(report.next_id)),
        tail: tail.into(),
        writer_work: Condvar::new(),
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

/// What is in a directory, with its name.
struct Found {
    directory: DirectoryCase,
    instance: InstanceId,
    floor_slots: [Slot<FloorSlot>; 2],
    seen: Vec<SeenSegment>,
}

/// Looks at everything, and gives the directory a name if it has none. Nothing else is changed.
fn look(storage: &dyn Storage) -> Result<Found, OpenError> {
    let meta_slots = meta::read(storage).map_err(at("read", META_FILE))?;
    let floor_slots = floor::read(storage).map_err(at("read", FLOOR_FILE))?;
    refuse_newer(META_FILE, &meta_slots)?;
    refuse_newer(FLOOR_FILE, &floor_slots)?;
    let mut seen = survey(storage)?;
    let meta_instances = meta_slots.map(|slot| slot.good().map(|meta| meta.instance));
    let floor_instances = floor_slots.map(|slot| slot.good().map(|floor| floor.instance));
    let (directory, instance) = recovery::instance(meta_instances, floor_instances, &seen);
    let instance = if let Some(known) = instance {
        known
    } else {
        // What cannot be read at this moment is no reason to begin a new buffer.
        meta::try_read(storage).map_err(at("read", META_FILE))?;
        meta::new_instance().map_err(at("name", META_FILE))?
    };
    if meta_instances != [Some(instance); 2] {
        move_strange(storage, META_FILE, &meta_slots)?;
        meta::write(storage, instance).map_err(at("write", META_FILE))?;
    }
    let seed = BlockSeed::of(instance);
    for segment in seen.iter_mut().filter(|segment| segment.needs_look()) {
        let file = file_name(segment.number);
        segment.blocks = look_at_blocks(storage, segment, seed).map_err(at("read", &file))?;
    }
    Ok(Found { directory, instance, floor_slots, seen })
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
