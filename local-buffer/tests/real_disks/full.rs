//! Goal: a full disk is an answer and passes by itself; what is in the buffer can be read, acknowledged and used again.
//! Fault: no byte left, met by the making of a segment, by the floor, by the quarantine, by an opening.
//! Oracle: numbered records, each delivered once and in order; the names in the directory.

use std::fs;
use std::path::Path;

use local_buffer::{AppendError, FullCause, OpenError, Queue, ReadError};

use crate::volume::Volume;
use crate::{MIB, WAYS, append_soon, eventually, fill, open, options, read_numbers, record, say, turn};

const VOLUME_BYTES: u64 = 64 * MIB;
/// What the ballast leaves of it.
const BUFFER_BYTES: u64 = 30 * MIB;
const RECORD_BYTES: usize = 30_000;

#[test]
fn a_full_disk_is_an_answer_and_the_buffer_drains_and_goes_on_without_any_room() {
    let _turn = turn();
    for volume in WAYS.iter().flat_map(|_| Volume::each(VOLUME_BYTES)).zip(WAYS.iter().flat_map(|way| [way, way])) {
        let (volume, way) = volume;
        let dir = volume.buffer();
        let ballast = volume.ballast("ballast", BUFFER_BYTES);
        let mut queue = open(&dir, &options(*way));
        let direct = queue.stats().direct_io;
        let appender = queue.appender();
        let (next, cause) = fill(&appender, 0, RECORD_BYTES);
        assert_eq!(cause, FullCause::Disk);
        assert!(next >= 20 * MIB / RECORD_BYTES as u64, "only {next} records on {} MiB", BUFFER_BYTES / MIB);
        assert_eq!(unfinished(&dir), Vec::<String>::new(), "no half-made segment fills the disk");

        // Not a byte is left: the floor and the header of a freed segment still have their places.
        volume.ballast("rest", 0);
        let mut reader = queue.take_reader().expect("the first to ask");
        let (read, end) = read_numbers(&mut reader, 0);
        assert_eq!(read, next);
        let refused = reader.quarantine(end.expect("records"), b"a record nobody takes", "no room for it");
        let Err(ReadError::Io { source, .. }) = refused else { panic!("{}: {refused:?}", volume.name) };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(unfinished(&dir), Vec::<String>::new());
        reader.acknowledge(end.expect("records")).expect("they were delivered");
        reader.sync_floor().expect("the floor has its place");

        // The freed segments take records again, as many as before, still without room.
        let (again, _) = fill(&appender, next, RECORD_BYTES);
        assert!(again - next >= next / 2, "{} of {next} fit the freed segments", again - next);
        drop(reader);
        queue.close().expect("closing writes nothing new");

        // It opens, reads and takes on a disk without room.
        let mut queue = open(&dir, &options(*way));
        let appender = queue.appender();
        assert_eq!(fill(&appender, again, RECORD_BYTES).1, FullCause::Disk);
        let last = queue.stats().next_id;
        let mut reader = queue.take_reader().expect("the first to ask");
        let (read, end) = read_numbers(&mut reader, next);
        assert_eq!(read, last, "ids and numbers are the same here");
        reader.quarantine(end.expect("records"), b"still nobody", "no room").expect_err("the disk is full");
        reader.acknowledge(end.expect("records")).expect("they were delivered");
        reader.sync_floor().expect("the floor has its place");

        // Space returns: more segments than before are made, without anybody asking for it.
        let segments = queue.stats().segments_bytes;
        let (next, _) = fill(&appender, read, RECORD_BYTES);
        fs::remove_file(ballast).expect("the ballast");
        reader.quarantine(end.expect("records"), b"still nobody", "now there is room").expect("there is room");
        append_soon(&appender, &record(next, 3 * MIB as usize / 2));
        eventually("a segment more", || (queue.stats().segments_bytes > segments).then_some(()));
        assert_eq!(read_numbers(&mut reader, read).0, next + 1);
        let refused = queue.stats().refused_full;
        assert!(refused > 0);
        say(&format!("{} {way:?} (direct: {direct}): full after {next} records, {refused} refusals", volume.name));
    }
}

#[test]
fn a_disk_too_full_for_a_segment_opens_and_takes_records_once_there_is_room() {
    let _turn = turn();
    for way in WAYS {
        for volume in Volume::each(16 * MIB) {
            let ballast = volume.ballast("ballast", MIB);
            let queue = open(&volume.buffer(), &options(way));
            let appender = queue.appender();
            assert_eq!(fill(&appender, 0, 100), (0, FullCause::Disk), "{}", volume.name);
            fs::remove_file(ballast).expect("the ballast");
            append_soon(&appender, &record(0, 100));
        }
    }
}

#[test]
fn a_disk_without_any_room_refuses_a_new_buffer_and_leaves_nothing_that_stands_in_the_way() {
    let _turn = turn();
    for way in WAYS {
        for volume in Volume::each(16 * MIB) {
            let ballast = volume.ballast("ballast", 0);
            match Queue::open(volume.buffer(), options(way)) {
                Err(OpenError::Io { .. }) => {}
                // A folder and two small files may still fit somewhere; then it is open, and full.
                Ok((queue, _)) => {
                    assert!(matches!(queue.appender().append(b"x"), Err(AppendError::Full { .. } | AppendError::Busy)));
                }
                Err(error) => panic!("{error}"),
            }
            fs::remove_file(ballast).expect("the ballast");
            let queue = open(&volume.buffer(), &options(way));
            append_soon(&queue.appender(), &record(0, 100));
        }
    }
}

/// Files that were begun and are not whole.
fn unfinished(dir: &Path) -> Vec<String> {
    let folders = [dir.to_path_buf(), dir.join("segments"), dir.join("quarantine")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder of the buffer"));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.strip_suffix(".tmp").is_some()).collect()
}
