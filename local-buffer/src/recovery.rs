//! What a crash, or worse, can leave, as named cases, and what follows from each. Pure: it is given what was seen and
//! says what is to be done; `open.rs` looks and does. FORMAT.md prints the same tables.

use crate::format::{SegmentHeader, SegmentState, Slot};
use crate::id::{InstanceId, RecordId};

/// How the directory itself was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryCase {
    /// Nothing was there: a new buffer.
    Fresh,
    /// A buffer whose name is known.
    Known,
    /// The meta file is lost; the name was found in another file.
    MetaLost,
    /// Files were there, but no name in any of them: a new buffer, and those files set aside.
    AllLost,
}

/// How the floor was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorCase {
    /// Known.
    Known,
    /// Lost: reading begins with the oldest record there is.
    Lost,
}

/// How a segment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentCase {
    /// Nothing in it counts.
    Free,
    /// It holds records.
    Live,
    /// It holds records, all below the floor.
    Drained,
    /// Its newer header is damaged, and its blocks say that it holds records.
    HeaderRebuilt,
    /// Its newer header is damaged, and its blocks say that the write of it was cut short before any record.
    HeaderTorn,
    /// Its header names another buffer.
    Foreign,
    /// Another file has the same generation.
    Copied,
    /// It holds bytes that nothing of ours can be found in.
    Unreadable,
}

/// How the end of the last segment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailCase {
    /// There is no segment with records.
    None,
    /// The last segment holds no record.
    Empty,
    /// Behind the last good record there is nothing but stale blocks.
    Clean,
    /// There was damage in it: a write that was cut short looks like this, and so does a broken record.
    Damaged,
}

/// What the blocks of a segment say, looked at only when its header does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlocksSeen {
    /// The header was enough.
    NotLooked,
    /// Nothing but zeros.
    Blank,
    /// The highest generation of a whole block header.
    Generation(u64),
    /// Something, but no block of ours.
    Unreadable,
}

/// A segment file as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenSegment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) slots: [Slot<SegmentHeader>; 2],
    pub(crate) blocks: BlocksSeen,
}

impl SeenSegment {
    /// The good slot with the higher sequence.
    fn newest(&self) -> Option<&SegmentHeader> {
        self.slots.iter().filter_map(Slot::good).max_by_key(|header| header.sequence)
    }

    /// Whether the header leaves open what the segment holds.
    pub(crate) fn needs_look(&self) -> bool {
        let damaged = self.slots.contains(&Slot::Damaged);
        match self.newest() {
            None => true,
            Some(newest) => newest.state == SegmentState::Free && damaged,
        }
    }
}

/// A segment whose records are to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    /// No record in it has a lower id; not known when the header was lost.
    pub(crate) first: Option<RecordId>,
    /// Where its records end, from the header of the next one.
    pub(crate) end: Option<u64>,
}

/// A segment to be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    /// It has to be marked free first, after the floor is durable.
    pub(crate) mark: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) cases: Vec<(u64, SegmentCase)>,
    /// In the order in which they were written.
    pub(crate) live: Vec<Kept>,
    pub(crate) free: Vec<Freed>,
    pub(crate) set_aside: Vec<u64>,
    pub(crate) floor: RecordId,
    /// The highest generation that any header knows.
    pub(crate) generation: u64,
    /// No id below it may be given.
    pub(crate) next: RecordId,
    /// Segments that another one names as the one before it, that hold records above the floor and are not there.
    pub(crate) missing: u64,
}

/// Which instance a directory belongs to: that of the meta file, or else of the floor file, or else of a segment.
pub(crate) fn instance(
    meta: [Option<InstanceId>; 2],
    floor: [Option<InstanceId>; 2],
    segments: &[SeenSegment],
) -> (DirectoryCase, Option<InstanceId>) {
    if let Some(known) = meta.into_iter().flatten().next() {
        return (DirectoryCase::Known, Some(known));
    }
    let newest = segments.iter().filter_map(SeenSegment::newest).max_by_key(|header| header.generation);
    match floor.into_iter().flatten().next().or(newest.map(|header| header.instance)) {
        Some(found) => (DirectoryCase::MetaLost, Some(found)),
        None if segments.is_empty() => (DirectoryCase::Fresh, None),
        None => (DirectoryCase::AllLost, None),
    }
}

/// The case of one segment by itself.
pub(crate) fn classify(seen: &SeenSegment, instance: InstanceId) -> SegmentCase {
    if seen.slots.iter().filter_map(Slot::good).any(|header| header.instance != instance) {
        return SegmentCase::Foreign;
    }
    let newest = seen.newest();
    if newest.is_some_and(|header| header.state == SegmentState::Active) {
        return SegmentCase::Live;
    }
    if newest.is_some() && !seen.needs_look() {
        return SegmentCase::Free;
    }
    match (seen.blocks, newest) {
        (BlocksSeen::Generation(found), Some(free)) if found > free.generation => SegmentCase::HeaderRebuilt,
        (BlocksSeen::Generation(_), None) => SegmentCase::HeaderRebuilt,
        (BlocksSeen::Unreadable, None) => SegmentCase::Unreadable,
        _ => SegmentCase::HeaderTorn,
    }
}

/// What is to be done with all segments. `floor` and `generation` are those of the floor file, if it was good.
pub(crate) fn plan(
    seen: &[SeenSegment],
    instance: InstanceId,
    floor: Option<RecordId>,
    generation: Option<u64>,
) -> Plan {
    let mut plan = Plan { generation: generation.unwrap_or(0), ..Plan::default() };
    let mut chain = Vec::new();
    for segment in seen {
        let case = classify(segment, instance);
        let newest = segment.newest();
        let sequence = newest.map_or(0, |header| header.sequence);
        let known = newest.map_or(0, |header| header.generation);
        let (number, bytes) = (segment.number, segment.bytes);
        match case {
            SegmentCase::Foreign | SegmentCase::Unreadable | SegmentCase::Copied => plan.set_aside.push(number),
            SegmentCase::Free | SegmentCase::HeaderTorn => {
                let mark = case == SegmentCase::HeaderTorn;
                plan.free.push(Freed { number, bytes, generation: known, sequence, mark });
                plan.generation = plan.generation.max(known);
            }
            SegmentCase::Live | SegmentCase::Drained => {
                let first = newest.map(|header| header.first);
                let kept = Kept { number, bytes, generation: known, sequence, first, end: None };
                chain.push((kept, newest.copied(), case));
            }
            SegmentCase::HeaderRebuilt => {
                let generation = if let BlocksSeen::Generation(found) = segment.blocks { found } else { known };
                let kept = Kept { number, bytes, generation, sequence, first: None, end: None };
                chain.push((kept, None, case));
            }
        }
        plan.cases.push((number, case));
    }
    chain.sort_by_key(|(kept, ..)| (kept.generation, std::cmp::Reverse(kept.sequence), kept.number));
    chain.dedup_by(|(later, ..), (kept, ..)| {
        let copied = later.generation == kept.generation;
        if copied {
            plan.set_aside.push(later.number);
            plan.cases.retain(|(number, _)| *number != later.number);
            plan.cases.push((later.number, SegmentCase::Copied));
        }
        copied
    });
    let headers = || seen.iter().flat_map(|segment| &segment.slots).filter_map(Slot::good);
    let headers = || headers().filter(|header| header.instance == instance);
    plan.floor = floor.unwrap_or_else(|| {
        let freed = headers().filter(|header| header.state == SegmentState::Free).map(|header| header.previous_end_id);
        freed.chain(chain.first().and_then(|(kept, ..)| kept.first)).max().unwrap_or(RecordId::ZERO)
    });
    let ids = headers().flat_map(|header| [header.first, header.previous_end_id]);
    plan.next = ids.fold(plan.floor, RecordId::max);
    let headers: Vec<_> = chain.iter().map(|(_, header, _)| *header).collect();
    for (index, (mut kept, header, _)) in chain.into_iter().enumerate() {
        plan.generation = plan.generation.max(kept.generation);
        let next = headers.get(index + 1).copied().flatten();
        kept.end = next.filter(|next| next.previous_generation == kept.generation).map(|next| next.previous_end);
        if let Some(header) = header {
            let before = header.previous_generation;
            let there = plan.live.last().is_some_and(|kept| kept.generation == before)
                || plan.free.iter().any(|freed| freed.generation == before);
            plan.missing += u64::from(before != 0 && header.previous_end_id > plan.floor && !there);
        }
        if next.is_some_and(|next| next.first <= plan.floor) {
            let Kept { number, bytes, generation, sequence, .. } = kept;
            plan.free.push(Freed { number, bytes, generation, sequence, mark: true });
            plan.cases.retain(|(seen, _)| *seen != number);
            plan.cases.push((number, SegmentCase::Drained));
        } else {
            plan.live.push(kept);
        }
    }
    plan
}
