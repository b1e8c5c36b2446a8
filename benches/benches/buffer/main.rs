//! The local buffer beside the disk it writes to. Rows:
//!
//! - `buffer_append_1k`: records a second of 64 appenders of 1 KiB, each waiting for its sync, beside a bare loop that
//!   writes and syncs the very groups that the buffer wrote, read back from its files, with the same flags;
//! - `buffer_append_batch`: batches of 1 MB, beside raw sequential writes and syncs of 4 MiB;
//! - `buffer_read`: checksummed reads from the page cache, beside `pread` of the same files;
//! - `buffer_open_10g_s`, `buffer_open_10g_memory`: an opening with 10 GB undrained, by a process of its own, nothing of
//!   it in the page cache;
//! - `buffer_slow_disk`, `buffer_slow_disk_p99`: 2,000 appenders of 1 KiB on a disk whose sync takes 20 ms.
//!
//! What is compared takes turns; the figures are medians over the rounds. Run some by name: `--bench buffer -- read`.

mod appenders;
mod open;
mod read;
mod ring;
mod slow;
mod write;

use std::time::Duration;

use benches::record::{self, Row};
use benches::server;

/// Rounds of each comparison.
const ROUNDS: usize = 5;

/// Measures and gives its rows.
type Bench = fn() -> Vec<Row>;

fn main() {
    if let Some(role) = server::role() {
        return open::serve(&role);
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benches: [(&str, Bench); 5] = [
        ("append_1k", write::small),
        ("append_batch", write::batches),
        ("read", read::cached),
        ("slow_disk", slow::appenders),
        ("open", open::large),
    ];
    let chosen =
        benches.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted)));
    let rows: Vec<Row> = chosen.flat_map(|(_, bench)| bench()).collect();
    record::keep(&rows);
}

/// The middle one of some figures.
fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}
