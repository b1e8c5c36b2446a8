//! The suite of every log and every state, with an index on a log in memory.

use changelog_suite::{MemoryBench, walk};

use crate::subject::IndexSubject;

#[test]
fn an_index_is_made_from_a_log_in_memory() {
    walk::<IndexSubject, _>(&mut MemoryBench::default());
}
