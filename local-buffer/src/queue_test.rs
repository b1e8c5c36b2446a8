//! The queue as a whole: its promises at the edges, on a simulated disk and on a real one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use crate::format::{BLOCK_BYTES, DATA_START, FORMAT_VERSION};
use crate::sim::SimDisk;
use crate::slot::{SegmentHeader, SegmentState};
use crate::{
    AppendError, Batch, DirectIo, FullCause, OpenError, Options, Queue, ReadError, Reader, RecordId, SyncPolicy,
};

const SEGMENT_BYTES: u64 = 256 << 10;

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        bytes_max: 4 * SEGMENT_BYTES,
        pending_bytes_max: 512 << 10,
        ..Options::default()
    }
}

fn open_with(disk: &SimDisk, options: &Options) -> Queue {
    Queue::open_on(&disk.storage(), Path::new("sim"), options).unwrap().0
}

/// Repeats until it gives something; fails the test after a time that no healthy machine needs.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened");
        std::thread::yield_now();
    }
}

fn read_all(reader: &mut Reader) -> Vec<(u64, Vec<u8>)> {
    let (mut batch, mut all) = (Batch::new(), Vec::new());
    while reader.read(&mut batch, 1000, 1 << 20).unwrap() > 0 {
        all.extend(batch.iter().map(|(id, bytes)| (id.get(), bytes.to_vec())));
    }
    all
}

/// Appends until the buffer is full; gives the cause.
fn fill(queue: &Queue) -> FullCause {
    let appender = queue.appender();
    eventually(|| match appender.append(&[7; 10_000]) {
        Ok(pending) => {
            pending.wait(&appender).unwrap();
            None
        }
        Err(AppendError::Full { cause }) => Some(cause),
        Err(AppendError::Busy) => None,
        Err(error) => panic!("{error}"),
    })
}

#[test]
fn a_real_disk_gives_back_what_it_was_given_directly_and_not() {
    let mut dirs = vec![tempfile::tempdir().unwrap(), tempfile::tempdir_in(".").unwrap()];
    if Path::new("/dev/shm").is_dir() {
        dirs.push(tempfile::tempdir_in("/dev/shm").unwrap());
    }
    for dir in dirs {
        for direct_io in [DirectIo::Auto, DirectIo::Off] {
            for sync in [SyncPolicy::Group, SyncPolicy::EveryAppend, SyncPolicy::Never] {
                let place = dir.path().join(format!("{direct_io:?}-{sync:?}/below"));
                let options = Options { sync, direct_io, ..options() };
                let (queue, _) = Queue::open(&place, options.clone()).unwrap();
                let appender = queue.appender();
                let wanted: Vec<_> =
                    (0..200).map(|number| (number, vec![number as u8; number as usize * 17])).collect();
                for (number, record) in &wanted {
                    let pending = eventually(|| appender.append(record).ok());
                    assert_eq!(pending.first().get(), *number);
                    if number % 10 == 0 {
                        assert_eq!(pending.wait(&appender).unwrap().end(), pending.end());
                    }
                }
                queue.close().unwrap();
                assert_eq!(appender.append(b"late"), Err(AppendError::Closed));
                let (mut queue, _) = Queue::open(&place, options).unwrap();
                assert_eq!(read_all(&mut queue.take_reader().unwrap()), wanted, "{place:?}");
            }
        }
    }
}

#[test]
fn a_second_opener_is_refused_by_name_until_queue_and_reader_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(dir.path(), options()).unwrap();
    let locked = |result: Result<_, OpenError>| match result.map(|_: (Queue, _)| ()) {
        Err(OpenError::Locked { dir: named }) => named == dir.path(),
        other => panic!("{other:?}"),
    };
    assert!(locked(Queue::open(dir.path(), options())));
    let (reader, appender, monitor) = (queue.take_reader(), queue.appender(), queue.monitor());
    queue.close().unwrap();
    assert!(locked(Queue::open(dir.path(), options())));
    drop(reader);
    Queue::open(dir.path(), options()).unwrap();
    assert_eq!(appender.append(b"x"), Err(AppendError::Closed));
    assert_eq!(monitor.stats().next_id, 0);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    for file in ["meta", "floor", "segments/0000000000.seg"] {
        let disk = SimDisk::new(true);
        drop(open_with(&disk, &options()));
        disk.tamper(file, |bytes| {
            // The lengths of the three slots of version 1.
            let sum_at = match file {
                "meta" => 40,
                "floor" => 56,
                _ => 104,
            };
            for slot in bytes[..2 * BLOCK_BYTES].chunks_mut(BLOCK_BYTES) {
                slot[8..12].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
                let sum = crc32c::crc32c(&slot[..sum_at]);
                slot[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
                let magic: &[u8; 8] = match file {
                    "meta" => b"TURNBUF\0",
                    "floor" => b"TURNFLR\0",
                    _ => b"TURNSEG\0",
                };
                slot[..8].copy_from_slice(magic);
                let sum = crc32c::crc32c(&slot[..sum_at]);
                slot[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
            }
        });
        let result = Queue::open_on(&disk.copy().storage(), Path::new("sim"), &options());
        match result.map(|_| ()) {
            Err(OpenError::NewerVersion { file: named, found, known }) => {
                assert!(file.ends_with(&named), "{named}");
                assert_eq!((found, known), (FORMAT_VERSION + 1, FORMAT_VERSION));
            }
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_failed_sync_refuses_everything_until_the_buffer_is_opened_again() {
    for direct in [true, false] {
        let disk = SimDisk::new(direct);
        let mut queue = open_with(&disk, &options());
        let appender = queue.appender();
        appender.append(b"good").unwrap().wait(&appender).unwrap();
        // Whichever sync is next, it is that of a group: the floor has not moved and a spare segment is ready.
        eventually(|| (queue.stats().segments_ready == 1).then_some(()));
        disk.fail_syncs(1);
        let failed = appender.append(b"doubtful").unwrap();
        let error = failed.wait(&appender).unwrap_err();
        assert_eq!(error.os_code(), Some(5));
        assert_eq!(appender.append(b"refused"), Err(AppendError::SyncFailed(error.clone())));
        assert_eq!(appender.subscribe().check(&failed), Some(Err(error)));
        assert!(queue.stats().failed);
        let mut reader = queue.take_reader().unwrap();
        assert_eq!(read_all(&mut reader), [(0, b"good".to_vec())]);
        drop(reader);
        assert!(queue.close().is_err());

        // A direct write whose sync failed can be read, and nobody knows how long: it is written again, and then
        // survives the power cut. The page cache has the doubtful record too, but the disk never will: it is not used.
        let (queue, report) = Queue::open_on(&disk.storage(), Path::new("sim"), &options()).unwrap();
        let wanted =
            if direct { vec![(0, b"good".to_vec()), (1, b"doubtful".to_vec())] } else { vec![(0, b"good".to_vec())] };
        assert_eq!(report.carried_records, wanted.len() as u64);
        drop(queue);
        let mut queue = open_with(&disk.reboot(0), &options());
        assert_eq!(read_all(&mut queue.take_reader().unwrap()), wanted);
    }
}

#[test]
fn at_its_bound_the_buffer_is_full_and_takes_again_what_the_reader_frees() {
    let disk = SimDisk::new(true);
    let mut queue = open_with(&disk, &options());
    let mut reader = queue.take_reader().unwrap();
    for _ in 0..5 {
        assert_eq!(fill(&queue), FullCause::Bound);
        let stats = queue.stats();
        assert_eq!(stats.segments_bytes, stats.bytes_max);
        assert_eq!(stats.segments_bytes, 4 * SEGMENT_BYTES);
        let last = read_all(&mut reader).last().unwrap().0;
        reader.acknowledge(RecordId::from_u64(last + 1)).unwrap();
        let appender = queue.appender();
        eventually(|| appender.append(b"again").ok()).wait(&appender).unwrap();
    }
}

#[test]
fn on_a_full_disk_the_buffer_is_full_and_takes_again_when_space_returns() {
    for capacity in [SEGMENT_BYTES + 16_384, 2 * SEGMENT_BYTES + 100_000] {
        let disk = SimDisk::new(false);
        disk.set_capacity(Some(capacity));
        let mut queue = open_with(&disk, &options());
        let mut reader = queue.take_reader().unwrap();
        assert_eq!(fill(&queue), FullCause::Disk);
        let taken = queue.stats().appended_records;
        assert!(taken >= 20);
        // No half-made segment is left to fill the disk.
        assert!(disk.names().iter().all(|name| !name.contains(".tmp")));
        disk.set_capacity(None);
        let appender = queue.appender();
        let pending = eventually(|| appender.append(b"again").ok());
        pending.wait(&appender).unwrap();
        assert_eq!(read_all(&mut reader).len() as u64, taken + 1);
    }
}

#[test]
fn a_buffer_opens_drains_and_works_again_on_a_disk_without_any_room() {
    let disk = SimDisk::new(true);
    drop(open_with(&disk, &options()));
    let queue = open_with(&disk, &options());
    fill(&queue);
    queue.close().unwrap();
    let used: usize = disk.names().iter().map(|name| disk.content(name).len()).sum();
    let disk = disk.copy();
    disk.set_capacity(Some(used as u64));
    let mut queue = open_with(&disk, &options());
    let appender = queue.appender();
    assert!(matches!(appender.append(b"x"), Err(AppendError::Full { .. } | AppendError::Busy)));
    let mut reader = queue.take_reader().unwrap();
    let last = read_all(&mut reader).last().unwrap().0;
    reader.acknowledge(RecordId::from_u64(last + 1)).unwrap();
    assert!(read_all(&mut reader).is_empty());
    let pending = eventually(|| appender.append(b"x").ok());
    assert_eq!(pending.first().get(), last + 1);
    pending.wait(&appender).unwrap();
}

#[test]
fn what_a_recycled_segment_held_before_is_never_delivered_again() {
    let disk = SimDisk::new(true);
    let mut next = 0;
    for _ in 0..12 {
        let mut queue = open_with(&disk, &Options { bytes_max: 2 * SEGMENT_BYTES, ..options() });
        let appender = queue.appender();
        let mut reader = queue.take_reader().unwrap();
        for round in 0..30 {
            let pending = eventually(|| appender.append(&[round; 9_000]).ok());
            pending.wait(&appender).unwrap();
            assert_eq!(read_all(&mut reader), [(next, vec![round; 9_000])]);
            next += 1;
            reader.acknowledge(RecordId::from_u64(next)).unwrap();
        }
        drop(reader);
        queue.close().unwrap();
    }
    assert_eq!(disk.names().iter().filter(|name| name.starts_with("segments/")).count(), 2);
}

#[test]
fn a_block_that_holds_a_durable_record_is_never_written_again() {
    let disk = SimDisk::new(true);
    for _ in 0..4 {
        let queue = open_with(&disk, &options());
        let appender = queue.appender();
        for bytes in [1, 5000, 100, 4044, 4045] {
            appender.append(&vec![1; bytes]).unwrap().wait(&appender).unwrap();
        }
    }
    let mut ends = BTreeMap::new();
    let mut groups = 0;
    for write in disk.take_writes().into_iter().filter(|write| write.name.starts_with("segments/")) {
        let end = ends.entry(write.name.trim_end_matches(".tmp").to_string()).or_insert(DATA_START);
        if write.offset >= DATA_START {
            assert!(write.offset >= *end, "{}: {} was written again", write.name, write.offset);
            *end = write.offset + write.bytes.len() as u64;
            groups += 1;
        } else if SegmentHeader::decode(&write.bytes).good().unwrap().state == SegmentState::Free {
            *end = DATA_START;
        }
    }
    assert!(groups >= 20);
}

#[test]
fn each_use_of_a_segment_has_a_generation_that_no_use_before_it_had() {
    let disk = SimDisk::new(true);
    for _ in 0..6 {
        let mut queue = open_with(&disk, &options());
        let (appender, mut reader) = (queue.appender(), queue.take_reader().unwrap());
        for _ in 0..40 {
            eventually(|| appender.append(&[7; 9_000]).ok()).wait(&appender).unwrap();
            let end = read_all(&mut reader).last().unwrap().0 + 1;
            reader.acknowledge(RecordId::from_u64(end)).unwrap();
        }
    }
    let mut uses = Vec::new();
    for write in disk.take_writes() {
        if write.name.starts_with("segments/") && write.offset < DATA_START {
            let header = *SegmentHeader::decode(&write.bytes).good().unwrap();
            uses.extend((header.state == SegmentState::Active).then_some(header.generation));
        }
    }
    assert!(uses.len() >= 12 && uses.is_sorted_by(|before, after| before < after), "{uses:?}");
}

#[test]
fn buffers_opened_again_and_again_do_not_collect_segments() {
    let disk = SimDisk::new(true);
    for number in 0..20 {
        let queue = open_with(&disk, &options());
        let appender = queue.appender();
        assert_eq!(appender.append(b"record").unwrap().first().get(), number);
        assert!(queue.stats().segments_live <= 2);
    }
    let mut queue = open_with(&disk, &options());
    assert_eq!(read_all(&mut queue.take_reader().unwrap()).len(), 20);
}

#[test]
fn each_policy_syncs_as_often_as_it_says() {
    for (sync, groups) in [(SyncPolicy::EveryAppend, 50), (SyncPolicy::Group, 1)] {
        let disk = SimDisk::new(true);
        let queue = open_with(&disk, &Options { sync, ..options() });
        let appender = queue.appender();
        let mut last = None;
        for _ in 0..50 {
            last = Some(eventually(|| appender.append(b"x").ok()));
        }
        last.unwrap().wait(&appender).unwrap();
        let stats = queue.stats();
        assert!(stats.groups >= groups && stats.groups <= 50, "{sync:?}: {}", stats.groups);
    }
    let disk = SimDisk::new(true);
    let queue = open_with(&disk, &Options { sync: SyncPolicy::Never, ..options() });
    let appender = queue.appender();
    appender.append(b"x").unwrap().wait(&appender).unwrap();
    eventually(|| (queue.stats().segments_ready == 1).then_some(()));
    disk.fail_syncs(1);
    appender.append(b"not synced").unwrap().wait(&appender).unwrap();
}

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    let disk = SimDisk::new(true);
    let mut queue = open_with(&disk, &options());
    let appender = queue.appender();
    let batch = vec![vec![1; 1000]; 100];
    let records = || batch.iter().map(Vec::as_slice);
    let pending = appender.append_batch(records()).unwrap();
    assert_eq!((pending.first().get(), pending.end().get()), (0, 100));
    pending.wait(&appender).unwrap();
    let too_large = appender.append_batch(records().chain(records()).chain(records()));
    assert!(matches!(too_large, Err(AppendError::TooLarge { bytes_max, .. }) if bytes_max < 300_000), "{too_large:?}");
    assert!(matches!(appender.append(&vec![0; 300_000]), Err(AppendError::TooLarge { bytes: 300_000, .. })));
    let empty = appender.append_batch(std::iter::empty()).unwrap();
    assert!(empty.wait(&appender).is_ok());
    // Until it is full: what was taken is always a multiple of the batch.
    let refused = eventually(|| appender.append_batch(records()).err().filter(|error| *error != AppendError::Busy));
    assert!(matches!(refused, AppendError::Full { .. }));
    let stats = eventually(|| Some(queue.stats()).filter(|stats| stats.pending_bytes == 0));
    let all = stats.appended_records;
    assert!(all >= 600 && all.is_multiple_of(100));
    assert_eq!(read_all(&mut queue.take_reader().unwrap()).len() as u64, all);
}

#[test]
fn a_subscription_is_woken_once_for_many_appends_and_hears_of_every_advance() {
    struct Count(AtomicUsize, std::thread::Thread);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let disk = SimDisk::new(true);
    let queue = open_with(&disk, &options());
    let appender = queue.appender();
    let mut subscription = appender.subscribe();
    let count = Arc::new(Count(AtomicUsize::new(0), std::thread::current()));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut ready = 0;
    let mut end = 0;
    for round in 0..50 {
        let mut last = None;
        for _ in 0..20 {
            last = Some(eventually(|| appender.append(&[round; 100]).ok()));
        }
        let last = last.unwrap();
        while subscription.check(&last).is_none() {
            match subscription.poll_advanced(&mut context) {
                std::task::Poll::Ready(advanced) => {
                    let advanced = advanced.unwrap().get();
                    assert!(advanced > end);
                    end = advanced;
                    ready += 1;
                }
                std::task::Poll::Pending => std::thread::park(),
            }
        }
    }
    assert!(count.0.load(Ordering::SeqCst) <= queue.stats().groups as usize);
    assert!(ready <= queue.stats().groups);
}

#[test]
fn a_waiting_reader_returns_for_records_and_for_its_waker() {
    let disk = SimDisk::new(true);
    let mut queue = open_with(&disk, &options());
    let mut reader = queue.take_reader().unwrap();
    let waker = reader.waker();
    waker.wake();
    assert!(!reader.wait(Duration::from_mins(1)));
    let appender = queue.appender();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(reader.wait(Duration::from_mins(1))));
        appender.append(b"x").unwrap().wait(&appender).unwrap();
    });
    assert_eq!(read_all(&mut reader).len(), 1);
    assert!(!reader.wait(Duration::ZERO));
}

#[test]
fn a_quarantined_record_is_on_disk_with_its_reason() {
    let disk = SimDisk::new(true);
    let mut queue = open_with(&disk, &options());
    let mut reader = queue.take_reader().unwrap();
    reader.quarantine(RecordId::from_u64(7), b"bytes nobody takes", "too large for the broker").unwrap();
    reader.quarantine(RecordId::from_u64(7), b"bytes nobody takes", "too large for the broker").unwrap();
    disk.power_off();
    let disk = disk.reboot(3);
    let kept: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with("quarantine/")).collect();
    assert_eq!(kept, ["quarantine/record-00000000000000000007.q"]);
    assert!(disk.content(&kept[0]).ends_with(b"too large for the brokerbytes nobody takes"));
    let refused = reader.acknowledge(RecordId::from_u64(1));
    assert!(matches!(refused, Err(ReadError::NotDelivered { end: 1, delivered: 0 })));
}

#[test]
fn another_segment_size_replaces_the_old_segments_as_they_drain() {
    let disk = SimDisk::new(true);
    let queue = open_with(&disk, &options());
    fill(&queue);
    queue.close().unwrap();
    let larger = Options { segment_bytes: 2 * SEGMENT_BYTES, bytes_max: 8 * SEGMENT_BYTES, ..options() };
    let mut queue = open_with(&disk, &larger);
    let mut reader = queue.take_reader().unwrap();
    let appender = queue.appender();
    let all = read_all(&mut reader);
    let pending = eventually(|| appender.append(b"x").ok());
    pending.wait(&appender).unwrap();
    assert_eq!(pending.first().get(), all.len() as u64);
    assert_eq!(read_all(&mut reader).len(), 1);
    reader.acknowledge(pending.end()).unwrap();
    reader.sync_floor().unwrap();
    let sizes =
        || disk.names().into_iter().filter(|name| name.starts_with("segments/")).map(|name| disk.content(&name).len());
    eventually(|| sizes().all(|bytes| bytes as u64 == 2 * SEGMENT_BYTES).then_some(()));
}

#[test]
fn the_age_of_the_oldest_record_is_known_with_and_without_a_reader_and_after_opening() {
    let disk = SimDisk::new(true);
    let mut queue = open_with(&disk, &options());
    assert_eq!(queue.stats().oldest_append_ms, None);
    let appender = queue.appender();
    appender.append(b"x").unwrap().wait(&appender).unwrap();
    let first = queue.stats().oldest_append_ms.unwrap();
    assert!(first > 1_600_000_000_000);
    appender.append(b"y").unwrap().wait(&appender).unwrap();
    assert_eq!(queue.stats().oldest_append_ms, Some(first));
    let mut reader = queue.take_reader().unwrap();
    assert_eq!(read_all(&mut reader).len(), 2);
    assert_eq!(queue.stats().oldest_append_ms, Some(first));
    reader.acknowledge(RecordId::from_u64(1)).unwrap();
    assert!(queue.stats().oldest_append_ms >= Some(first));
    drop(reader);
    drop(queue);
    let mut queue = open_with(&disk, &options());
    assert!(queue.stats().oldest_append_ms.is_some());
    let mut reader = queue.take_reader().unwrap();
    assert_eq!(read_all(&mut reader).len(), 1);
    reader.acknowledge(RecordId::from_u64(2)).unwrap();
    assert_eq!(queue.stats().oldest_append_ms, None);
}
