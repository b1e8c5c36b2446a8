//! Reading a backlog from the page cache beside `pread` of the same files.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use benches::disk::payload;
use benches::record::Row;
use local_buffer::{Batch, Options, Queue, Reader};

use crate::ring::{folder, segments};
use crate::{ROUNDS, median, per_second};

const RECORDS: u64 = 600_000;
const RECORD_BYTES: usize = 1 << 10;
const BATCH_RECORDS: usize = 1_000;
/// The reader's own step.
const PREAD_BYTES: usize = 256 << 10;

/// `buffer_read`.
pub(crate) fn cached() -> Vec<Row> {
    let folder = folder();
    let (queue, _) = Queue::open(folder.path(), Options::default()).expect("it opens");
    let (appender, record) = (queue.appender(), payload(RECORD_BYTES));
    crate::appenders::run(&appender, 4, RECORDS / BATCH_RECORDS as u64, |appender| {
        appender.append_batch(std::iter::repeat_n(record.as_slice(), BATCH_RECORDS))
    });
    queue.close().expect("it closes");
    // Opened again, so that nothing of it is in the buffer's own memory.
    let (mut queue, _) = Queue::open(folder.path(), Options::default()).expect("it opens");
    let mut reader = queue.take_reader().expect("the first to ask");
    read_all(&mut reader, &record);
    let (mut rates, mut floors) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        reader.rewind();
        let (bytes, elapsed) = read_all(&mut reader, &record);
        rates.push(per_second(bytes, elapsed) / 1e6);
        let (bytes, elapsed) = pread_all(folder.path());
        floors.push(per_second(bytes, elapsed) / 1e6);
        println!("round {round}: read {:.0} MB/s, pread {:.0} MB/s", rates[round], floors[round]);
    }
    let from_memory = queue.stats().read_memory_records;
    assert!(from_memory < RECORDS / 100, "{from_memory} records came from the buffer's memory");
    vec![Row { name: "buffer_read", value: median(&rates), unit: "MB/s", floor: Some(median(&floors)) }]
}

fn read_all(reader: &mut Reader, record: &[u8]) -> (u64, Duration) {
    let (mut batch, mut records, mut bytes) = (Batch::new(), 0, 0);
    let start = Instant::now();
    while reader.read(&mut batch, BATCH_RECORDS, 1 << 20).expect("it reads") > 0 {
        records += batch.len() as u64;
        bytes += batch.bytes() as u64;
        assert!(batch.iter().next().is_some_and(|(_, first)| first == record), "what comes is what went in");
    }
    let elapsed = start.elapsed();
    assert_eq!(records, RECORDS);
    (bytes, elapsed)
}

fn pread_all(dir: &Path) -> (u64, Duration) {
    let files: Vec<File> = segments(dir).iter().map(|path| File::open(path).expect("a segment")).collect();
    let mut memory = vec![0; PREAD_BYTES];
    let mut read = 0;
    let start = Instant::now();
    for file in &files {
        let mut at = 0;
        loop {
            let count = file.read_at(&mut memory, at).expect("it reads");
            if count == 0 {
                break;
            }
            at += count as u64;
        }
        read += at;
    }
    (read, start.elapsed())
}
