//! What an inspector says of a buffer, whole, damaged and at work.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::repair::plan_on;
use super::stage::{
    buffer, delivered, files, ids, inspector, live_segments, open, options, payload, place_of, read, verified,
};
use super::{DamageKind, InUse, InspectError, Inspector, Start};
use crate::format::BLOCK_BYTES;
use crate::sim::SimDisk;
use crate::storage::Access;
use crate::{AppendError, Batch, FloorCase, Queue, RecordId};

/// One byte in so many is flipped.
const FLIP_EVERY: usize = 17;

#[test]
fn the_figures_are_those_of_the_queue() {
    for (records, floor) in [(1, 0), (1, 1), (21, 0), (21, 13), (900, 0), (900, 455), (900, 900)] {
        let disk = buffer(records, floor);
        let overview = inspector(&disk).overview().unwrap();
        assert_eq!((overview.floor.get(), overview.next.get()), (floor, records), "{overview:?}");
        assert_eq!(overview.undrained_records, records - floor);
        assert_eq!(overview.oldest.map(RecordId::get), (floor < records).then_some(floor));
        assert_eq!(overview.oldest_ms.is_some(), floor < records);
        assert_eq!(overview.undrained_bytes == 0, floor == records, "{overview:?}");
        let payloads: u64 = (floor..records).map(|number| payload(number).len() as u64).sum();
        assert!(overview.undrained_bytes >= payloads && overview.undrained_bytes <= payloads * 2 + 16_384);
        assert_eq!((overview.steady, overview.in_use), (true, InUse::No));
        let queue = open(&disk);
        assert_eq!(overview.instance, Some(queue.instance()));
        assert_eq!(overview.segments_bytes, overview.segments.len() as u64 * options().segment_bytes);
    }
}

#[test]
fn the_records_are_those_that_a_reader_gets_and_done_ones_on_demand() {
    for floor in [0, 455, 899] {
        let disk = buffer(900, floor);
        let inspector = inspector(&disk);
        let undrained = read(&inspector, Start::Floor);
        assert_eq!(undrained, delivered(&disk.copy()), "floor {floor}");
        assert_eq!(ids(&read(&inspector, Start::Oldest)), (0..900).collect::<Vec<_>>(), "floor {floor}");
        for from in [3, 500, 899, 900] {
            let found = read(&inspector, Start::Id(RecordId::from_u64(from)));
            assert_eq!(ids(&found), (from..900).collect::<Vec<_>>(), "floor {floor}");
            assert!(found.iter().all(|(id, bytes)| *bytes == payload(*id)));
        }
        let (seen, damage) = verified(&disk);
        assert_eq!((seen.undrained_records, seen.next.get(), damage), (900 - floor, 900, vec![]));
    }
}

#[test]
fn looking_changes_no_byte_and_could_not() {
    let disk = buffer(900, 455);
    let name = live_segments(&disk).pop().unwrap();
    disk.tamper(&name, |bytes| bytes[40_000..50_000].fill(7));
    disk.tamper("floor", |bytes| bytes[100] ^= 1);
    let before = files(&disk);
    let inspector = inspector(&disk);
    inspector.overview().unwrap();
    read(&inspector, Start::Oldest);
    let (seen, _) = verified(&disk);
    assert!(!seen.is_clean());
    plan_on(&disk.storage(), Path::new("sim"), None, &mut |_| {}).unwrap();
    assert_eq!(files(&disk), before);
    let storage = super::readonly::ReadOnly(disk.storage());
    let refused = |result: std::io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    };
    let storage: &dyn crate::storage::Storage = &storage;
    refused(storage.remove("meta"));
    refused(storage.rename("meta", "x"));
    refused(storage.open("meta", Access::Write).map(|_| ()));
    refused(storage.lock("lock").map(|_| ()));
}

#[test]
fn every_flipped_bit_that_costs_a_record_is_reported_with_its_place_and_no_other_one_is() {
    let good = buffer(20, 0);
    let name = live_segments(&good).remove(0);
    let bytes = good.content(&name);
    let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let (mut costly, mut harmless) = (0, 0);
    for at in (0..used.next_multiple_of(BLOCK_BYTES)).step_by(FLIP_EVERY) {
        let disk = good.copy();
        disk.tamper(&name, |bytes| bytes[at] ^= 1 << (at / FLIP_EVERY % 8));
        let (seen, damage) = verified(&disk);
        let records = delivered(&disk).len() as u64;
        assert_eq!(seen.undrained_records, records, "byte {at}");
        let open: Vec<_> = damage.iter().filter(|piece| piece.is_open()).collect();
        // A flip in padding costs no record; a write that was cut short there cannot be told from one that cost some.
        assert!(records == 20 || !open.is_empty(), "byte {at} cost a record and was not reported");
        for piece in open {
            let place = piece.offset..piece.offset + piece.bytes;
            assert!(place.contains(&(at as u64)), "byte {at} was reported at {place:?}");
            assert_eq!(piece.file, name);
            costly += 1;
        }
        harmless += u64::from(damage.iter().any(|piece| piece.kind.is_harmless()));
    }
    assert!(costly > 100 && harmless > 10, "{costly} {harmless}");
}

#[test]
fn the_kind_of_damage_says_what_happened() {
    let good = buffer(899, 100);
    let names = live_segments(&good);
    let kinds = |change: &dyn Fn(&SimDisk)| {
        let disk = good.copy();
        change(&disk);
        let mut kinds: Vec<_> = verified(&disk).1.iter().map(|piece| piece.kind).collect();
        kinds.dedup();
        kinds
    };
    let flip = |name: &str, at: usize| {
        let name = name.to_owned();
        move |disk: &SimDisk| disk.tamper(&name, |bytes| bytes[at] ^= 1)
    };
    assert_eq!(kinds(&|_| ()), []);
    assert_eq!(kinds(&flip("meta", 20)), [DamageKind::Slot]);
    assert_eq!(kinds(&|disk| disk.delete("meta")), [DamageKind::MetaLost]);
    assert_eq!(kinds(&|disk| disk.delete("floor")), [DamageKind::FloorLost]);
    assert_eq!(kinds(&|disk| disk.delete(&names[1])), [DamageKind::SegmentMissing]);
    assert_eq!(kinds(&flip(&names[1], 2 * BLOCK_BYTES + 9)), [DamageKind::BlockHeader]);
    let twin = good.content(&names[1]);
    let copy = |disk: &SimDisk| disk.tamper(&names[2], |bytes| bytes.copy_from_slice(&twin));
    assert_eq!(kinds(&copy)[0], DamageKind::SegmentCopied);
    let garbage = |disk: &SimDisk| disk.tamper(&names[1], |bytes| bytes.fill(0x55));
    assert_eq!(kinds(&garbage), [DamageKind::SegmentUnreadable, DamageKind::SegmentMissing]);
    let last = names.last().unwrap();
    let hit = place_of(&good, last, 898).unwrap();
    assert_eq!(kinds(&flip(last, hit)), [DamageKind::Tail]);
    let other = buffer(5, 0);
    let meta = other.content("meta");
    let misnamed = |disk: &SimDisk| disk.tamper("meta", |bytes| bytes.copy_from_slice(&meta));
    assert_eq!(kinds(&misnamed), [DamageKind::MetaForeign]);
}

#[test]
fn a_lost_floor_and_a_lost_name_are_said() {
    let disk = buffer(60, 30);
    disk.delete("floor");
    let overview = inspector(&disk).overview().unwrap();
    assert_eq!((overview.floor_case, overview.next.get()), (FloorCase::Lost, 60));
    assert!(overview.floor.get() <= 30);
    disk.delete("meta");
    assert!(inspector(&disk).overview().unwrap().instance.is_some(), "the segments still have it");
}

#[test]
fn what_is_no_buffer_and_what_is_newer_is_refused_by_name() {
    let open = |disk: &SimDisk| Inspector::open_on(disk.storage(), Path::new("sim"));
    assert!(matches!(open(&SimDisk::new(true)), Err(InspectError::NoBuffer { .. })));
    let good = buffer(5, 0);
    let segment = live_segments(&good).remove(0);
    for file in ["meta", "floor", &*segment] {
        let disk = good.copy();
        disk.tamper(file, |bytes| {
            for slot in bytes[..2 * BLOCK_BYTES].chunks_exact_mut(BLOCK_BYTES) {
                let end = if file == "meta" {
                    40
                } else if file == "floor" {
                    56
                } else {
                    104
                };
                slot[8] = 9;
                let sum = crc32c::crc32c(&slot[..end]);
                slot[end..end + 4].copy_from_slice(&sum.to_le_bytes());
            }
        });
        match open(&disk) {
            Err(InspectError::NewerVersion { file: named, found: 9, known: 1 }) => assert!(file.ends_with(&named)),
            other => panic!("{file}: {:?}", other.err()),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    assert!(matches!(Inspector::open(&missing), Err(InspectError::NotFound { dir }) if dir == missing));
    Queue::open(dir.path().join("buffer"), options()).unwrap();
    match Inspector::open(dir.path()) {
        Err(InspectError::NoBuffer { nearby, .. }) => assert_eq!(nearby, Some(dir.path().join("buffer"))),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn a_buffer_at_work_that_recycles_its_segments_is_never_called_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(dir.path(), options()).unwrap();
    let (appender, mut reader) = (queue.appender(), queue.take_reader().unwrap());
    let done = AtomicBool::new(false);
    let (looks, appended) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut number, record) = (0, vec![7; 3000]);
            while !done.load(Ordering::Relaxed) {
                match appender.append(&record) {
                    Ok(_) => number += 1,
                    Err(AppendError::Busy | AppendError::Full { .. }) => std::thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
            number
        });
        scope.spawn(|| {
            let mut batch = Batch::new();
            while !done.load(Ordering::Relaxed) {
                if reader.read(&mut batch, 64, 1 << 20).unwrap() > 0 {
                    reader.acknowledge(batch.end().unwrap()).unwrap();
                }
            }
        });
        let stop = Stop(&done);
        let (mut looks, until) = (0, Instant::now() + Duration::from_secs(2));
        while looks < 20 || Instant::now() < until {
            let inspector = Inspector::open(dir.path()).unwrap();
            let overview = inspector.overview().unwrap();
            assert!(overview.floor <= overview.next, "{overview:?}");
            assert!(!matches!(overview.in_use, InUse::No), "{overview:?}");
            let mut damage = Vec::new();
            inspector.verify(&mut |piece| damage.push(piece.clone()), &mut |_| {}).unwrap();
            assert_eq!(damage, [], "look {looks}");
            let records = read(&inspector, Start::Floor);
            assert!(records.iter().all(|(_, bytes)| *bytes == [7; 3000]));
            assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0));
            looks += 1;
        }
        drop(stop);
        (looks, writer.join().unwrap())
    });
    assert!(appended * 3000 > 20 * options().segment_bytes, "only {appended} records were appended in {looks} looks");
}

/// Ends the threads also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_group_that_is_being_written_is_not_judged_and_after_a_crash_it_is() {
    let disk = buffer(11, 0);
    let name = live_segments(&disk).remove(0);
    let hit = place_of(&disk, &name, 10).unwrap();
    // The last group as another process sees it half-way: one of its records is not there yet.
    disk.tamper(&name, |bytes| bytes[hit..hit + 90].fill(0));
    let guard = crate::storage::Storage::lock(&disk, "lock").unwrap();
    let (seen, damage) = verified(&disk);
    assert_eq!((seen.undrained_records, damage), (10, vec![]));
    drop(guard);
    let (seen, damage) = verified(&disk);
    assert_eq!((seen.undrained_records, damage.len()), (10, 1));
    assert_eq!(damage[0].kind, DamageKind::Tail);
}

#[test]
fn the_group_before_the_one_being_written_is_judged() {
    let disk = buffer(30, 0);
    let name = live_segments(&disk).remove(0);
    let hit = place_of(&disk, &name, 16).unwrap();
    disk.tamper(&name, |bytes| bytes[hit + 10] ^= 1);
    let _guard = crate::storage::Storage::lock(&disk, "lock").unwrap();
    let (_, damage) = verified(&disk);
    assert_eq!(damage.iter().map(|piece| piece.kind).collect::<Vec<_>>(), [DamageKind::Records]);
}
