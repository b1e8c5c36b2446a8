//! What is in a buffer, in figures.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::error::InspectError;
use super::places;
use super::quarantine::{QuarantineFiles, QuarantineKind};
use super::seek::{Seek, Spot, Tip};
use super::snapshot::Snapshot;
use crate::format::{DATA_START, FORMAT_VERSION};
use crate::id::{InstanceId, RecordId};
use crate::recovery::{DirectoryCase, FloorCase, Kept, SegmentCase};
use crate::segment::{SEGMENTS_DIR, file_name, path};
use crate::storage::{Access, InUse, Storage, WritePath};

/// Reasons told apart in a summary; what is beyond them is counted together.
const REASONS_MAX: usize = 64;
/// The name under which those are counted.
const OTHER_REASONS: &str = "(other reasons)";

/// What is in a buffer. Of one that is in use it is as of an instant, and what is being written is not counted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Who uses it.
    pub in_use: InUse,
    /// Whether headers stood still while they were read. `false`: a very busy buffer, and figures of several instants.
    pub steady: bool,
    /// How its name was found.
    pub directory: DirectoryCase,
    /// Its name, if any file still has it.
    pub instance: Option<InstanceId>,
    /// When it was made, milliseconds since 1970, if its name is good.
    pub created_ms: Option<u64>,
    /// Version of its files.
    pub format_version: u32,
    /// How the floor was found.
    pub floor_case: FloorCase,
    /// Everything below it is done. If it is lost: from where on an opening would deliver.
    pub floor: RecordId,
    /// Id of the next record.
    pub next: RecordId,
    /// Id of the oldest record that is not done.
    pub oldest: Option<RecordId>,
    /// When its group was written, milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Ids from the floor to the next one; ids that damage or a crash left out are counted too.
    pub undrained_records: u64,
    /// What they take on disk, headers and padding counted, bytes.
    pub undrained_bytes: u64,
    /// The segment files, in the order they were written; free ones behind.
    pub segments: Vec<SegmentView>,
    /// Bytes of all of them.
    pub segments_bytes: u64,
    /// Segments with undrained records that another one names and that are not there.
    pub segments_missing: u64,
    /// What was set aside.
    pub quarantine: QuarantineSummary,
    /// How records are written.
    pub write_path: WritePath,
}

/// A segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// Its name.
    pub file: String,
    /// How it was found.
    pub case: SegmentCase,
    /// Its size, bytes.
    pub bytes: u64,
    /// Of its use; of one that is free, of the last one.
    pub generation: u64,
    /// No record in it has a lower id; `None` where there are no records, or nobody knows.
    pub first: Option<RecordId>,
    /// The id after its last record.
    pub end: Option<RecordId>,
    /// What its records take, headers and padding counted, bytes.
    pub used_bytes: u64,
    /// When its last group was written, milliseconds since 1970; of the last segment only.
    pub written_ms: Option<u64>,
}

/// What was set aside, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuarantineSummary {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files with a record that nobody took.
    pub records: u64,
    /// Files with damaged bytes.
    pub damage: u64,
    /// Whole segments.
    pub segments: u64,
    /// By reason, the most frequent first.
    pub reasons: Vec<ReasonCount>,
}

/// A reason, and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCount {
    /// Why something was set aside.
    pub reason: String,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Overview {
    pub(super) fn of(storage: &Arc<dyn Storage>, snapshot: &Snapshot) -> Result<Self, InspectError> {
        let plan = &snapshot.plan;
        let mut next = plan.next;
        let (mut oldest, mut undrained_bytes, mut segments) = (None::<Spot>, 0, Vec::new());
        for (index, kept) in plan.live.iter().enumerate() {
            let following = plan.live.get(index + 1);
            let ends = Ends::of(&**storage, snapshot, kept, following.is_none())?;
            let start = match ends.oldest {
                Some(spot) if oldest.is_none() => {
                    oldest = Some(spot);
                    spot.offset as u64
                }
                Some(_) => DATA_START,
                None => ends.end,
            };
            undrained_bytes += ends.end.saturating_sub(start);
            let sealed = following.and_then(|following| snapshot.segment(following.number)?.newest().copied());
            let sealed = sealed.filter(|header| header.previous_generation == kept.generation);
            let end = ends.tip.map(|tip| tip.end_id).or(sealed.map(|header| header.previous_end_id));
            next = next.max(end.unwrap_or(RecordId::ZERO));
            segments.push(SegmentView {
                file: file_name(kept.number),
                case: places::case_of(snapshot, kept.number).unwrap_or(SegmentCase::Live),
                bytes: kept.bytes,
                generation: kept.generation,
                first: kept.first,
                end,
                used_bytes: ends.end.saturating_sub(DATA_START),
                written_ms: ends.tip.map(|tip| tip.written_ms),
            });
        }
        for segment in &snapshot.seen {
            if plan.live.iter().all(|kept| kept.number != segment.number) {
                segments.push(SegmentView {
                    file: file_name(segment.number),
                    case: places::case_of(snapshot, segment.number).unwrap_or(SegmentCase::Unreadable),
                    bytes: segment.bytes,
                    generation: segment.newest().map_or(0, |header| header.generation),
                    first: None,
                    end: None,
                    used_bytes: 0,
                    written_ms: None,
                });
            }
        }
        let sample = snapshot.seen.first().map(|segment| path(segment.number));
        Ok(Self {
            in_use: snapshot.in_use.clone(),
            steady: snapshot.steady,
            directory: snapshot.directory,
            instance: snapshot.instance,
            created_ms: snapshot.created_ms(),
            format_version: FORMAT_VERSION,
            floor_case: snapshot.floor_case,
            floor: plan.floor,
            next,
            oldest: oldest.map(|spot| spot.id),
            oldest_ms: oldest.map(|spot| spot.written_ms),
            undrained_records: next.get().saturating_sub(plan.floor.get()),
            undrained_bytes,
            segments_bytes: segments.iter().map(|segment| segment.bytes).sum(),
            segments,
            segments_missing: plan.missing,
            quarantine: QuarantineSummary::of(storage)?,
            write_path: storage.write_path(&snapshot.in_use, SEGMENTS_DIR, sample.as_deref()),
        })
    }
}

/// Where the records of a segment begin to count, and where they end.
struct Ends {
    oldest: Option<Spot>,
    end: u64,
    tip: Option<Tip>,
}

impl Ends {
    fn of(storage: &dyn Storage, snapshot: &Snapshot, kept: &Kept, last: bool) -> Result<Self, InspectError> {
        let name = path(kept.number);
        let open = || storage.open(&name, Access::Read);
        let found = || {
            let tip = match kept.end {
                None => Seek::new(&open, kept.generation, snapshot.seed(), kept.bytes)?.tip()?,
                Some(_) => None,
            };
            let end = kept.end.or(tip.map(|tip| tip.end as u64)).unwrap_or(DATA_START);
            let seek = Seek::new(&open, kept.generation, snapshot.seed(), end)?;
            let oldest = if end > DATA_START { seek.record(snapshot.plan.floor)? } else { None };
            io::Result::Ok(Self { oldest, end, tip: tip.filter(|_| last) })
        };
        match found() {
            Ok(ends) => Ok(ends),
            // It was freed and removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { oldest: None, end: DATA_START, tip: None })
            }
            Err(error) => Err(InspectError::io("read", &name)(error)),
        }
    }
}

impl QuarantineSummary {
    fn of(storage: &Arc<dyn Storage>) -> Result<Self, InspectError> {
        let mut summary = Self::default();
        let mut reasons = BTreeMap::<String, (u64, u64)>::new();
        let mut files = QuarantineFiles::list(Arc::clone(storage))?;
        while let Some(file) = files.next_header()? {
            summary.files += 1;
            summary.bytes += file.bytes;
            match file.kind {
                QuarantineKind::Record { .. } => summary.records += 1,
                QuarantineKind::Damage { .. } => summary.damage += 1,
                QuarantineKind::Segment => summary.segments += 1,
                QuarantineKind::Unknown => {}
            }
            let known = reasons.len() < REASONS_MAX || reasons.contains_key(&file.reason);
            let reason = if known { file.reason } else { OTHER_REASONS.to_owned() };
            let (count, bytes) = reasons.entry(reason).or_default();
            (*count, *bytes) = (*count + 1, *bytes + file.bytes);
        }
        let counted = |(reason, (files, bytes))| ReasonCount { reason, files, bytes };
        summary.reasons = reasons.into_iter().map(counted).collect();
        summary.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.files));
        Ok(summary)
    }
}
