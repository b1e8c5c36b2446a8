//! A buffer as it is after a while: all segments that its bound allows are made, and are written again and again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use benches::disk::{FILE_BYTES, payload};
use local_buffer::{Batch, Options, Queue, Reader, Stats};
use tempfile::TempDir;

const SEGMENT_BYTES: u64 = FILE_BYTES;
const SEGMENTS: u64 = 14;
/// What a round may write: what is left is being written to, or waits for its floor.
pub(crate) const ROUND_BYTES: u64 = (SEGMENTS - 4) * SEGMENT_BYTES;

/// A folder on the disk that builds use.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// The buffer, with nobody reading but between the rounds.
pub(crate) struct Ring {
    pub(crate) folder: TempDir,
    pub(crate) queue: Queue,
    reader: Reader,
}

impl Ring {
    /// Makes it, and fills and drains it once.
    pub(crate) fn new() -> Self {
        let folder = folder();
        let bytes_max = SEGMENTS * SEGMENT_BYTES;
        let options = Options { segment_bytes: SEGMENT_BYTES, bytes_max, ..Options::default() };
        let (mut queue, _) = Queue::open(folder.path(), options).expect("it opens");
        let reader = queue.take_reader().expect("the first to ask");
        let mut ring = Self { folder, queue, reader };
        let (appender, record) = (ring.queue.appender(), payload(1 << 20));
        while ring.queue.stats().segments_bytes < bytes_max {
            let _ = appender.append(&record);
            std::thread::sleep(Duration::from_millis(1));
        }
        ring.drain();
        ring
    }

    pub(crate) fn stats(&self) -> Stats {
        self.queue.stats()
    }

    /// Reads and acknowledges everything, and waits until its space is free; gives the number of records.
    pub(crate) fn drain(&mut self) -> u64 {
        let (mut batch, mut records) = (Batch::new(), 0);
        let limit = Instant::now() + Duration::from_mins(1);
        while self.stats().backlog_records > 0 || self.stats().segments_ready < SEGMENTS - 2 {
            assert!(Instant::now() < limit, "it does not drain: {:?}", self.stats());
            if self.reader.read(&mut batch, 10_000, 4 << 20).expect("it reads") > 0 {
                records += batch.len() as u64;
                self.reader.acknowledge(batch.end().expect("records")).expect("they were delivered");
            }
            self.reader.sync_floor().expect("the floor is written");
        }
        records
    }

    /// Generation and first block of the newest group, and the bytes of each one newer than `after`, in their order.
    pub(crate) fn groups(&self, after: (u64, u32)) -> ((u64, u32), Vec<usize>) {
        let mut blocks = Vec::new();
        for path in segments(self.folder.path()) {
            let bytes = fs::read(path).expect("a segment");
            blocks.extend(bytes.chunks(4096).skip(2).map(|block| {
                let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("4 bytes"));
                (u64::from_le_bytes(block[8..16].try_into().expect("8 bytes")), number(20), number(16))
            }));
        }
        blocks.retain(|(generation, group, _)| (*generation, *group) > after);
        blocks.sort_unstable();
        let newest = blocks.last().map_or(after, |(generation, group, _)| (*generation, *group));
        let groups = blocks.chunk_by(|one, next| (one.0, one.1) == (next.0, next.1));
        (newest, groups.map(|blocks| blocks.len() * 4096).collect())
    }
}

/// The segment files of a buffer.
pub(crate) fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir.join("segments")).expect("the segments");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}
