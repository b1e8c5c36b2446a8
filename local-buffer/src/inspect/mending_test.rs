//! Repairs and reinjections: told beforehand, done, and safe to be cut short.

use std::path::Path;

use super::repair::{plan_on, repair_on};
use super::stage::{
    buffer, delivered, ids, inspector, live_segments, open, payload, place_of, place_of_any, segment_names, storage,
    verified,
};
use super::{FileOutcome, InspectError, QuarantineCheck, QuarantineKind, Reinjected, Reinjection, RepairAction};
use crate::format::DATA_START;
use crate::quarantine::{Quarantine, set_aside};
use crate::recovery::SegmentCase;
use crate::sim::SimDisk;
use crate::storage::Access;
use crate::{Batch, Options, Queue, RecordId};

const DIR: &str = "sim";

fn plan(disk: &SimDisk) -> Vec<RepairAction> {
    plan_on(&storage(disk), Path::new(DIR), None, &mut |_| {}).unwrap()
}

/// Repairs it, and checks that it is clean then and gives what it gave before.
fn repaired(disk: &SimDisk) -> Vec<RepairAction> {
    let planned = plan(disk);
    let before = {
        let found = super::stage::read(&inspector(disk), super::Start::Floor);
        found.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>()
    };
    let done = repair_on(&storage(disk), Path::new(DIR), None, &mut |_| {}).unwrap();
    assert_eq!(done.actions, planned);
    let (seen, damage) = verified(disk);
    assert!(seen.is_clean(), "{damage:?}");
    let after = delivered(disk);
    assert_eq!(after.len() as u64, done.readable_records);
    assert_eq!(after.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), before);
    planned
}

#[test]
fn damage_is_set_aside_as_it_was_foretold_and_then_all_is_clean() {
    let good = buffer(899, 100);
    let names = live_segments(&good);
    let disk = good.copy();
    let first = place_of_any(&good, &names[0], 104..150);
    let tail = place_of(&good, names.last().unwrap(), 898).unwrap();
    disk.tamper(&names[0], |bytes| bytes[first] ^= 1);
    disk.tamper(names.last().unwrap(), |bytes| bytes[tail] ^= 1);
    let actions = repaired(&disk);
    let aside = |name: &String, at: usize| {
        actions.iter().any(|action| {
            matches!(action, RepairAction::SetAside { file, offset, bytes, .. }
                if file == name && (*offset..offset + bytes).contains(&(at as u64)))
        })
    };
    assert!(aside(&names[0], first) && aside(names.last().unwrap(), tail), "{actions:?}");
    let kept = disk.names().into_iter().filter(|name| name.starts_with("quarantine/damage-")).count();
    assert_eq!(kept, 2);
    assert_eq!(repaired(&disk).iter().filter(|action| matches!(action, RepairAction::SetAside { .. })).count(), 0);
}

#[test]
fn a_lost_name_or_floor_is_written_again() {
    let good = buffer(60, 30);
    let instance = inspector(&good).overview().unwrap().instance;
    let disk = good.copy();
    disk.delete("meta");
    assert!(repaired(&disk).contains(&RepairAction::WriteName { instance }));
    disk.delete("floor");
    let actions = repaired(&disk);
    assert!(actions.iter().any(|action| matches!(action, RepairAction::WriteFloor { lost: true, .. })), "{actions:?}");
}

#[test]
fn the_name_of_another_buffer_is_put_right_which_an_opening_could_not() {
    let disk = buffer(60, 30);
    let instance = inspector(&disk).overview().unwrap().instance;
    let other = buffer(5, 0).content("meta");
    disk.tamper("meta", |bytes| bytes.copy_from_slice(&other));
    assert_eq!(delivered(&disk.copy()), [], "an opening believes the name and sets everything aside");
    assert!(repaired(&disk).contains(&RepairAction::WriteName { instance }));
    assert_eq!(open(&disk).instance(), instance.unwrap());
}

#[test]
fn foreign_and_unreadable_segments_are_moved_aside_whole() {
    let disk = buffer(20, 0);
    let live = live_segments(&disk).remove(0);
    let spare = segment_names(&disk).into_iter().find(|name| *name != live).unwrap();
    let other = buffer(20, 0);
    let foreign = other.content(&live_segments(&other)[0]);
    disk.tamper(&spare, |bytes| bytes.copy_from_slice(&foreign));
    let wanted = RepairAction::MoveAside { file: spare, case: SegmentCase::Foreign };
    assert!(repaired(&disk).contains(&wanted));
    assert!(disk.names().iter().any(|name| disk.content(name) == foreign && name.starts_with("quarantine/segment-")));
}

#[test]
fn the_floor_can_be_raised_by_name_and_only_that() {
    let disk = buffer(60, 30);
    let repair = |floor| repair_on(&storage(&disk), Path::new(DIR), Some(RecordId::from_u64(floor)), &mut |_| {});
    assert!(matches!(repair(29), Err(InspectError::Floor { wanted: 29, floor: 30, next: 60 })));
    assert!(matches!(repair(61), Err(InspectError::Floor { .. })));
    let done = repair(45).unwrap();
    assert_eq!((done.floor.get(), done.readable_records), (45, 15));
    assert_eq!(ids(&delivered(&disk)), (45..60).collect::<Vec<_>>());
    assert_eq!(repair(60).unwrap().readable_records, 0);
    assert_eq!(delivered(&disk), []);
}

#[test]
fn a_repair_that_is_cut_short_at_any_call_loses_nothing_and_can_be_repeated() {
    let good = buffer(300, 20);
    let names = live_segments(&good);
    let hit = place_of_any(&good, &names[0], 24..80);
    good.tamper(&names[0], |bytes| bytes[hit] ^= 1);
    good.delete("meta");
    let wanted: Vec<_> = delivered(&good.copy()).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(wanted.len(), 279);
    let mut cuts = 0;
    for calls in 0.. {
        let disk = good.copy();
        disk.cut_after(calls);
        if repair_on(&storage(&disk), Path::new(DIR), None, &mut |_| {}).is_ok() && !disk.is_off() {
            break;
        }
        cuts += 1;
        let disk = disk.reboot(calls);
        let found: Vec<_> = delivered(&disk.copy()).into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(found, wanted, "cut after {calls} calls");
        repair_on(&storage(&disk), Path::new(DIR), None, &mut |_| {}).unwrap();
        assert!(verified(&disk).0.is_clean(), "cut after {calls} calls");
    }
    assert!(cuts > 10, "only {cuts} cuts");
}

/// A buffer whose record 7 nobody took, and that is otherwise drained.
fn with_quarantined() -> SimDisk {
    let disk = buffer(10, 0);
    let mut queue = open(&disk);
    let mut reader = queue.take_reader().unwrap();
    let mut batch = Batch::new();
    while reader.read(&mut batch, 100, 1 << 20).unwrap() > 0 {
        for (id, bytes) in batch.iter().filter(|(id, _)| id.get() == 7) {
            reader.quarantine(id, bytes, "nobody takes it").unwrap();
        }
        reader.acknowledge(batch.end().unwrap()).unwrap();
    }
    drop(reader);
    queue.close().unwrap();
    disk.copy()
}

fn reinject(disk: &SimDisk, work: &Reinjection) -> Result<(Reinjected, Vec<FileOutcome>), InspectError> {
    let mut outcomes = Vec::new();
    let on_file = &mut |outcome: &FileOutcome| outcomes.push(outcome.clone());
    let done = work.run_on(&storage(disk), Path::new(DIR), &mut |_| Ok(()), on_file)?;
    Ok((done, outcomes))
}

#[test]
fn a_quarantined_record_comes_out_of_the_reader_again_and_its_file_is_kept() {
    let disk = with_quarantined();
    assert_eq!(delivered(&disk.copy()), []);
    let mut content = Vec::new();
    let file = inspector(&disk).quarantine().unwrap().next(&mut content).unwrap().unwrap();
    assert_eq!((file.kind, file.check), (QuarantineKind::Record { id: RecordId::from_u64(7) }, QuarantineCheck::Whole));
    assert_eq!((&*file.reason, &content), ("nobody takes it", &payload(7)));
    let (done, outcomes) = reinject(&disk, &Reinjection::default()).unwrap();
    assert_eq!((done.files, done.records, done.bytes, done.refused), (1, 1, payload(7).len() as u64, 0));
    let FileOutcome::Reinjected { first, moved_to, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(first.get() >= 10);
    assert_eq!(disk.content(moved_to).len() as u64, file.bytes);
    assert_eq!(delivered(&disk), [(first.get(), payload(7))]);
    assert_eq!(reinject(&disk, &Reinjection::default()).unwrap().0, Reinjected::default(), "nothing is left to do");
}

#[test]
fn a_reinjection_that_is_cut_short_at_any_call_loses_no_record_and_may_repeat_it() {
    let good = with_quarantined();
    let (mut cuts, mut repeats) = (0, 0);
    for calls in 0.. {
        let disk = good.copy();
        disk.cut_after(calls);
        if reinject(&disk, &Reinjection::default()).is_ok() && !disk.is_off() {
            break;
        }
        cuts += 1;
        for seed in 0..4 {
            let disk = disk.reboot(calls * 4 + seed);
            reinject(&disk, &Reinjection::default()).unwrap();
            let found = delivered(&disk);
            assert!(found.iter().all(|(_, bytes)| *bytes == payload(7)));
            assert!(!found.is_empty(), "cut after {calls} calls, seed {seed}");
            repeats += usize::from(found.len() > 1);
        }
    }
    assert!(cuts > 5 && repeats > 0, "{cuts} cuts, {repeats} repeats");
}

#[test]
fn what_is_damaged_or_not_wanted_stays_where_it_is_with_a_reason() {
    let good = with_quarantined();
    let name = good.names().into_iter().find(|name| name.starts_with("quarantine/record")).unwrap();
    let disk = good.copy();
    disk.tamper(&name, |bytes| bytes[80] ^= 1);
    let (seen, _) = verified(&disk);
    assert_eq!(seen.damage_open, 1);
    let refused = |disk: &SimDisk, work: &Reinjection, accept: &mut dyn FnMut(&[u8]) -> Result<(), String>| {
        let mut reasons = Vec::new();
        let on_file = &mut |outcome: &FileOutcome| match outcome {
            FileOutcome::Refused { reason, .. } => reasons.push(reason.clone()),
            other => panic!("{other:?}"),
        };
        work.run_on(&storage(disk), Path::new(DIR), accept, on_file).unwrap();
        assert!(disk.names().contains(&name));
        reasons.remove(0)
    };
    let all = Reinjection::default();
    assert!(refused(&disk, &all, &mut |_| Ok(())).contains("checksum"));
    assert_eq!(refused(&good.copy(), &all, &mut |_| Err("no".into())), "no");
    let absent = Reinjection { files: Some(vec!["record-1.q".into()]), salvage: false };
    assert!(refused(&good.copy(), &absent, &mut |_| Ok(())).contains("no such file"));
}

#[test]
fn whole_records_are_salvaged_out_of_a_segment_that_was_set_aside_and_only_when_asked() {
    let disk = buffer(20, 20);
    let live = segment_names(&disk);
    let other = buffer(50, 0);
    let foreign = other.content(&live_segments(&other)[0]);
    disk.tamper(&live[0], |bytes| bytes.copy_from_slice(&foreign));
    repair_on(&storage(&disk), Path::new(DIR), None, &mut |_| {}).unwrap();
    let (done, _) = reinject(&disk, &Reinjection::default()).unwrap();
    assert_eq!((done.skipped, done.records), (1, 0));
    let (done, outcomes) = reinject(&disk, &Reinjection { files: None, salvage: true }).unwrap();
    assert_eq!((done.files, done.records), (1, 50), "{outcomes:?}");
    let found: Vec<_> = delivered(&disk).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, (0..50).map(payload).collect::<Vec<_>>());
}

#[test]
fn whole_records_are_salvaged_out_of_damage_also_over_the_seams_of_its_pieces() {
    let record = |number: u64| vec![number as u8 + 1; 60_000 + number as usize];
    let source = SimDisk::new(true);
    let options = Options { segment_bytes: 4 << 20, bytes_max: 16 << 20, ..Options::default() };
    let (queue, _) = Queue::open_on(&storage(&source), Path::new(DIR), &options).unwrap();
    let appender = queue.appender();
    for number in 0..50 {
        appender.append(&record(number)).unwrap().wait(&appender).unwrap();
    }
    queue.close().unwrap();
    let overview = inspector(&source).overview().unwrap();
    let used = DATA_START + overview.segments[0].used_bytes;
    // As if a reader had found none of them: all bytes lie in the quarantine of the next buffer, in pieces.
    let disk = buffer(10, 10);
    let aside = Quarantine::open(storage(&disk), overview.instance.unwrap()).unwrap();
    let segment = storage(&source).open(&live_segments(&source)[0], Access::Read).unwrap();
    let (generation, from) = (overview.segments[0].generation, DATA_START as usize);
    set_aside(&aside, generation, &*segment, from, used as usize, |_| {}).unwrap();
    let (done, outcomes) = reinject(&disk, &Reinjection { files: None, salvage: true }).unwrap();
    assert_eq!((done.files, done.records), (3, 50), "{outcomes:?}");
    let found: Vec<_> = delivered(&disk).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(found, (0..50).map(record).collect::<Vec<_>>());
}

#[test]
fn a_buffer_that_is_in_use_is_neither_repaired_nor_added_to() {
    let disk = with_quarantined();
    let _guard = crate::storage::Storage::lock(&disk, "lock").unwrap();
    let before = super::stage::files(&disk);
    let repair = repair_on(&storage(&disk), Path::new(DIR), None, &mut |_| {});
    assert!(matches!(repair, Err(InspectError::InUse { .. })));
    assert!(matches!(reinject(&disk, &Reinjection::default()), Err(InspectError::InUse { .. })));
    assert_eq!(super::stage::files(&disk), before);
}
