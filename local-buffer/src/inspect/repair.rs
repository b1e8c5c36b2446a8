//! What an opening would do, done on purpose: told beforehand, done, and looked at again.
//!
//! An opening leaves the inside of sealed segments to the reader; a repair reads through all of them, so that what is
//! damaged lies in the quarantine before anybody waits for it. It also does two things that an opening cannot: it puts
//! back the name of a buffer whose meta file came from another one, and raises the floor to an id that a person names.
//! It never deletes bytes that hold, or may hold, an undrained record.

use std::path::Path;
use std::sync::Arc;

use super::damage::{Damage, DamageKind};
use super::error::InspectError;
use super::inspector::Inspector;
use super::readonly::ReadOnly;
use super::snapshot::Snapshot;
use super::verify::{Progress, verify};
use super::workplace;
use crate::batch::Batch;
use crate::floor::FLOOR_FILE;
use crate::id::{InstanceId, RecordId};
use crate::meta::{self, META_FILE};
use crate::open::{Opened, RecoveryReport, open};
use crate::options::{Bounds, GROUP_BYTES_MAX};
use crate::reader::Reader;
use crate::recovery::{DirectoryCase, FloorCase, SegmentCase};
use crate::segment::path;
use crate::storage::{Disk, InUse, Storage};

/// Records read at once while damage is looked for.
const BATCH_RECORDS_MAX: usize = 4096;

/// Something that a repair does, or did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairAction {
    /// The meta file is written again, because it is lost, or has the name of another buffer.
    WriteName {
        /// The name, found elsewhere; `None` where no file has it and a new one is made.
        instance: Option<InstanceId>,
    },
    /// The floor file is written again.
    WriteFloor {
        /// What the floor becomes.
        floor: RecordId,
        /// The floor was lost, and this is the best that segments say. Otherwise somebody asked for it.
        lost: bool,
    },
    /// A file of a segment that was never finished is removed. It never held a record.
    RemoveUnfinished {
        /// Relative to the directory.
        file: String,
    },
    /// A whole segment file is moved to the quarantine.
    MoveAside {
        /// Relative to the directory.
        file: String,
        /// Why.
        case: SegmentCase,
    },
    /// A segment is marked as free, because it has nothing in it that counts.
    Free {
        /// Relative to the directory.
        file: String,
        /// Why.
        case: SegmentCase,
    },
    /// Damaged bytes are copied to the quarantine, and passed over from then on.
    SetAside {
        /// Relative to the directory.
        file: String,
        /// Bytes from the start of the file.
        offset: u64,
        /// How many.
        bytes: u64,
        /// What they are.
        kind: DamageKind,
    },
    /// The last segment is closed: what comes next goes to another one. Its last records are written again there.
    Seal {
        /// Relative to the directory.
        file: String,
    },
}

/// What a repair found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// What was to be done, as it was found under the lock.
    pub actions: Vec<RepairAction>,
    /// What the opening in it found and did.
    pub recovery: RecoveryReport,
    /// Records that can be read from the floor on.
    pub readable_records: u64,
    /// Pieces of damage that were set aside, at most 1 MiB each.
    pub set_aside_pieces: u64,
    /// Their bytes.
    pub set_aside_bytes: u64,
    /// The floor, as it is on disk now.
    pub floor: RecordId,
}

/// Says what [`repair`] would do now. Changes nothing, and works while somebody uses the buffer; what that somebody does
/// until a repair can take the lock is not foreseen.
///
/// # Errors
/// As [`Inspector::verify`]; [`InspectError::Floor`] for a floor that cannot be had.
pub fn plan_repair(
    dir: impl AsRef<Path>,
    floor: Option<RecordId>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Vec<RepairAction>, InspectError> {
    let dir = dir.as_ref();
    plan_on(&(Arc::new(Disk::traceless(dir.to_path_buf())) as Arc<dyn Storage>), dir, floor, on_progress)
}

/// Does what an opening would do, and what it cannot. With `floor`, everything below that id counts as done from then
/// on: undrained records below it will never be delivered.
///
/// Damage that cannot be set aside, because the disk or the quarantine is full, stays where it is: look again with
/// [`Inspector::verify`] afterwards.
///
/// # Errors
/// [`InspectError::InUse`] while a process has the directory open; [`InspectError::Floor`]; a file that cannot be read
/// or written. A repair that was cut short can be repeated.
pub fn repair(
    dir: impl AsRef<Path>,
    floor: Option<RecordId>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Repaired, InspectError> {
    let dir = dir.as_ref();
    repair_on(&(Arc::new(Disk::new(dir.to_path_buf())) as Arc<dyn Storage>), dir, floor, on_progress)
}

pub(super) fn plan_on(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    floor: Option<RecordId>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Vec<RepairAction>, InspectError> {
    Inspector::open_on(Arc::clone(storage), dir)?;
    let storage: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(storage)));
    plan(&storage, &Snapshot::take(&*storage)?, floor, on_progress)
}

fn plan(
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    floor: Option<RecordId>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Vec<RepairAction>, InspectError> {
    let mut damage = Vec::new();
    let seen = verify(storage, snapshot, &mut |piece| damage.push(piece.clone()), on_progress)?;
    if let Some(wanted) = floor {
        let (wanted, floor, next) = (wanted.get(), snapshot.plan.floor.get(), seen.next.get());
        if !(floor..=next).contains(&wanted) {
            return Err(InspectError::Floor { wanted, floor, next });
        }
    }
    Ok(actions(snapshot, &damage, floor))
}

fn actions(snapshot: &Snapshot, damage: &[Damage], floor: Option<RecordId>) -> Vec<RepairAction> {
    let mut actions = Vec::new();
    let plan = &snapshot.plan;
    let lost = matches!(snapshot.directory, DirectoryCase::MetaLost | DirectoryCase::AllLost);
    let slot = |file: &str| damage.iter().any(|piece| piece.kind == DamageKind::Slot && piece.file == file);
    if lost || snapshot.misnamed || slot(META_FILE) {
        actions.push(RepairAction::WriteName { instance: snapshot.instance });
    }
    if snapshot.floor_case == FloorCase::Lost || slot(FLOOR_FILE) {
        actions.push(RepairAction::WriteFloor { floor: plan.floor, lost: snapshot.floor_case == FloorCase::Lost });
    }
    if let Some(floor) = floor.filter(|floor| *floor > plan.floor) {
        actions.push(RepairAction::WriteFloor { floor, lost: false });
    }
    actions.extend(snapshot.unfinished.iter().map(|file| RepairAction::RemoveUnfinished { file: file.clone() }));
    for (number, case) in &plan.cases {
        let file = path(*number);
        match case {
            SegmentCase::Foreign | SegmentCase::Copied | SegmentCase::Unreadable => {
                actions.push(RepairAction::MoveAside { file, case: *case });
            }
            SegmentCase::HeaderTorn | SegmentCase::Drained => {
                actions.push(RepairAction::Free { file, case: *case });
            }
            SegmentCase::Free | SegmentCase::Live | SegmentCase::HeaderRebuilt => {}
        }
    }
    let aside = damage.iter().filter(|piece| matches!(piece.kind, DamageKind::Records | DamageKind::Tail));
    for Damage { kind, file, offset, bytes, .. } in aside.filter(|piece| !piece.set_aside) {
        let (kind, file, offset, bytes) = (*kind, file.clone(), *offset, *bytes);
        actions.push(RepairAction::SetAside { file, offset, bytes, kind });
    }
    actions.extend(plan.live.last().map(|last| RepairAction::Seal { file: path(last.number) }));
    actions
}

pub(super) fn repair_on(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    floor: Option<RecordId>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Repaired, InspectError> {
    workplace::refuse_in_use(storage, dir)?;
    let actions = {
        // Nothing is looked at, and no name put back, before the directory is ours.
        Inspector::open_on(Arc::clone(storage), dir)?;
        let _lock = workplace::lock(storage, dir)?;
        let looking: Arc<dyn Storage> = Arc::new(ReadOnly(Arc::clone(storage)));
        // The lock that is seen is our own: nobody is writing.
        let snapshot = Snapshot { in_use: InUse::No, ..Snapshot::take(&*looking)? };
        let actions = plan(&looking, &snapshot, floor, on_progress)?;
        if let Some(instance) = snapshot.instance.filter(|_| snapshot.misnamed) {
            meta::write(&**storage, instance).map_err(InspectError::io("write", META_FILE))?;
        }
        actions
    };
    let options = workplace::options(&Snapshot::take(&ReadOnly(Arc::clone(storage)))?, 0);
    let user = storage.in_use(crate::open::LOCK_FILE);
    let opened = Bounds::of(&options).and_then(|bounds| open(storage, dir, bounds, options.direct_io));
    let opened = opened.map_err(|error| InspectError::opening(error, &user))?;
    let Opened { shared, lock, report: recovery, .. } = opened;
    let mut reader = Reader::new(Arc::clone(&shared), lock);
    let (mut batch, mut readable_records, mut end) = (Batch::new(), 0, None);
    let wanted = floor.unwrap_or(RecordId::ZERO);
    while reader.read(&mut batch, BATCH_RECORDS_MAX, GROUP_BYTES_MAX)? > 0 {
        readable_records += batch.iter().filter(|(id, _)| *id >= wanted).count() as u64;
        end = batch.end();
    }
    if let (Some(floor), Some(end)) = (floor, end) {
        reader.acknowledge(floor.min(end))?;
        // Ids behind the last record do not exist: with all records done, reading on passes them.
        reader.read(&mut batch, 1, 1)?;
    }
    reader.sync_floor()?;
    let stats = shared.stats();
    Ok(Repaired {
        actions,
        recovery,
        readable_records,
        set_aside_pieces: stats.damaged_pieces,
        set_aside_bytes: stats.damaged_bytes,
        floor: shared.floor(),
    })
}
