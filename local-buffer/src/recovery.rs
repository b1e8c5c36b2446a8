//! What a crash, or worse, can leave, as named cases, and what follows from each. Pure: it is given what was seen and
//! says what is to be done; `open.rs` looks and does. FORMAT.md prints the same tables.

use crate::id::{InstanceId, RecordId};
use crate::slot::{SegmentHeader, SegmentState, Slot};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenSegment {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) slots: [Slot<SegmentHeader>; 2],
    pub(crate) blocks: BlocksSeen,
}

impl SeenSegment {
    /// The good slot with the higher sequence.
    pub(crate) fn newest(&self) -> Option<&SegmentHeader> {
        self.slots.iter().filter_map(Slot::good).max_by_key(|header| header.sequence)
    }

    /// The generation that it was last begun with, if it is in use; 0 if not.
    pub(crate) fn active_generation(&self) -> u64 {
        self.newest().filter(|header| header.state == SegmentState::Active).map_or(0, |header| header.generation)
    }

    /// Whether the header leaves open what the segment holds.
    pub(crate) fn needs_look(&self) -> bool {
        let one_lost = self.slots.iter().any(|slot| slot.good().is_none());
        match self.newest() {
            None => true,
            Some(newest) => newest.state == SegmentState::Free && one_lost,
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
    /// All its records have lower ids, from the same. What has not was written again there: it may be in doubt here.
    pub(crate) end_id: Option<RecordId>,
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
        (BlocksSeen::Unreadable, _) => SegmentCase::Unreadable,
        (BlocksSeen::Blank, None) if seen.slots.contains(&Slot::Damaged) => SegmentCase::Unreadable,
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
                let kept = Kept { number, bytes, generation: known, sequence, first, end: None, end_id: None };
                chain.push((kept, newest.copied(), case));
            }
            SegmentCase::HeaderRebuilt => {
                let generation = if let BlocksSeen::Generation(found) = segment.blocks { found } else { known };
                let kept = Kept { number, bytes, generation, sequence, first: None, end: None, end_id: None };
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
        kept.end_id = next.map(|next| next.first);
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

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: InstanceId = InstanceId::from_bytes([1; 16]);
    const OTHER: InstanceId = InstanceId::from_bytes([2; 16]);
    const DOCUMENT: &str = include_str!("../FORMAT.md");

    fn id(number: u64) -> RecordId {
        RecordId::from_u64(number)
    }

    fn header(state: SegmentState, sequence: u64, generation: u64, first: u64) -> SegmentHeader {
        SegmentHeader {
            state,
            sequence,
            instance: OURS,
            segment_bytes: 4096,
            generation,
            first: id(first),
            previous_generation: 0,
            previous_end: 0,
            previous_end_id: id(0),
            written_ms: 0,
        }
    }

    fn active(generation: u64, first: u64, previous: u64) -> Slot<SegmentHeader> {
        let header = header(SegmentState::Active, 2, generation, first);
        let (previous_end, previous_end_id) = (previous * 1000, id(first));
        Slot::Good(SegmentHeader { previous_generation: previous, previous_end, previous_end_id, ..header })
    }

    fn free(sequence: u64, generation: u64) -> Slot<SegmentHeader> {
        Slot::Good(header(SegmentState::Free, sequence, generation, 0))
    }

    fn seen(number: u64, slots: [Slot<SegmentHeader>; 2], blocks: BlocksSeen) -> SeenSegment {
        SeenSegment { number, bytes: 4096, slots, blocks }
    }

    #[test]
    fn each_state_of_a_segment_has_the_case_that_the_table_names() {
        use BlocksSeen::{Blank, Generation, NotLooked, Unreadable};
        let foreign = Slot::Good(SegmentHeader { instance: OTHER, ..header(SegmentState::Active, 2, 9, 0) });
        let rows = [
            ([free(2, 0), free(1, 0)], NotLooked, SegmentCase::Free),
            ([free(1, 0), Slot::Blank], Blank, SegmentCase::HeaderTorn),
            ([free(1, 0), Slot::Blank], Generation(1), SegmentCase::HeaderRebuilt),
            ([free(3, 5), active(5, 10, 0)], NotLooked, SegmentCase::Free),
            ([active(5, 10, 0), free(1, 4)], NotLooked, SegmentCase::Live),
            ([active(5, 10, 0), Slot::Damaged], NotLooked, SegmentCase::Live),
            ([Slot::Damaged, free(1, 4)], Generation(5), SegmentCase::HeaderRebuilt),
            ([Slot::Damaged, free(1, 4)], Generation(4), SegmentCase::HeaderTorn),
            ([Slot::Damaged, free(1, 0)], Blank, SegmentCase::HeaderTorn),
            ([Slot::Damaged, free(1, 0)], Unreadable, SegmentCase::Unreadable),
            ([Slot::Damaged, Slot::Damaged], Generation(1), SegmentCase::HeaderRebuilt),
            ([Slot::Damaged, Slot::Blank], Unreadable, SegmentCase::Unreadable),
            ([Slot::Damaged, Slot::Damaged], Blank, SegmentCase::Unreadable),
            ([Slot::Blank, Slot::Blank], Blank, SegmentCase::HeaderTorn),
            ([foreign, free(1, 4)], NotLooked, SegmentCase::Foreign),
        ];
        for (number, (slots, blocks, wanted)) in rows.into_iter().enumerate() {
            let segment = seen(0, slots, blocks);
            assert_eq!(classify(&segment, OURS), wanted, "row {number}");
            assert_eq!(segment.needs_look() && wanted != SegmentCase::Foreign, blocks != NotLooked, "row {number}");
        }
    }

    #[test]
    fn live_segments_are_ordered_chained_and_freed_only_below_the_floor() {
        let segments = [
            seen(0, [active(7, 30, 6), free(1, 2)], BlocksSeen::NotLooked),
            seen(1, [active(5, 10, 4), free(1, 3)], BlocksSeen::NotLooked),
            seen(2, [active(6, 20, 5), free(1, 1)], BlocksSeen::NotLooked),
            seen(3, [free(3, 4), active(4, 0, 0)], BlocksSeen::NotLooked),
        ];
        let found = plan(&segments, OURS, Some(id(20)), Some(3));
        let live: Vec<_> = found.live.iter().map(|kept| (kept.number, kept.end)).collect();
        assert_eq!(live, [(2, Some(6000)), (0, None)]);
        let freed: Vec<_> = found.free.iter().map(|freed| (freed.number, freed.mark)).collect();
        assert_eq!(freed, [(3, false), (1, true)]);
        assert_eq!((found.generation, found.next, found.floor, found.missing), (7, id(30), id(20), 0));
        assert!(found.cases.contains(&(1, SegmentCase::Drained)));

        let below = plan(&segments, OURS, Some(id(19)), Some(3));
        assert_eq!(below.live.len(), 3, "a record below the next segment's first id may still be unread");
        let gone = plan(&[segments[0], segments[1]], OURS, Some(id(15)), Some(30));
        assert_eq!((gone.missing, gone.generation, gone.live[0].end), (1, 30, None));
        let lost = plan(&segments, OURS, None, None);
        assert_eq!((lost.floor, lost.live.len()), (id(10), 3));
    }

    #[test]
    fn of_two_files_with_one_generation_one_is_set_aside() {
        let twin = |number| seen(number, [active(7, 30, 0), free(1, 2)], BlocksSeen::NotLooked);
        let found = plan(&[twin(0), twin(1)], OURS, Some(id(30)), Some(7));
        assert_eq!((found.live.len(), found.set_aside), (1, vec![1]));
    }

    #[test]
    fn the_name_of_a_buffer_is_taken_from_whatever_still_has_it() {
        let segment = [seen(0, [active(7, 30, 0), free(1, 2)], BlocksSeen::NotLooked)];
        let blank = [seen(0, [Slot::Damaged, Slot::Damaged], BlocksSeen::NotLooked)];
        let none = [None, None];
        assert_eq!(instance([None, Some(OTHER)], [Some(OURS); 2], &segment), (DirectoryCase::Known, Some(OTHER)));
        assert_eq!(instance(none, [None, Some(OTHER)], &segment), (DirectoryCase::MetaLost, Some(OTHER)));
        assert_eq!(instance(none, none, &segment), (DirectoryCase::MetaLost, Some(OURS)));
        assert_eq!(instance(none, none, &blank), (DirectoryCase::AllLost, None));
        assert_eq!(instance(none, none, &[]), (DirectoryCase::Fresh, None));
    }

    #[test]
    fn the_document_has_a_row_for_every_case() {
        use SegmentCase::{Copied, Drained, Foreign, Free, HeaderRebuilt, HeaderTorn, Live, Unreadable};
        let segments = [Free, Live, Drained, HeaderRebuilt, HeaderTorn, Foreign, Copied, Unreadable];
        let mut names: Vec<_> = segments.iter().map(|case| format!("{case:?}")).collect();
        let directories = [DirectoryCase::Fresh, DirectoryCase::Known, DirectoryCase::MetaLost, DirectoryCase::AllLost];
        names.extend(directories.iter().map(|case| format!("{case:?}")));
        names.extend([FloorCase::Known, FloorCase::Lost].iter().map(|case| format!("{case:?}")));
        let tails = [TailCase::None, TailCase::Empty, TailCase::Clean, TailCase::Damaged];
        names.extend(tails.iter().map(|case| format!("{case:?}")));
        for name in names {
            assert!(DOCUMENT.contains(&format!("\n| `{name}` |")), "{name} has no row in FORMAT.md");
        }
    }
}
