//! Names that more than one part of the inspection needs.

use super::snapshot::Snapshot;
use crate::quarantine::QUARANTINE_DIR;
use crate::recovery::SegmentCase;
use crate::storage::{Access, Storage};

/// Where programs that own more than a buffer keep it.
pub(super) const LIKELY_FOLDERS: [&str; 3] = ["buffer", "tapi", "data/buffer"];

/// Where files of the quarantine go whose records are in the buffer again.
pub(super) const REINJECTED_DIR: &str = "quarantine/reinjected";

/// Path of a file in the quarantine.
pub(super) fn in_quarantine(name: &str) -> String {
    format!("{QUARANTINE_DIR}/{name}")
}

/// Whether the quarantine, or what was brought back from it, has a file of this name.
pub(super) fn is_set_aside(storage: &dyn Storage, name: &str) -> bool {
    [QUARANTINE_DIR, REINJECTED_DIR].iter().any(|dir| storage.open(&format!("{dir}/{name}"), Access::Read).is_ok())
}

/// How a segment was found.
pub(super) fn case_of(snapshot: &Snapshot, number: u64) -> Option<SegmentCase> {
    snapshot.plan.cases.iter().find(|(seen, _)| *seen == number).map(|(_, case)| *case)
}
