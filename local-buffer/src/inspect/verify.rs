//! Everything that counts, read and checked.

use std::sync::Arc;

use super::damage::{Damage, DamageKind};
use super::error::InspectError;
use super::places;
use super::quarantine::{Depth, QuarantineCheck, QuarantineFiles};
use super::records::{Records, Step};
use super::snapshot::Snapshot;
use crate::floor::FLOOR_FILE;
use crate::format::BLOCK_BYTES;
use crate::id::RecordId;
use crate::meta::META_FILE;
use crate::recovery::{DirectoryCase, FloorCase, SegmentCase};
use crate::segment::{SEGMENTS_DIR, path};
use crate::slot::Slot;
use crate::storage::{InUse, Storage};

/// Progress is told about this often.
const PROGRESS_BYTES: u64 = 8 << 20;

/// How far a long piece of work has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done_bytes: u64,
    /// Bytes that there are to read, as far as is known.
    pub total_bytes: u64,
}

/// What was found when everything was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Who uses the buffer.
    pub in_use: InUse,
    /// Everything below it is done.
    pub floor: RecordId,
    /// The id after the last record that was read, or what the headers say if that is higher.
    pub next: RecordId,
    /// Good records in segments that count, done ones among them.
    pub records: u64,
    /// Those of them that are not done.
    pub undrained_records: u64,
    /// Bytes of their payloads.
    pub undrained_bytes: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Bytes that were read of them.
    pub read_bytes: u64,
    /// Segments that the buffer's user freed meanwhile.
    pub released: u64,
    /// Files in the quarantine.
    pub quarantine_files: u64,
    /// Damage that costs something and was not set aside yet.
    pub damage_open: u64,
    /// Damage whose bytes lie in the quarantine.
    pub damage_set_aside: u64,
    /// Damage that costs nothing.
    pub damage_harmless: u64,
}

impl Verification {
    /// Whether there is nothing that somebody should do something about.
    pub fn is_clean(&self) -> bool {
        self.damage_open == 0
    }
}

pub(super) fn verify(
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    on_damage: &mut dyn FnMut(&Damage),
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Verification, InspectError> {
    let mut seen = Verification {
        in_use: snapshot.in_use.clone(),
        floor: snapshot.plan.floor,
        next: snapshot.plan.next,
        records: 0,
        undrained_records: 0,
        undrained_bytes: 0,
        segments: snapshot.plan.live.len() as u64,
        read_bytes: 0,
        released: 0,
        quarantine_files: 0,
        damage_open: 0,
        damage_set_aside: 0,
        damage_harmless: 0,
    };
    let mut note = |seen: &mut Verification, damage: &Damage| {
        let count = match damage {
            damage if damage.is_open() => &mut seen.damage_open,
            damage if damage.set_aside => &mut seen.damage_set_aside,
            _ => &mut seen.damage_harmless,
        };
        *count += 1;
        on_damage(damage);
    };
    directory_damage(snapshot, &mut |damage| note(&mut seen, damage));

    let mut records = Records::to_verify(Arc::clone(storage), snapshot);
    let mut told = None;
    loop {
        let (done_bytes, total_bytes) = records.progress();
        if told.is_none_or(|told| done_bytes >= told + PROGRESS_BYTES) {
            told = Some(done_bytes);
            on_progress(Progress { done_bytes, total_bytes });
        }
        match records.step()? {
            None => break,
            Some(Step::Damage(damage)) => note(&mut seen, &damage),
            Some(Step::Released(_)) => seen.released += 1,
            Some(Step::Record(_, place)) => {
                seen.records += 1;
                seen.next = seen.next.max(place.id.next());
                if place.id >= seen.floor {
                    seen.undrained_records += 1;
                    seen.undrained_bytes += u64::from(place.bytes);
                }
            }
        }
    }
    (seen.read_bytes, _) = records.progress();
    let mut files = QuarantineFiles::list(Arc::clone(storage))?;
    while let Some(file) = files.advance(Depth::Checksum)? {
        seen.quarantine_files += 1;
        if file.check == QuarantineCheck::Damaged {
            let file_name = places::in_quarantine(&file.name);
            note(&mut seen, &whole(DamageKind::Quarantine, file_name, file.bytes));
        }
    }
    on_progress(Progress { done_bytes: seen.read_bytes, total_bytes: seen.read_bytes });
    Ok(seen)
}

fn whole(kind: DamageKind, file: String, bytes: u64) -> Damage {
    Damage { kind, file, offset: 0, bytes, set_aside: false }
}

/// What headers alone say.
fn directory_damage(snapshot: &Snapshot, note: &mut dyn FnMut(&Damage)) {
    let meta = || META_FILE.to_owned();
    let floor = || FLOOR_FILE.to_owned();
    match snapshot.directory {
        DirectoryCase::MetaLost | DirectoryCase::AllLost => note(&whole(DamageKind::MetaLost, meta(), 0)),
        DirectoryCase::Known if snapshot.misnamed => note(&whole(DamageKind::MetaForeign, meta(), 0)),
        DirectoryCase::Known | DirectoryCase::Fresh => slots(&snapshot.meta, META_FILE, true, note),
    }
    match snapshot.floor_case {
        FloorCase::Lost => note(&whole(DamageKind::FloorLost, floor(), 0)),
        FloorCase::Known => slots(&snapshot.floor, FLOOR_FILE, false, note),
    }
    for segment in &snapshot.seen {
        let file = path(segment.number);
        let kind = match places::case_of(snapshot, segment.number) {
            Some(SegmentCase::Foreign) => DamageKind::SegmentForeign,
            Some(SegmentCase::Copied) => DamageKind::SegmentCopied,
            Some(SegmentCase::Unreadable) | None => DamageKind::SegmentUnreadable,
            Some(SegmentCase::HeaderRebuilt) => DamageKind::SegmentHeader,
            Some(SegmentCase::Free | SegmentCase::Live | SegmentCase::Drained | SegmentCase::HeaderTorn) => {
                slots(&segment.slots, &file, false, note);
                continue;
            }
        };
        note(&whole(kind, file, segment.bytes));
    }
    for _ in 0..snapshot.plan.missing {
        note(&whole(DamageKind::SegmentMissing, SEGMENTS_DIR.to_owned(), 0));
    }
}

/// Slots that are damaged beside a good one; `both`: a blank one is damage too.
fn slots<T: PartialEq>(slots: &[Slot<T>; 2], file: &str, both: bool, note: &mut dyn FnMut(&Damage)) {
    for (index, slot) in slots.iter().enumerate() {
        if *slot == Slot::Damaged || (both && *slot == Slot::Blank && slots.iter().any(|slot| slot.good().is_some())) {
            let (offset, bytes) = ((index * BLOCK_BYTES) as u64, BLOCK_BYTES as u64);
            note(&Damage { kind: DamageKind::Slot, file: file.to_owned(), offset, bytes, set_aside: false });
        }
    }
}
