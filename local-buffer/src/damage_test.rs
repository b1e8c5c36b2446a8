//! Damage of a buffer with its threads: it opens, and everything that was not hit comes out. `proof/damage.rs` has every
//! damage of a kind to a smaller one.

use std::path::Path;

use crate::format::{BLOCK_BYTES, DATA_START};
use crate::sim::SimDisk;
use crate::{
    AppendError, Appender, Batch, DirectIo, FloorCase, Options, Queue, RecordId, RecoveryReport, SegmentCase, Stats,
};

fn options() -> Options {
    Options {
        segment_bytes: 256 << 10,
        bytes_max: 8 << 20,
        pending_bytes_max: 512 << 10,
        direct_io: DirectIo::Auto,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> (Queue, RecoveryReport) {
    Queue::open_on(&disk.storage(), Path::new("sim"), &options()).expect("a damaged buffer opens")
}

fn payload(number: u64) -> Vec<u8> {
    let bytes = [0, 30, 700, 5000, 90, 1][number as usize % 6];
    (0..bytes).map(|at| (number * 31 + at * 7) as u8).collect()
}

/// Appends records as one group, waiting while the next segment is made.
fn take(appender: &Appender, numbers: std::ops::Range<u64>) {
    let records: Vec<_> = numbers.map(payload).collect();
    loop {
        match appender.append_batch(records.iter().map(Vec::as_slice)) {
            Ok(pending) => break assert!(pending.wait(appender).is_ok()),
            Err(AppendError::Busy) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A closed buffer with this many records, in groups of five, of which those below `floor` are done.
fn buffer(records: u64, floor: u64) -> SimDisk {
    let disk = SimDisk::new(true);
    let (mut queue, _) = open(&disk);
    let appender = queue.appender();
    let mut reader = queue.take_reader().unwrap();
    for number in (0..=records).step_by(5) {
        take(&appender, number..(number + 5).min(records + 1));
    }
    let mut batch = Batch::new();
    while floor > 0 && batch.end().is_none_or(|end| end.get() < floor) {
        reader.read(&mut batch, 1, 1).unwrap();
    }
    reader.acknowledge(RecordId::from_u64(floor)).unwrap();
    drop(reader);
    queue.close().unwrap();
    disk.copy()
}

struct Outcome {
    report: RecoveryReport,
    stats: Stats,
    /// Ids that came, each with the payload it was given.
    ids: Vec<u64>,
}

fn drain(disk: &SimDisk) -> Outcome {
    let (mut queue, report) = open(disk);
    let mut reader = queue.take_reader().unwrap();
    let (mut batch, mut ids) = (Batch::new(), Vec::<u64>::new());
    while reader.read(&mut batch, 100, 1 << 20).unwrap() > 0 {
        for (id, bytes) in batch.iter() {
            assert_eq!(bytes, payload(id.get()), "record {id}");
            assert!(ids.last().is_none_or(|last| *last < id.get()), "order");
            ids.push(id.get());
        }
    }
    // It also goes on taking records, with ids of their own.
    let appender = queue.appender();
    let pending = appender.append(b"after").unwrap();
    assert!(ids.last().is_none_or(|last| *last < pending.first().get()));
    pending.wait(&appender).unwrap();
    assert_eq!(reader.read(&mut batch, 100, 1 << 20).unwrap(), 1);
    Outcome { report, stats: queue.stats(), ids }
}

fn segment_names(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("segments/")).collect()
}

/// The segment with records, of a buffer that has one.
fn live_segment(disk: &SimDisk) -> String {
    let holds = |name: &String| disk.content(name)[DATA_START as usize..].iter().any(|byte| *byte != 0);
    segment_names(disk).into_iter().find(holds).unwrap()
}

#[test]
fn a_block_of_zeros_costs_only_the_records_that_touch_it() {
    let good = buffer(40, 0);
    let name = live_segment(&good);
    for block in 2..8 {
        let disk = good.copy();
        disk.tamper(&name, |bytes| bytes[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].fill(0));
        let outcome = drain(&disk);
        assert!(outcome.ids.len() >= 41 - 13 && outcome.ids.len() < 41, "block {block}: {:?}", outcome.ids);
        assert_eq!(outcome.ids.last(), Some(&40), "block {block}");
    }
}

/// Many segments with records.
fn large() -> (SimDisk, u64) {
    (buffer(900, 0), 901)
}

#[test]
fn segments_that_are_swapped_come_out_in_order_and_a_copy_is_set_aside() {
    let (disk, count) = large();
    let names = segment_names(&disk);
    assert!(names.len() >= 4);
    let (first, second) = (disk.content(&names[0]), disk.content(&names[1]));
    disk.tamper(&names[0], |bytes| bytes.copy_from_slice(&second));
    disk.tamper(&names[1], |bytes| bytes.copy_from_slice(&first));
    assert_eq!(drain(&disk.copy()).ids, (0..count).collect::<Vec<_>>());
    let copy = disk.content(&names[0]);
    disk.tamper(names.last().unwrap(), |bytes| bytes.copy_from_slice(&copy));
    let outcome = drain(&disk);
    assert!(outcome.report.segments.iter().any(|(_, case)| *case == SegmentCase::Copied), "{:?}", outcome.report);
    assert!(disk.names().iter().any(|name| name.starts_with("quarantine/segment-")));
}

#[test]
fn a_deleted_segment_is_missed_and_the_others_are_delivered() {
    let (disk, count) = large();
    disk.delete(&segment_names(&disk)[1]);
    let outcome = drain(&disk);
    assert_eq!(outcome.report.missing_segments, 1);
    assert_eq!(outcome.ids.first(), Some(&0));
    assert_eq!(outcome.ids.last(), Some(&(count - 1)));
    assert!(outcome.ids.len() < count as usize);
}

#[test]
fn damage_in_a_sealed_segment_is_met_and_set_aside_by_the_reader() {
    let (disk, count) = large();
    let name = segment_names(&disk).remove(0);
    let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    let content = disk.content(&name);
    let hit = (1..200).step_by(6).find_map(|number| find(&content, &payload(number))).unwrap();
    disk.tamper(&name, |bytes| bytes[hit] ^= 4);
    let outcome = drain(&disk);
    assert_eq!(outcome.ids.len() as u64, count - 1);
    assert_eq!((outcome.report.damaged_pieces, outcome.stats.damaged_pieces), (0, 1));
}

#[test]
fn both_headers_of_a_segment_may_be_lost() {
    let (disk, count) = large();
    for name in segment_names(&disk) {
        let disk = disk.copy();
        disk.tamper(&name, |bytes| bytes[..DATA_START as usize].fill(0xaa));
        let outcome = drain(&disk);
        assert_eq!(outcome.ids, (0..count).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn meta_or_floor_or_both_may_be_lost() {
    let good = buffer(60, 30);
    let instance = open(&good.copy()).0.instance();
    for lost in [&["meta"][..], &["floor"], &["meta", "floor"]] {
        let disk = good.copy();
        for name in lost {
            disk.delete(name);
        }
        {
            let (queue, report) = open(&disk.copy());
            assert_eq!(queue.instance(), instance, "{lost:?}");
            assert_eq!(report.floor, if lost.contains(&"floor") { FloorCase::Lost } else { FloorCase::Known });
        }
        let outcome = drain(&disk);
        assert_eq!(outcome.ids.last(), Some(&60), "{lost:?}");
        assert!(outcome.ids.len() >= 31 && (lost.contains(&"floor") || outcome.ids.len() == 31), "{lost:?}");
    }
}

#[test]
fn with_every_segment_gone_ids_go_on_above_the_floor() {
    let disk = buffer(60, 50);
    for name in segment_names(&disk) {
        disk.delete(&name);
    }
    let (queue, report) = open(&disk);
    assert_eq!(report.next_id.get(), 50);
    assert_eq!(queue.appender().append(b"x").unwrap().first().get(), 50);
}

#[test]
fn a_segment_of_another_buffer_is_set_aside() {
    let (disk, other) = (buffer(20, 0), buffer(20, 0));
    let foreign = other.content(&live_segment(&other));
    disk.tamper("segments/0000000009.seg", |bytes| *bytes = foreign);
    let outcome = drain(&disk);
    assert_eq!(outcome.ids, (0..=20).collect::<Vec<_>>());
    assert!(outcome.report.segments.iter().any(|(_, case)| *case == SegmentCase::Foreign));
}
