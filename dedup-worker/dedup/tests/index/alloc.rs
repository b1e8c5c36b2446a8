//! A warm index decides and commits without allocating.

#![expect(unsafe_code, reason = "a counting allocator is an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use changelog::Point;
use dedup::{Candidate, Options};
use tempfile::TempDir;

use crate::rig::{digest, open};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_index_decides_and_commits_without_allocating() {
    const BATCH: u64 = 1_000;
    let dir = TempDir::new().unwrap();
    let options = Options { open_digests_max: 50_000, ..Options::default() };
    let mut index = open(dir.path(), &options).unwrap();
    let mut verdicts = Vec::new();
    let mut candidates = Vec::new();
    let mut allocations = 0;
    for batch in 0..140 {
        // Half of a batch repeats the one before.
        let names = batch * BATCH / 2..batch * BATCH / 2 + BATCH;
        candidates.clear();
        candidates.extend(names.map(|name| Candidate { digest: digest(name), received_at_ms: 100_000 }));
        let before = ALLOCATIONS.get();
        let decided = index.decide(&candidates, 100_000, 100_000, &mut verdicts).unwrap();
        let expected = if batch == 0 { BATCH } else { BATCH / 2 };
        let published = decided.entries().len() as u64;
        index.commit(decided, Point { next_offset: batch + 1, leader_epoch: -1, checksum: 0 });
        // The first hundred batches fill the table once and seal it.
        if batch > 101 {
            allocations += ALLOCATIONS.get() - before;
        }
        // Repeats that meanwhile lie in a run are read, and reading allocates: that is one batch.
        assert_eq!(published, expected, "batch {batch}");
        index.maintain(100_000).unwrap();
    }
    let stats = index.stats();
    assert_eq!((stats.runs, allocations), (1, 0), "{stats:?}");
}
