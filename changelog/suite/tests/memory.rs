//! The smallest state on a log in memory.

use changelog_suite::{CounterSubject, MemoryBench, walk};

#[test]
fn a_counter_is_made_from_a_log_in_memory() {
    walk::<CounterSubject, _>(&mut MemoryBench::default());
}
