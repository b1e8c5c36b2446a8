//! The floor file: below which record everything is done, in two slots written in turn.

use std::io::{self, IoSlice};

use crate::format::BLOCK_BYTES;
use crate::id::{InstanceId, RecordId};
use crate::memory::Chunk;
use crate::slot::{FloorSlot, SLOTS_BYTES, Slot, read_slot_bytes};
use crate::storage::{Access, File, Storage, write_durable};

/// Name of the floor file.
pub(crate) const FLOOR_FILE: &str = "floor";

/// The slots of the floor file as they were found; blank if there is none.
pub(crate) fn read(storage: &dyn Storage) -> io::Result<[Slot<FloorSlot>; 2]> {
    let bytes = match storage.open(FLOOR_FILE, Access::Read) {
        Ok(file) => read_slot_bytes(&*file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => [0; SLOTS_BYTES as usize],
        Err(error) => return Err(error),
    };
    let slot =
        |number: usize| FloorSlot::decode(&bytes[number * BLOCK_BYTES..]).in_its_place(number, |slot| slot.sequence);
    Ok([slot(0), slot(1)])
}

/// The open floor file.
pub(crate) struct FloorFile {
    file: Box<dyn File>,
    memory: Chunk,
    instance: InstanceId,
    sequence: u64,
    written: RecordId,
    generation: u64,
}

impl FloorFile {
    /// Opens the file, made if need be, and writes the floor and a generation that no block has yet. That first write
    /// also shows whether direct writes work here; the second value says how to open segments.
    pub(crate) fn open(
        storage: &dyn Storage,
        seen: &[Slot<FloorSlot>; 2],
        start: FloorSlot,
        direct: bool,
    ) -> io::Result<(Self, Access)> {
        let whole = storage.list("")?.iter().any(|(name, bytes)| name == FLOOR_FILE && *bytes >= SLOTS_BYTES);
        if !whole {
            let unfinished = format!("{FLOOR_FILE}.tmp");
            let _ = storage.remove(&unfinished);
            let file = storage.open(&unfinished, Access::Create)?;
            file.write_at(&[IoSlice::new(&[0; SLOTS_BYTES as usize])], 0)?;
            file.sync()?;
            storage.rename(&unfinished, FLOOR_FILE)?;
            storage.sync_dir("")?;
        }
        let sequence = seen.iter().filter_map(Slot::good).map(|slot| slot.sequence).max().unwrap_or(0);
        let open = |access| {
            let mut floor = Self {
                file: storage.open(FLOOR_FILE, access)?,
                memory: Chunk::new(),
                instance: start.instance,
                sequence,
                written: start.floor,
                generation: start.generation,
            };
            floor.write(start.floor)?;
            if seen.iter().all(|slot| slot.good().is_none()) {
                // The other slot may have been unreadable for this once, and hold an older floor with a higher sequence.
                floor.write(start.floor)?;
            }
            io::Result::Ok((floor, access))
        };
        if direct {
            match open(Access::Direct) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                opened => return opened,
            }
        }
        open(Access::Write)
    }

    /// The floor that is durable.
    pub(crate) fn written(&self) -> RecordId {
        self.written
    }

    /// Makes the floor durable. A write that failed is tried again in the same slot: the other one is still whole.
    pub(crate) fn write(&mut self, floor: RecordId) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let slot = FloorSlot { sequence, instance: self.instance, floor, generation: self.generation };
        self.memory.bytes_mut()[..BLOCK_BYTES].copy_from_slice(&slot.encode());
        let offset = sequence % 2 * BLOCK_BYTES as u64;
        write_durable(&*self.file, &[IoSlice::new(&self.memory.bytes()[..BLOCK_BYTES])], offset)?;
        (self.sequence, self.written) = (sequence, floor);
        Ok(())
    }
}
