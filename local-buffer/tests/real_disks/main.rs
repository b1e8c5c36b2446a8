//! The buffer on file systems as they are in use: ext4 in a loop device and tmpfs, both through the page cache and past
//! it, full and not, with processes that are killed.
//!
//! Mounting takes root, and ext4 `mkfs.ext4`. Where that is not to be had the tests say so on the terminal and end;
//! with `TESTS_CHAOS=1` they fail.

mod bounds;
mod full;
mod kill;
mod volume;

use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use local_buffer::{AppendError, Appender, Batch, DirectIo, FullCause, Options, Queue, Reader, RecordId};

pub(crate) const MIB: u64 = 1 << 20;
/// Both ways to the disk.
pub(crate) const WAYS: [DirectIo; 2] = [DirectIo::Auto, DirectIo::Off];

/// Small segments under a bound that these volumes cannot reach: what is full is the disk.
pub(crate) fn options(direct_io: DirectIo) -> Options {
    Options { segment_bytes: 4 * MIB, bytes_max: 64 << 30, direct_io, ..Options::default() }
}

pub(crate) fn open(dir: &Path, options: &Options) -> Queue {
    Queue::open(dir, options.clone()).expect("it opens").0
}

/// One test at a time: a process that is being started holds the locks of its parent's files for a moment.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Repeats until it gives something; fails the test after a time that no healthy machine needs.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A record that says its number.
pub(crate) fn record(number: u64, bytes: usize) -> Vec<u8> {
    let mut record = vec![number as u8; bytes.max(8)];
    record[..8].copy_from_slice(&number.to_le_bytes());
    record
}

/// Appends until the buffer is full, waiting for each record; gives the number of the next one, and why it is full.
pub(crate) fn fill(appender: &Appender, mut number: u64, bytes: usize) -> (u64, FullCause) {
    let cause = eventually("the buffer is full", || {
        loop {
            match appender.append(&record(number, bytes)) {
                Ok(pending) => {
                    pending.wait(appender).expect("a full disk never fails a write");
                    number += 1;
                }
                Err(AppendError::Full { cause }) => return Some(cause),
                Err(AppendError::Busy) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    });
    (number, cause)
}

/// Appends one record as soon as there is room.
pub(crate) fn append_soon(appender: &Appender, record: &[u8]) {
    let pending = eventually("an append is taken", || match appender.append(record) {
        Ok(pending) => Some(pending),
        Err(AppendError::Full { .. } | AppendError::Busy) => None,
        Err(error) => panic!("{error}"),
    });
    pending.wait(appender).expect("it becomes durable");
}

/// Reads everything, checking that the numbers follow each other; gives the next number and the id after the last one.
pub(crate) fn read_numbers(reader: &mut Reader, mut next: u64) -> (u64, Option<RecordId>) {
    let (mut batch, mut end) = (Batch::new(), None);
    while reader.read(&mut batch, 10_000, 1 << 20).expect("reads never fail here") > 0 {
        for (_, bytes) in batch.iter() {
            let number = u64::from_le_bytes(bytes[..8].try_into().expect("a number"));
            assert_eq!(number, next, "records come in order, none missing and none twice");
            assert!(bytes[8..].iter().all(|byte| *byte == number as u8));
            next += 1;
        }
        end = batch.end();
    }
    (next, end)
}

/// Another number each time; a test that uses it says it when it fails.
pub(crate) fn seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system's randomness");
    u64::from_le_bytes(bytes)
}

/// Writes to the terminal also when the test passes, which hides what `println!` says.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
