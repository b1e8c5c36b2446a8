//! Random lives of a buffer against the plainest queue there is.
//!
//! Goal: what was durable and not acknowledged comes once it is read, in order and unchanged, whatever happens.
//! Faults: power cuts and kills at any call, failed syncs, short writes, full and broken disks, flipped bits.
//! Oracle: [`Promise`](super::oracle::Promise), a map of the records.
//!
//! A seed gives a list of operations. Most seeds run without threads, where the same list makes the same calls to the
//! disk in the same order; what still differs from run to run is the buffer's random name and the clock, which change
//! checksums and no decision. Some run with the queue's own threads: there the list is the same and its interleaving is
//! not. A list that fails is shrunk to the shortest that still does.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::AppendError;
use crate::driven::small_bounds;
use crate::options::{Bounds, SyncPolicy};
use crate::proof::scene::{Engine, Scene};
use crate::proof::shrink::{fails, shortest};
use crate::proof::{chaos, count, number};
use crate::sim::lock;
use crate::sim::{EIO, ENOSPC, Fault, SimDisk};

/// Seeds without threads, of `make test` and of `make chaos`; one in ten as many with threads.
const SEEDS: (u64, u64) = (1_000, 10_000);
/// One seed in so many runs with threads.
const THREADS_EVERY: u64 = 11;

/// One thing that is done to a buffer. A list of them is a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Appends a record, or a batch.
    Append(Vec<usize>),
    /// The writer writes one group.
    WriteGroup,
    /// Waits until everything is durable, or has failed.
    Sync,
    /// Appends records until the segment is full.
    Roll,
    Read {
        records: usize,
        bytes: usize,
    },
    /// Acknowledges so many hundredths of what was read.
    Acknowledge(u64),
    SyncFloor,
    MakeSpare,
    Rewind,
    /// Sets the last record that was read aside.
    Quarantine,
    /// The disk has so many bytes; `None`: as many as one likes.
    Capacity(Option<u64>),
    /// The call after so many more fails.
    Fail {
        calls: u64,
        code: i32,
        reached: u8,
    },
    /// The power goes after so many more changing calls, and comes back with what these dice say.
    CutAfter(u64),
    Cut(u64),
    Kill,
    Close,
    /// A bit of a file is flipped while nobody has it open: which file, which bit, in millionths.
    Flip {
        file: usize,
        at: u64,
    },
}

/// What a seed stands for.
pub(super) struct Life {
    pub(super) direct: bool,
    pub(super) bounds: Bounds,
    pub(super) engine: Engine,
    pub(super) ops: Vec<Op>,
}

impl Life {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let engine = if seed % THREADS_EVERY == THREADS_EVERY - 1 { Engine::Threads } else { Engine::Steps };
        let mut bounds = small_bounds(random.random_range(6..40), random.random_range(2..6));
        if random.random_bool(0.2) {
            bounds.sync = SyncPolicy::EveryAppend;
        }
        let direct = random.random_bool(0.5);
        let count = random.random_range(10..250);
        // A quiet disk shows other things than a broken one.
        let trouble = random.random_range(0..4);
        let flips = random.random_bool(0.3);
        let ops = (0..count).map(|_| op(&mut random, trouble, flips)).collect();
        Self { direct, bounds, engine, ops }
    }
}

fn op(random: &mut SmallRng, trouble: u32, flips: bool) -> Op {
    match random.random_range(0..100 + 6 * trouble) {
        0..30 => Op::Append(vec![size(random)]),
        30..38 => Op::Append((0..random.random_range(2..20)).map(|_| size(random) / 4).collect()),
        38..50 => Op::WriteGroup,
        50..56 => Op::Sync,
        56..58 => Op::Roll,
        58..72 => Op::Read { records: random.random_range(1..50), bytes: random.random_range(1..60_000) },
        72..80 => {
            Op::Acknowledge(*[100, 100, 50, random.random_range(0..100)].get(random.random_range(0..4)).unwrap_or(&0))
        }
        80..84 => Op::SyncFloor,
        84..88 => Op::MakeSpare,
        88..90 => Op::Rewind,
        90 => Op::Quarantine,
        91..94 => Op::Close,
        94..96 => Op::Kill,
        96..98 => Op::Cut(random.random()),
        98 => Op::CutAfter(random.random_range(0..30)),
        99 => {
            if flips {
                Op::Flip { file: random.random_range(0..100), at: random.random_range(0..1_000_000) }
            } else {
                Op::Capacity(None)
            }
        }
        _ => match random.random_range(0..6) {
            0 => Op::Capacity(Some(random.random_range(30_000..400_000))),
            1 => Op::Capacity(None),
            2 => Op::CutAfter(random.random_range(0..30)),
            _ => Op::Fail {
                calls: random.random_range(0..20),
                code: if random.random_bool(0.6) { EIO } else { ENOSPC },
                reached: *[0, 255, random.random()].get(random.random_range(0..3)).unwrap_or(&0),
            },
        },
    }
}

fn size(random: &mut SmallRng) -> usize {
    match random.random_range(0..10) {
        0 => 0,
        1..=6 => random.random_range(1..600),
        7 | 8 => random.random_range(1..5_000),
        _ => random.random_range(1..16_000),
    }
}

/// What a life showed.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) records: u64,
    pub(super) missing: u64,
    openings: u64,
}

/// Lives it.
pub(super) fn live(life: &Life) -> Shown {
    let mut scene = Scene::new(SimDisk::new(life.direct), life.bounds, life.engine);
    let mut runner = Runner { scene: &mut scene, fill: 0, flips: 0, openings: 0, trouble: false };
    for op in &life.ops {
        runner.step(op);
    }
    runner.end()
}

struct Runner<'a> {
    scene: &'a mut Scene,
    fill: u64,
    flips: usize,
    openings: u64,
    /// Something was done to the disk that may make an opening fail.
    trouble: bool,
}

impl Runner<'_> {
    fn step(&mut self, op: &Op) {
        match op {
            Op::Flip { file, at } => return self.flip(*file, *at),
            Op::Cut(seed) => return self.scene.cut(*seed),
            Op::Kill => return self.scene.kill(),
            Op::Close => {
                self.scene.close();
                return;
            }
            Op::Capacity(bytes) => {
                self.trouble |= bytes.is_some();
                return self.scene.disk.set_capacity(*bytes);
            }
            Op::Fail { calls, code, reached } => {
                self.trouble = true;
                return self.scene.disk.fail_after(*calls, Fault { code: *code, reached: *reached });
            }
            Op::CutAfter(calls) => return self.scene.disk.cut_after(*calls),
            _ => {}
        }
        if self.scene.disk.is_off() {
            self.fill += 1;
            self.scene.cut(self.fill);
        }
        if !self.scene.is_open() && !self.open() {
            return;
        }
        let scene = &mut *self.scene;
        match op {
            Op::Append(sizes) => drop(self.append(sizes)),
            Op::WriteGroup => scene.write_group(),
            Op::Sync => scene.write_all(),
            Op::Roll => self.roll(),
            Op::Read { records, bytes } => drop(scene.read(*records, *bytes)),
            Op::Acknowledge(hundredths) => scene.acknowledge(*hundredths),
            Op::SyncFloor => drop(scene.sync_floor()),
            Op::MakeSpare => drop(scene.make_spare()),
            Op::Rewind => scene.rewind(),
            Op::Quarantine => scene.quarantine(),
            _ => unreachable!("done above"),
        }
    }

    fn open(&mut self) -> bool {
        self.openings += 1;
        match self.scene.open() {
            Ok(_) => true,
            Err(error) => {
                assert!(self.trouble || self.scene.disk.is_off(), "it does not open: {error}");
                false
            }
        }
    }

    fn append(&mut self, sizes: &[usize]) -> Result<(), AppendError> {
        let mut record = |bytes: &usize| {
            self.fill += 1;
            let mut random = SmallRng::seed_from_u64(self.fill);
            let mut record = vec![0; (*bytes).min(self.scene.bounds.record_bytes_max)];
            random.fill(&mut record[..]);
            Arc::from(record)
        };
        let records: Vec<Arc<[u8]>> = sizes.iter().map(&mut record).collect();
        let taken = self.scene.append(&records);
        match &taken {
            Err(AppendError::TooLarge { .. }) => assert!(records.len() > 1),
            Err(AppendError::Closed) => assert!(self.trouble || self.scene.disk.is_off(), "closed"),
            _ => {}
        }
        taken
    }

    fn roll(&mut self) {
        let bytes = self.scene.bounds.record_bytes_max / 3;
        for _ in 0..4 {
            let _ = self.append(&[bytes]);
            self.scene.write_group();
        }
    }

    fn flip(&mut self, file: usize, at: u64) {
        if self.scene.is_open() || self.scene.disk.is_off() {
            return;
        }
        // What was not synced would be flipped on one side only.
        self.scene.cut(at);
        let names: Vec<_> =
            self.scene.disk.names().into_iter().filter(|name| !name.starts_with("quarantine/")).collect();
        let Some(name) = names.get(file % names.len().max(1)) else { return };
        self.scene.disk.tamper(name, |bytes| {
            let bit = bytes.len() as u64 * 8 * at / 1_000_000;
            let byte = (bit / 8) as usize;
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        });
        self.flips += 1;
        let promise = &mut lock(&self.scene.log).promise;
        promise.damage += 1;
        promise.floor_lost |= name == "floor";
        self.trouble = false;
    }

    /// Everything that must still be there comes, and it goes on.
    fn end(&mut self) -> Shown {
        self.scene.disk.calm();
        if self.scene.disk.is_off() {
            self.scene.cut(1);
        } else if self.scene.is_open() {
            self.scene.kill();
        }
        self.trouble = false;
        assert!(self.open());
        self.scene.read_all();
        self.scene.read_all();
        self.scene.check_quarantine();
        let log = lock(&self.scene.log);
        let (records, missing) = (log.promise.existing(), log.promise.missing() as u64);
        drop(log);
        assert!(
            missing == 0 || self.scene.disk.names().iter().any(|name| name.starts_with("quarantine/")),
            "{missing} lost and nothing set aside"
        );
        Shown { records, missing, openings: self.openings }
    }
}

#[test]
fn random_lives_lose_nothing_durable_invent_nothing_and_keep_the_order() {
    let seeds = number("BUFFER_MODEL_SEEDS").unwrap_or(if chaos() { SEEDS.1 } else { SEEDS.0 });
    let first = number("BUFFER_MODEL_FIRST").unwrap_or(0);
    let mut shown = Shown::default();
    let mut ops = 0;
    for seed in first..first + seeds * THREADS_EVERY / (THREADS_EVERY - 1) {
        let life = Life::of(seed);
        ops += life.ops.len();
        let Ok(of_this) = fails(&life) else {
            let shortest = shortest(life);
            panic!(
                "seed {seed} fails; BUFFER_MODEL_FIRST={seed} BUFFER_MODEL_SEEDS=1 runs it again.\nShortest:\n{shortest}"
            );
        };
        shown.records += of_this.records;
        shown.missing += of_this.missing;
        shown.openings += of_this.openings;
    }
    let Shown { records, missing, openings } = shown;
    assert!(records > seeds * 10, "the lives were too short: {records} records");
    count(&format!(
        "{seeds} seeds without threads and {} with: {ops} operations, {openings} openings, {records} durable records, \
         {missing} of them hit by a flipped bit: 0 lost otherwise, 0 invented, 0 reordered",
        seeds / (THREADS_EVERY - 1)
    ));
}
