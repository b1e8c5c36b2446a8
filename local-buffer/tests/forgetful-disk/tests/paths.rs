//! Goal: each way to the disk is the one it says it is, and a disk that fills up, fails or hangs is answered as documented.
//! Fault: no `O_DIRECT`, no room behind a page cache that took everything, failing and hanging syncs.
//! Oracle: what the file system was asked for, with which flags, and the public `Stats`.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use forgetful_disk::{Counts, Disk, Fate, Mounted};
use local_buffer::{AppendError, Appender, Batch, DirectIo, FullCause, Options, Queue};

const SEGMENT_BYTES: u64 = 1 << 20;

fn options(direct_io: DirectIo) -> Options {
    let bytes_max = 8 * SEGMENT_BYTES;
    Options { segment_bytes: SEGMENT_BYTES, bytes_max, pending_bytes_max: 1 << 20, direct_io, ..Options::default() }
}

fn mount(disk: &Disk, dir: &Path) -> Option<Mounted> {
    let mounted = disk.mount(dir).inspect_err(|unavailable| say(&format!("SKIPPED: {unavailable}")));
    mounted.ok()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Repeats until it gives something; fails the test after a time that no healthy machine needs.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn append(appender: &Appender, record: &[u8]) {
    let pending = eventually("an append is taken", || appender.append(record).ok());
    pending.wait(appender).expect("it becomes durable");
}

#[test]
fn the_direct_path_writes_past_the_page_cache_and_the_fallback_does_not() {
    for (direct_io, refuses) in [(DirectIo::Auto, false), (DirectIo::Auto, true), (DirectIo::Off, false)] {
        let (disk, dir) = (Disk::new(), tempfile::tempdir().expect("a mount point"));
        disk.set_refuses_direct(refuses);
        let Some(_mounted) = mount(&disk, dir.path()) else { return };
        let (queue, _) = Queue::open(dir.path().join("buffer"), options(direct_io)).expect("it opens");
        let appender = queue.appender();
        append(&appender, b"the first one also begins a segment");
        eventually("the spare segment", || (queue.stats().segments_ready > 0).then_some(()));
        let (before, stats) = (disk.counts(), queue.stats());
        if stats.direct_io {
            assert_eq!(before.unsynced_direct_bytes, stats.segments_bytes, "the zeros of segments pass the page cache");
            assert!(before.cached_bytes < 100_000, "only small files are made in it: {before:?}");
        } else {
            assert_eq!(before.unsynced_direct_bytes, 0);
            assert!(before.cached_bytes >= stats.segments_bytes, "{before:?}");
        }
        for number in 0..50 {
            append(&appender, &[number; 5_000]);
        }
        let (counts, after) = (difference(disk.counts(), before), queue.stats());
        let (groups, bytes) = (after.groups - stats.groups, after.group_bytes - stats.group_bytes);
        assert_eq!(after.direct_io, direct_io == DirectIo::Auto && !refuses);
        if after.direct_io {
            assert_eq!((counts.direct_writes, counts.direct_bytes), (groups, bytes), "each group is one direct write");
            assert_eq!((counts.cached_writes, counts.cached_bytes), (0, 0), "nothing goes through the page cache");
        } else {
            assert_eq!((counts.direct_writes, counts.direct_bytes), (0, 0));
            assert!(counts.cached_bytes >= bytes, "{bytes} bytes of groups, {counts:?}");
            assert!(counts.syncs >= groups, "each group is synced");
        }
        say(&format!(
            "{direct_io:?}, O_DIRECT {}: Stats say direct {}; {groups} groups of {bytes} bytes came as {} O_DIRECT|O_DSYNC \
             writes of {} bytes and {} cached ones of {}",
            if refuses { "refused" } else { "known" },
            after.direct_io,
            counts.direct_writes,
            counts.direct_bytes,
            counts.cached_writes,
            counts.cached_bytes
        ));
    }
}

fn difference(now: Counts, before: Counts) -> Counts {
    Counts {
        direct_writes: now.direct_writes - before.direct_writes,
        direct_bytes: now.direct_bytes - before.direct_bytes,
        unsynced_direct_bytes: now.unsynced_direct_bytes - before.unsynced_direct_bytes,
        cached_writes: now.cached_writes - before.cached_writes,
        cached_bytes: now.cached_bytes - before.cached_bytes,
        syncs: now.syncs - before.syncs,
        folder_syncs: now.folder_syncs - before.folder_syncs,
        refused_full: now.refused_full - before.refused_full,
    }
}

#[test]
fn a_disk_that_is_full_behind_a_page_cache_that_took_everything_costs_no_record() {
    // With write-back caching the kernel hears of a full disk only at the sync: as late as it can be.
    for direct_io in [DirectIo::Auto, DirectIo::Off] {
        let (disk, dir) = (Disk::new(), tempfile::tempdir().expect("a mount point"));
        disk.set_capacity(Some(3 * SEGMENT_BYTES + 100_000));
        let Some(mounted) = mount(&disk, dir.path()) else { return };
        let buffer = dir.path().join("buffer");
        let (mut queue, _) = Queue::open(&buffer, options(direct_io)).expect("it opens");
        let appender = queue.appender();
        let mut taken = 0;
        let fill = |taken: &mut u64| {
            eventually("the buffer is full", || match appender.append(&[1; 10_000]) {
                Ok(pending) => {
                    pending.wait(&appender).expect("a full disk never fails a write");
                    *taken += 1;
                    None
                }
                Err(AppendError::Full { cause }) => Some(cause),
                Err(AppendError::Busy) => None,
                Err(error) => panic!("{error}"),
            })
        };
        assert_eq!(fill(&mut taken), FullCause::Disk);
        assert!(disk.counts().refused_full > 0 || queue.stats().segments_bytes == 3 * SEGMENT_BYTES);
        let mut reader = queue.take_reader().expect("the first to ask");
        let mut batch = Batch::new();
        let mut read = 0;
        while reader.read(&mut batch, 1000, 1 << 20).expect("it reads") > 0 {
            read += batch.len() as u64;
            reader.acknowledge(batch.end().expect("records")).expect("they were delivered");
        }
        assert_eq!(read, taken);
        reader.sync_floor().expect("the floor has its place");
        assert_eq!(fill(&mut taken), FullCause::Disk);
        assert!(taken >= read + read / 2, "freed segments are used again");
        disk.set_capacity(None);
        append(&appender, &[1; 10_000]);
        drop((reader, queue, appender));
        mounted.unmount().expect("nothing is open");
        disk.power_off();
        disk.restore(Fate::AllLost, 1);
        let _mounted = mount(&disk, dir.path()).expect("it was mounted before");
        let (mut queue, _) = Queue::open(&buffer, options(direct_io)).expect("it opens");
        let mut reader = queue.take_reader().expect("the first to ask");
        let mut left = 0;
        while reader.read(&mut batch, 1000, 1 << 20).expect("it reads") > 0 {
            left += batch.len() as u64;
        }
        assert!(left > taken - read, "{left} of {} are left", taken - read + 1);
    }
}

#[test]
fn a_failing_sync_is_an_error_to_all_that_wait_and_to_all_that_come_until_it_is_opened_again() {
    for direct_io in [DirectIo::Auto, DirectIo::Off] {
        let (disk, dir) = (Disk::new(), tempfile::tempdir().expect("a mount point"));
        let Some(_mounted) = mount(&disk, dir.path()) else { return };
        let buffer = dir.path().join("buffer");
        let (queue, _) = Queue::open(&buffer, options(direct_io)).expect("it opens");
        let appender = queue.appender();
        append(&appender, b"good");
        eventually("the spare segment", || (queue.stats().segments_ready > 0).then_some(()));
        disk.fail_syncs(1);
        let failed = appender.append(b"in doubt").expect("taken").wait(&appender).expect_err("its sync failed");
        assert_eq!(failed.os_code(), Some(libc::EIO));
        assert!(matches!(appender.append(b"late"), Err(AppendError::SyncFailed(_))));
        drop((queue, appender));
        let (mut queue, _) = Queue::open(&buffer, options(direct_io)).expect("it opens");
        append(&queue.appender(), b"again");
        let mut batch = Batch::new();
        let mut all = Vec::new();
        let mut reader = queue.take_reader().expect("the first to ask");
        while reader.read(&mut batch, 1000, 1 << 20).expect("it reads") > 0 {
            all.extend(batch.iter().map(|(_, record)| record.to_vec()));
        }
        all.retain(|record| record != b"in doubt");
        assert_eq!(all, [b"good".to_vec(), b"again".to_vec()], "{direct_io:?}");
    }
}

#[test]
fn a_disk_that_hangs_takes_what_memory_may_hold_then_says_busy_and_loses_nothing_when_it_wakes() {
    for direct_io in [DirectIo::Auto, DirectIo::Off] {
        let (disk, dir) = (Disk::new(), tempfile::tempdir().expect("a mount point"));
        let Some(_mounted) = mount(&disk, dir.path()) else { return };
        let (mut queue, _) = Queue::open(dir.path().join("buffer"), options(direct_io)).expect("it opens");
        let appender = queue.appender();
        append(&appender, b"the disk answers");
        eventually("the spare segment", || (queue.stats().segments_ready > 0).then_some(()));
        disk.set_hangs(true);
        let first = appender.append(&[2; 10_000]).expect("taken");
        eventually("the sync hangs", || (disk.hanging() > 0).then_some(()));
        let mut taken = 2;
        let refused = loop {
            match appender.append(&[2; 10_000]) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, AppendError::Busy);
        assert!(queue.stats().pending_bytes <= 1 << 20, "{} bytes wait", queue.stats().pending_bytes);
        assert_eq!(appender.subscribe().check(&first), None, "neither durable nor failed");
        disk.set_hangs(false);
        first.wait(&appender).expect("it becomes durable after all");
        append(&appender, b"and goes on");
        let mut reader = queue.take_reader().expect("the first to ask");
        let (mut batch, mut read) = (Batch::new(), 0);
        while reader.read(&mut batch, 1000, 1 << 20).expect("it reads") > 0 {
            read += batch.len();
        }
        assert_eq!(read, taken + 1, "{direct_io:?}");
    }
}
