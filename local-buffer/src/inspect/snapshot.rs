//! One look at the headers of a buffer that may be at work: repeated until two looks agree.

use std::io;

use crate::error::OpenError;
use crate::floor::{self, FLOOR_FILE};
use crate::format::BlockSeed;
use crate::id::InstanceId;
use crate::meta::{self, META_FILE};
use crate::open::LOCK_FILE;
use crate::recovery::{self, BlocksSeen, DirectoryCase, FloorCase, Plan, SeenSegment};
use crate::segment::{SEGMENTS_DIR, file_name, parse_file_name, path};
use crate::slot::{FloorSlot, MetaSlot, Slot};
use crate::storage::{Access, InUse, Storage};
use crate::survey::{at, look_at_blocks, read_slots, refuse_newer};

/// Looks until the headers stand still. A buffer that frees and begins segments faster than this is looked at as it is.
const LOOKS_MAX: usize = 16;

/// Headers as they were at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    meta: [Slot<MetaSlot>; 2],
    floor: [Slot<FloorSlot>; 2],
    segments: Vec<SeenSegment>,
    unfinished: Vec<String>,
}

/// What the headers of a buffer say, and what recovery would make of it.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) directory: DirectoryCase,
    pub(super) floor_case: FloorCase,
    /// `None` if no file names the buffer.
    pub(super) instance: Option<InstanceId>,
    /// The meta file has another name than this.
    pub(super) misnamed: bool,
    pub(super) meta: [Slot<MetaSlot>; 2],
    pub(super) floor: [Slot<FloorSlot>; 2],
    pub(super) seen: Vec<SeenSegment>,
    /// Files of segments that were never finished.
    pub(super) unfinished: Vec<String>,
    pub(super) plan: Plan,
    pub(super) in_use: InUse,
    /// Two looks agreed.
    pub(super) steady: bool,
}

impl Snapshot {
    pub(super) fn take(storage: &dyn Storage) -> Result<Self, OpenError> {
        let in_use = storage.in_use(LOCK_FILE);
        let mut look = Look::take(storage)?;
        let mut steady = false;
        for _ in 1..LOOKS_MAX {
            let again = Look::take(storage)?;
            steady = again == look;
            look = again;
            if steady {
                break;
            }
        }
        let Look { meta, floor, mut segments, unfinished } = look;
        let meta_instances = meta.map(|slot| slot.good().map(|meta| meta.instance));
        let floor_instances = floor.map(|slot| slot.good().map(|floor| floor.instance));
        let (directory, instance) = recovery::instance(meta_instances, floor_instances, &segments);
        let misnamed = misnamed(meta_instances, floor_instances, &segments);
        let instance = misnamed.or(instance);
        // A buffer without a name is none that could be read: nothing checks with this one either.
        let assumed = instance.unwrap_or(InstanceId::from_bytes([0; 16]));
        for segment in segments.iter_mut().filter(|segment| segment.needs_look()) {
            match look_at_blocks(storage, segment, BlockSeed::of(assumed)) {
                Ok(blocks) => segment.blocks = blocks,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at("read", &file_name(segment.number))(error)),
            }
        }
        let good = floor.iter().filter_map(Slot::good).filter(|slot| slot.instance == assumed);
        let known = good.max_by_key(|slot| slot.sequence);
        let (known_floor, generation) = (known.map(|slot| slot.floor), known.map(|slot| slot.generation));
        let plan = recovery::plan(&segments, assumed, known_floor, generation);
        let floor_case = match known {
            None if directory != DirectoryCase::Fresh => FloorCase::Lost,
            _ => FloorCase::Known,
        };
        let misnamed = misnamed.is_some();
        Ok(Self {
            directory,
            floor_case,
            instance,
            misnamed,
            meta,
            floor,
            seen: segments,
            unfinished,
            plan,
            in_use,
            steady,
        })
    }

    pub(super) fn seed(&self) -> BlockSeed {
        BlockSeed::of(self.instance.unwrap_or(InstanceId::from_bytes([0; 16])))
    }

    pub(super) fn created_ms(&self) -> Option<u64> {
        self.meta.iter().filter_map(Slot::good).map(|meta| meta.created_ms).next()
    }

    pub(super) fn segment(&self, number: u64) -> Option<&SeenSegment> {
        self.seen.iter().find(|segment| segment.number == number)
    }
}

impl Look {
    /// The floor comes last: it is durable before a header says that a segment is free because of it.
    fn take(storage: &dyn Storage) -> Result<Self, OpenError> {
        let meta = meta::read(storage).map_err(at("read", META_FILE))?;
        refuse_newer(META_FILE, &meta)?;
        let (mut segments, mut unfinished) = (Vec::new(), Vec::new());
        for (name, bytes) in list(storage, SEGMENTS_DIR).map_err(at("list", SEGMENTS_DIR))? {
            if name.strip_suffix(".tmp").is_some_and(|name| parse_file_name(name).is_some()) {
                unfinished.push(format!("{SEGMENTS_DIR}/{name}"));
            }
            let Some(number) = parse_file_name(&name) else { continue };
            let file = match storage.open(&path(number), Access::Read) {
                Ok(file) => file,
                // It was removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at("open", &name)(error)),
            };
            let slots = read_slots(&*file);
            refuse_newer(&name, &slots)?;
            segments.push(SeenSegment { number, bytes, slots, blocks: BlocksSeen::NotLooked });
        }
        let floor = floor::read(storage).map_err(at("read", FLOOR_FILE))?;
        refuse_newer(FLOOR_FILE, &floor)?;
        Ok(Self { meta, floor, segments, unfinished })
    }
}

/// The name that the floor and every segment agree on, where the meta file has another one: it came from elsewhere, and
/// an opening that believes it would set every segment aside.
fn misnamed(
    meta: [Option<InstanceId>; 2],
    floor: [Option<InstanceId>; 2],
    segments: &[SeenSegment],
) -> Option<InstanceId> {
    let meta = meta.into_iter().flatten().next()?;
    let name = floor.into_iter().flatten().next()?;
    let mut named = segments.iter().filter_map(SeenSegment::newest).map(|header| header.instance).peekable();
    named.peek()?;
    (name != meta && named.all(|other| other == name)).then_some(name)
}

/// Names and sizes of the files of a folder; none if there is no such folder.
pub(super) fn list(storage: &dyn Storage, folder: &str) -> io::Result<Vec<(String, u64)>> {
    match storage.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}
