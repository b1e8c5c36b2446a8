//! The meta file: the name of the buffer, twice.

use std::io::{self, IoSlice};

use crate::format::BLOCK_BYTES;
use crate::id::InstanceId;
use crate::slot::{MetaSlot, SLOTS_BYTES, Slot, read_slot_bytes};
use crate::storage::{Access, Storage};
use crate::writer::now_ms;

/// Name of the meta file.
pub(crate) const META_FILE: &str = "meta";

/// The slots of the meta file as they were found; blank if there is none.
pub(crate) fn read(storage: &dyn Storage) -> io::Result<[Slot<MetaSlot>; 2]> {
    let bytes = match storage.open(META_FILE, Access::Read) {
        Ok(file) => read_slot_bytes(&*file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => [0; SLOTS_BYTES as usize],
        Err(error) => return Err(error),
    };
    Ok([MetaSlot::decode(&bytes[..BLOCK_BYTES]), MetaSlot::decode(&bytes[BLOCK_BYTES..])])
}

/// Fails if there is a meta file and the disk cannot read it.
pub(crate) fn try_read(storage: &dyn Storage) -> io::Result<()> {
    match storage.open(META_FILE, Access::Read) {
        Ok(file) => file.read_at(&mut [0; SLOTS_BYTES as usize], 0).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes the meta file, durably.
pub(crate) fn write(storage: &dyn Storage, instance: InstanceId) -> io::Result<()> {
    let unfinished = format!("{META_FILE}.tmp");
    let _ = storage.remove(&unfinished);
    let slot = MetaSlot { instance, created_ms: now_ms() }.encode();
    let file = storage.open(&unfinished, Access::Create)?;
    file.write_at(&[IoSlice::new(&slot), IoSlice::new(&slot)], 0)?;
    file.sync()?;
    storage.rename(&unfinished, META_FILE)?;
    storage.sync_dir("")
}

/// A name that no other buffer has.
pub(crate) fn new_instance() -> io::Result<InstanceId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(InstanceId::from_bytes(bytes))
}
