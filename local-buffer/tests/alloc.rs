//! Appending and reading allocate nothing once the buffer is warm.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use local_buffer::{Batch, Options, Queue, Reader};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn note() {
    // A thread that is ending has no counter any more.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

#[expect(unsafe_code, reason = "a global allocator can be written in no other way")]
// SAFETY: every call is passed on unchanged to the system allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 300;
const RECORDS: usize = 50;

fn read_all(reader: &mut Reader, batch: &mut Batch) -> usize {
    let mut read = 0;
    while reader.read(batch, 10_000, 1 << 20).unwrap() > 0 {
        read += batch.len();
        reader.acknowledge(batch.end().unwrap()).unwrap();
    }
    read
}

#[test]
fn append_and_read_allocate_nothing_once_warm() {
    let dir = tempfile::tempdir().unwrap();
    let (mut queue, _) = Queue::open(dir.path(), Options::default()).unwrap();
    let appender = queue.appender();
    let mut reader = queue.take_reader().unwrap();
    let mut batch = Batch::new();
    let records: Vec<Vec<u8>> = (0..RECORDS).map(|number| vec![number as u8; number * 40]).collect();
    let mut before = 0;
    let mut read = 0;
    for round in 0..ROUNDS {
        if round == ROUNDS / 10 {
            before = count();
        }
        for record in &records {
            let _ = appender.append(record).unwrap();
        }
        let pending = appender.append_batch(records.iter().map(Vec::as_slice)).unwrap();
        pending.wait(&appender).unwrap();
        assert!(reader.wait(Duration::from_secs(30)));
        read += read_all(&mut reader, &mut batch);
    }
    assert_eq!(count() - before, 0, "allocations of the appending and reading thread");
    assert_eq!(read, ROUNDS * RECORDS * 2);
    assert_eq!(queue.stats().read_memory_records, read as u64, "a reader that keeps up reads from memory");
    assert!(count() > 0, "the counter counts");
}
