//! Goal: the buffer keeps within the bounds of its options, whatever is done with it.
//! Fault: random sizes of segments, bounds and records; a reader that is slow; more on disk than memory may hold.
//! Oracle: what the file system says its files take, and the kernel its memory.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use local_buffer::{AppendError, Batch, Options, Queue};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::{MIB, eventually, open, record, say, seed, turn};

const ROUNDS: u64 = 12;
/// What a backlog of any size may take of memory, and the size that is tried.
const MEMORY_BYTES_MAX: u64 = 64 * MIB;
const BACKLOG_BYTES: u64 = 600 * MIB;
/// Makes this executable the process whose memory is looked at.
const ROLE: &str = "LOCAL_BUFFER_FILLS";
const NAME: &str = "bounds::memory_does_not_grow_with_the_backlog";

#[test]
fn disk_use_never_exceeds_the_bound_by_more_than_a_segment() {
    let _turn = turn();
    let first_seed = seed();
    let mut most = 0.0_f64;
    for round in 0..ROUNDS {
        let seed = first_seed.wrapping_add(round);
        let mut random = SmallRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..3 {
            // The sizes change from opening to opening.
            let segment_bytes = 4096 * random.random_range(64..512);
            let bytes_max = segment_bytes * random.random_range(2..7) + random.random_range(0..segment_bytes);
            let options = Options { segment_bytes, bytes_max, ..Options::default() };
            // What was written under larger bounds is drained first.
            drain(dir.path(), &options);
            let used = use_at_random(dir.path(), &options, &mut random);
            assert!(used <= bytes_max + segment_bytes, "seed {seed}: {used} bytes used, the bound is {options:?}");
            most = most.max(used as f64 / bytes_max as f64);
        }
    }
    assert!(most > 0.5, "the bound was never near: {most:.2}");
    say(&format!("{} buffers: at most {most:.3} of the bound of their segments used", ROUNDS * 3));
}

fn drain(dir: &Path, options: &Options) {
    let mut queue = open(dir, options);
    let mut reader = queue.take_reader().expect("the first to ask");
    let mut batch = Batch::new();
    while reader.read(&mut batch, 10_000, 1 << 20).expect("it reads") > 0 {
        reader.acknowledge(batch.end().expect("records")).expect("they were delivered");
    }
    queue.close().expect("it closes");
}

/// Appends and reads; gives the most that the segments took.
fn use_at_random(dir: &Path, options: &Options, random: &mut SmallRng) -> u64 {
    let mut queue = open(dir, options);
    let appender = queue.appender();
    let mut reader = queue.take_reader().expect("the first to ask");
    let (mut batch, mut most) = (Batch::new(), 0);
    for step in 0..150 {
        let bytes = random.random_range(0..appender.record_bytes_max().min(200_000));
        match appender.append(&record(step, bytes)) {
            Ok(pending) => drop(pending.wait(&appender).expect("it becomes durable")),
            Err(AppendError::Full { .. } | AppendError::Busy) => {
                reader.read(&mut batch, 20, 1 << 20).expect("it reads");
                if let Some(end) = batch.end() {
                    reader.acknowledge(end).expect("they were delivered");
                    reader.sync_floor().expect("the floor is written");
                }
            }
            Err(error) => panic!("{error}"),
        }
        most = most.max(used(dir));
    }
    most
}

/// Bytes that the segments of a buffer take, those that are being made counted.
fn used(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join("segments")).expect("the segments");
    // One that is renamed or removed meanwhile is counted at the next look.
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|meta| meta.blocks() * 512).sum()
}

#[test]
fn memory_does_not_grow_with_the_backlog() {
    let _turn = turn();
    if let Some(dir) = std::env::var_os(ROLE) {
        fill_open_and_read(Path::new(&dir));
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(std::env::current_exe().expect("this executable"));
    command.args(["--exact", NAME, "--nocapture"]).env(ROLE, dir.path());
    let output = command.output().expect("this executable starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let peak: u64 =
        text.split("peak ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("a number");
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB of memory", peak / MIB);
    say(&format!("memory with {} MiB of backlog: {} MiB at most", BACKLOG_BYTES / MIB, peak / MIB));
}

/// Fills a buffer while nobody reads, opens it again and reads it; then says what memory it took at most.
fn fill_open_and_read(dir: &Path) {
    let options = Options::default();
    let queue = open(dir, &options);
    let appender = queue.appender();
    let batch: Vec<_> = (0..256).map(|number| record(number, 4_000)).collect();
    let mut appended = 0;
    while appended < BACKLOG_BYTES {
        let taken = eventually("an append is taken", || appender.append_batch(batch.iter().map(Vec::as_slice)).ok());
        appended += 256 * 4_000;
        if appended + 256 * 4_000 >= BACKLOG_BYTES {
            taken.wait(&appender).expect("it becomes durable");
        }
    }
    let records = queue.stats().appended_records;
    queue.close().expect("it closes");
    let (mut queue, _) = Queue::open(dir, options).expect("it opens");
    let mut reader = queue.take_reader().expect("the first to ask");
    let (mut out, mut read) = (Batch::new(), 0);
    while reader.read(&mut out, 10_000, 1 << 20).expect("it reads") > 0 {
        read += out.len() as u64;
        reader.acknowledge(out.end().expect("records")).expect("they were delivered");
    }
    assert_eq!(read, records);
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    println!("peak {}", kib * 1024);
}
