//! What repair and reinjection need to open a buffer with: its own sizes, and room for what is to be done.

use std::path::Path;
use std::sync::Arc;

use super::error::{InspectError, holder};
use super::snapshot::Snapshot;
use crate::format::BLOCK_BYTES;
use crate::open::LOCK_FILE;
use crate::options::{Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::storage::{InUse, Storage};

/// Options under which the segments there are go on being used, and `more_bytes` of records find room.
pub(super) fn options(snapshot: &Snapshot, more_bytes: u64) -> Options {
    let newest = snapshot.seen.iter().max_by_key(|segment| segment.newest().map(|header| header.generation));
    let valid = |bytes: &u64| {
        (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(bytes) && bytes.is_multiple_of(BLOCK_BYTES as u64)
    };
    let defaults = Options::default();
    let segment_bytes = newest.map(|segment| segment.bytes).filter(valid).unwrap_or(defaults.segment_bytes);
    let there: u64 = snapshot.seen.iter().map(|segment| segment.bytes).sum();
    // Two more: one is begun after the last one was sealed, one is kept ready.
    let bytes_max = there + (more_bytes.div_ceil(segment_bytes) + 2) * segment_bytes;
    Options { segment_bytes, bytes_max, ..defaults }
}

/// Refuses a directory that somebody has open, by name where that is possible.
pub(super) fn refuse_in_use(storage: &Arc<dyn Storage>, dir: &Path) -> Result<(), InspectError> {
    match storage.in_use(LOCK_FILE) {
        InUse::By(process) => Err(InspectError::InUse { dir: dir.to_path_buf(), holder: Some(process) }),
        // Whoever cannot be seen is met when the lock is taken.
        InUse::No | InUse::Unknown => Ok(()),
    }
}

/// Takes the lock for a short piece of work.
pub(super) fn lock(
    storage: &Arc<dyn Storage>,
    dir: &Path,
) -> Result<Box<dyn std::any::Any + Send + Sync>, InspectError> {
    let taken = storage.lock(LOCK_FILE).map_err(InspectError::io("lock", LOCK_FILE))?;
    taken.ok_or_else(|| InspectError::InUse { dir: dir.to_path_buf(), holder: holder(&storage.in_use(LOCK_FILE)) })
}
