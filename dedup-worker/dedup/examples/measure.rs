//! Fills a window, then decides against it, and prints what each id costs (making its name and digest included).
//!
//! `measure [IDS] [RUN] [DIR]`: ids in the window (20,000,000), open digests a run (2,097,152), where (a temporary
//! directory). 30 days of equal size; then a tenth of that again with 1 % duplicates. Every verdict is checked.

use std::path::PathBuf;
use std::time::Instant;

use changelog::{LogId, Point};
use dedup::{Candidate, Index, Options, Verdict};
use wire::changelog::Genesis;
use wire::{Digest, DigestSeed, LaneCount, Window};

const BATCH: u64 = 10_000;
const DAYS: u64 = 30;
const DAY_MS: u64 = wire::window::DAY_MS;
const FIRST_DAY: u64 = 20_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let ids = number(20_000_000);
    let options = Options { open_digests_max: number(1 << 21) as usize, ..Options::default() };
    let dir = arguments.next().map_or_else(|| std::env::temp_dir().join("turnstile-measure"), PathBuf::from);
    Index::destroy(&dir).expect("an index or nothing");

    let genesis = Genesis { lanes: LaneCount::ONE, seed: DigestSeed(7), window: Window::default(), created_ms: 0 };
    let open = || Index::open(&dir, &genesis, LogId([1; 16]), &options).expect("the index opens");
    let mut index = Loop { partition: open(), offset: 0, candidates: Vec::new(), verdicts: Vec::new(), decide_s: 0.0 };

    let clock = Clock::start();
    let mut slowest_ms = 0.0_f64;
    for first in (0..ids).step_by(BATCH as usize) {
        let now = (FIRST_DAY + first * DAYS / ids) * DAY_MS;
        let names = first..(first + BATCH).min(ids);
        assert_eq!(index.pass(names, now), 0, "every id is new");
        slowest_ms = slowest_ms.max(index.maintain(now));
    }
    clock.print("fill", ids);
    println!("  of it deciding {:8.1} ns/id", index.decide_s * 1e9 / ids as f64);
    println!("  longest sealing {slowest_ms:.0} ms on the clock");
    print_stats(&index.partition);

    index.partition.seal().expect("sealed");
    drop(index.partition);
    let clock = Clock::start();
    index.partition = open();
    clock.print("open", ids);
    print_stats(&index.partition);

    // 1 in 100 repeats an id from anywhere in the window.
    let more = ids / 10;
    let now = (FIRST_DAY + DAYS - 1) * DAY_MS + DAY_MS / 2;
    let clock = Clock::start();
    let (mut repeats, mut found) = (0, 0);
    for first in (0..more).step_by(BATCH as usize) {
        let names = (first..first + BATCH).map(|n| if n % 100 == 99 { n.wrapping_mul(7_919) % ids } else { ids + n });
        repeats += BATCH / 100;
        found += index.pass(names, now);
        index.maintain(now);
    }
    clock.print("decide with 1 % duplicates", more);
    assert_eq!(found, repeats, "each repeat is found, and nothing else");
    let stats = index.partition.stats();
    println!(
        "  let through {:.3} %, reads {:.3} %, hits {:.3} %",
        100.0 * stats.filter_passes as f64 / stats.candidates as f64,
        100.0 * stats.store_reads as f64 / stats.candidates as f64,
        100.0 * stats.store_hits as f64 / stats.candidates as f64,
    );

    let clock = Clock::start();
    let looked_up = 200_000;
    for n in 0..looked_up {
        assert!(index.partition.lookup(digest(n * 7_919 % ids)).expect("readable").is_some());
    }
    clock.print("look up known ids", looked_up);
    drop(index.partition);
    Index::destroy(&dir).expect("removed");
}

/// The caller's side of the index.
struct Loop {
    partition: Index,
    offset: u64,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
    decide_s: f64,
}

impl Loop {
    /// Decides and commits a batch; how many duplicates there were.
    fn pass(&mut self, names: impl Iterator<Item = u64>, now_ms: u64) -> u64 {
        self.candidates.clear();
        self.candidates.extend(names.map(|name| Candidate { digest: digest(name), received_at_ms: now_ms as i64 }));
        let start = cpu_s();
        let batch =
            self.partition.decide(&self.candidates, now_ms as i64, now_ms as i64, &mut self.verdicts).expect("decided");
        self.decide_s += cpu_s() - start;
        let duplicates = self.candidates.len() - batch.entries().len();
        self.offset += 1;
        self.partition.commit(batch, Point { next_offset: self.offset, leader_epoch: 0, checksum: 0 });
        duplicates as u64
    }

    /// Milliseconds that sealing took, if there was any.
    fn maintain(&mut self, now_ms: u64) -> f64 {
        let start = Instant::now();
        self.partition.maintain(now_ms as i64).expect("maintained");
        start.elapsed().as_secs_f64() * 1e3
    }
}

struct Clock {
    wall: Instant,
    cpu_s: f64,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), cpu_s: cpu_s() }
    }

    fn print(self, what: &str, ids: u64) {
        let cpu_s = cpu_s() - self.cpu_s;
        println!(
            "{what:<30} {:8.1} ns/id {:6.2} M ids/s of CPU; {:6.2} s of CPU, {:6.2} s",
            cpu_s * 1e9 / ids as f64,
            ids as f64 / cpu_s / 1e6,
            cpu_s,
            self.wall.elapsed().as_secs_f64(),
        );
    }
}

/// CPU time of the process, which other programs on the machine do not stretch as they do the clock on the wall.
fn cpu_s() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn print_stats(partition: &Index) {
    let stats = partition.stats();
    let sealed = stats.sealed_digests.max(1) as f64;
    println!(
        "  {} runs, {:.2} B/id on disk; {} filters, {:.2} B/id; run filters {:.2} B/id; open {} ids, {:.1} B/id",
        stats.runs,
        stats.sealed_bytes as f64 / sealed,
        stats.filters,
        stats.filter_bytes as f64 / sealed,
        stats.run_filter_bytes as f64 / sealed,
        stats.open_digests,
        stats.open_bytes as f64 / stats.open_digests.max(1) as f64,
    );
}

/// A digest as good as random, of a number.
fn digest(name: u64) -> Digest {
    let mix = |mut word: u64| {
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    };
    let upper = mix(name.wrapping_add(0x9e37_79b9_7f4a_7c15));
    Digest(u128::from(upper) << 64 | u128::from(mix(upper ^ 0x5851_f42d_4c95_7f2d)))
}
