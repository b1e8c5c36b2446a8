//! Deciding and committing against a window that already holds identities: one candidate in a hundred is a repeat.
//! The floor beside it is a hash set of the same digests in memory, which forgets everything when it ends.

use std::collections::HashSet;
use std::hint::black_box;

use changelog::{LogId, Point};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dedup::{Candidate, Index, Options, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use wire::changelog::Genesis;
use wire::{Digest, DigestSeed, LaneCount, Window};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DAY_MS: i64 = 86_400_000;
const NOW_MS: i64 = 20_700 * DAY_MS;
const DAYS: i64 = 28;
const DIGESTS_PER_DAY: usize = 500_000;
const BATCH: usize = 10_000;
const REPEATS: f64 = 0.01;

/// A filled window and what is needed to go on.
struct Bench {
    partition: Index,
    rng: SmallRng,
    known: Vec<Digest>,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
    offset: u64,
}

impl Bench {
    fn fill(folder: &std::path::Path) -> Self {
        let genesis =
            Genesis { lanes: LaneCount::ONE, seed: DigestSeed(1), window: Window::default(), created_ms: NOW_MS };
        let partition = Index::open(folder, &genesis, LogId([1; 16]), &Options::default()).expect("an index");
        let rng = SmallRng::seed_from_u64(7);
        let mut bench =
            Self { partition, rng, known: Vec::new(), candidates: Vec::new(), verdicts: Vec::new(), offset: 0 };
        for day in (0..DAYS).rev() {
            for _ in 0..DIGESTS_PER_DAY / BATCH {
                bench.batch(NOW_MS - day * DAY_MS);
            }
        }
        bench
    }

    /// Decides and commits a batch; the repeats must be found, all of them and nothing else.
    fn batch(&mut self, now_ms: i64) {
        self.candidates.clear();
        let mut repeats = 0;
        for _ in 0..BATCH {
            let digest = if !self.known.is_empty() && self.rng.random_bool(REPEATS) {
                repeats += 1;
                self.known[self.rng.random_range(0..self.known.len())]
            } else {
                let digest = Digest(self.rng.random());
                if self.known.len() < 1_000_000 {
                    self.known.push(digest);
                }
                digest
            };
            self.candidates.push(Candidate { digest, received_at_ms: now_ms });
        }
        let decided = self.partition.decide(&self.candidates, now_ms, now_ms, &mut self.verdicts).expect("verdicts");
        let found = self.verdicts.iter().filter(|verdict| **verdict == Verdict::Duplicate).count();
        assert_eq!(found, repeats);
        self.offset += 1;
        let end = Point { next_offset: self.offset, leader_epoch: -1, checksum: self.offset };
        self.partition.commit(decided, end);
        self.partition.maintain(now_ms).expect("room on the disk");
    }
}

fn dedup(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let mut bench = Bench::fill(folder.path());
    let stats = bench.partition.stats();
    let (sealed, bytes) = (stats.sealed_digests, stats.sealed_bytes);
    println!(
        "{sealed} sealed digests, {:.1} bytes each on disk, {:.1} MiB of filters",
        bytes as f64 / sealed as f64,
        (stats.filter_bytes + stats.run_filter_bytes) as f64 / f64::from(1 << 20)
    );
    let mut group = criterion.benchmark_group("dedup");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(20);
    group.bench_function("decide_commit", |bencher| bencher.iter(|| bench.batch(NOW_MS)));
    group.bench_function("floor_hash_set", |bencher| {
        let mut rng = SmallRng::seed_from_u64(8);
        let mut set: HashSet<u128> = (0..DAYS as usize * DIGESTS_PER_DAY).map(|_| rng.random()).collect();
        bencher.iter(|| {
            let new = (0..BATCH).filter(|_| set.insert(black_box(rng.random()))).count();
            assert_eq!(new, BATCH);
        });
    });
    group.finish();
}

criterion_group!(benches, dedup);
criterion_main!(benches);
