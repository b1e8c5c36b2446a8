//! Buffers for the tests of the inspection.

use std::path::Path;
use std::sync::Arc;

use super::{Damage, Inspector, Piece, Start, Verification};
use crate::format::DATA_START;
use crate::sim::SimDisk;
use crate::storage::Storage;
use crate::{AppendError, Appender, Batch, Options, Queue, RecordId};

pub(super) const DIR: &str = "sim";

pub(super) fn options() -> Options {
    Options { segment_bytes: 256 << 10, bytes_max: 8 << 20, pending_bytes_max: 512 << 10, ..Options::default() }
}

pub(super) fn payload(number: u64) -> Vec<u8> {
    let bytes = [0, 30, 700, 5000, 90, 1][number as usize % 6];
    let mark = number.to_le_bytes().into_iter().chain((8..).map(|at: u64| (number * 31 + at * 7) as u8));
    mark.take(bytes).collect()
}

pub(super) fn open(disk: &SimDisk) -> Queue {
    Queue::open_on(&disk.storage(), Path::new(DIR), &options()).unwrap().0
}

/// Appends a group, waiting while the next segment is made.
pub(super) fn append(appender: &Appender, numbers: std::ops::Range<u64>) {
    let records: Vec<_> = numbers.map(payload).collect();
    loop {
        match appender.append_batch(records.iter().map(Vec::as_slice)) {
            Ok(pending) => break assert!(pending.wait(appender).is_ok()),
            Err(AppendError::Busy) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A closed buffer with records 0 to `records`, in groups of five, of which those below `floor` are done.
pub(super) fn buffer(records: u64, floor: u64) -> SimDisk {
    let disk = SimDisk::new(true);
    let mut queue = open(&disk);
    let appender = queue.appender();
    let mut reader = queue.take_reader().unwrap();
    for number in (0..records).step_by(5) {
        append(&appender, number..(number + 5).min(records));
    }
    let mut batch = Batch::new();
    while floor > 0 && batch.end().is_none_or(|end| end.get() < floor) {
        reader.read(&mut batch, 1, 1).unwrap();
    }
    reader.acknowledge(RecordId::from_u64(floor)).unwrap();
    drop(reader);
    // The spare segment is made beside all this, or is known to have no room.
    while queue.stats().segments_ready == 0 && queue.stats().full.is_none() {
        std::thread::yield_now();
    }
    queue.close().unwrap();
    disk.copy()
}

pub(super) fn inspector(disk: &SimDisk) -> Inspector {
    Inspector::open_on(disk.storage(), Path::new(DIR)).unwrap()
}

pub(super) fn verified(disk: &SimDisk) -> (Verification, Vec<Damage>) {
    let mut damage = Vec::new();
    let seen = inspector(disk).verify(&mut |piece| damage.push(piece.clone()), &mut |_| {}).unwrap();
    (seen, damage)
}

/// Ids and bytes of the records from a start on.
pub(super) fn read(inspector: &Inspector, start: Start) -> Vec<(u64, Vec<u8>)> {
    let mut records = inspector.records(start).unwrap();
    let (mut payload, mut found) = (Vec::new(), Vec::new());
    while let Some(piece) = records.next(&mut payload).unwrap() {
        if let Piece::Record(place) = piece {
            found.push((place.id.get(), payload.clone()));
        }
    }
    found
}

pub(super) fn ids(records: &[(u64, Vec<u8>)]) -> Vec<u64> {
    records.iter().map(|(id, _)| *id).collect()
}

/// What a reader gets, acknowledging nothing.
pub(super) fn delivered(disk: &SimDisk) -> Vec<(u64, Vec<u8>)> {
    let mut queue = open(disk);
    let mut reader = queue.take_reader().unwrap();
    let (mut batch, mut found) = (Batch::new(), Vec::new());
    while reader.read(&mut batch, 100, 1 << 20).unwrap() > 0 {
        found.extend(batch.iter().map(|(id, bytes)| (id.get(), bytes.to_vec())));
    }
    found
}

pub(super) fn segment_names(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("segments/")).collect()
}

/// The segments with records.
pub(super) fn live_segments(disk: &SimDisk) -> Vec<String> {
    let holds = |name: &String| disk.content(name)[DATA_START as usize..].iter().any(|byte| *byte != 0);
    segment_names(disk).into_iter().filter(holds).collect()
}

/// Where the payload of a record begins in a segment; the record must have a payload of its own kind there.
pub(super) fn place_of(disk: &SimDisk, name: &str, number: u64) -> Option<usize> {
    let (content, payload) = (disk.content(name), payload(number));
    let wanted = payload.get(..60)?;
    content.windows(wanted.len()).position(|window| window == wanted)
}

/// The first place in a segment where the payload of one of these records begins.
pub(super) fn place_of_any(disk: &SimDisk, name: &str, numbers: std::ops::Range<u64>) -> usize {
    numbers.into_iter().find_map(|number| place_of(disk, name, number)).unwrap()
}

pub(super) fn storage(disk: &SimDisk) -> Arc<dyn Storage> {
    disk.storage()
}

/// Every file with its bytes.
pub(super) fn files(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.names().into_iter().map(|name| (name.clone(), disk.content(&name))).collect()
}
