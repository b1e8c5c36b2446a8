//! Goal: nothing acknowledged is lost when the process dies, on either way to the disk.
//! Fault: `kill -9` of a process that appends and reads, at random moments; then the volume is mounted anew.
//! Oracle: each line the process wrote says up to which record it was told "durable", or has acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use local_buffer::{Batch, DirectIo, Queue};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::volume::Volume;
use crate::{MIB, WAYS, eventually, open, options, read_numbers, record, say, seed, turn};

/// Makes this executable the process that is killed: the folder of the buffer, and the way to the disk.
const ROLE: &str = "LOCAL_BUFFER_APPENDS_IN";
const WAY: &str = "LOCAL_BUFFER_WAY";
const NAME: &str = "kill::a_killed_process_loses_nothing_that_was_acknowledged";
const KILLS: u32 = 8;
const KILLS_CHAOS: u32 = 100;

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let _turn = turn();
    if let Some(dir) = std::env::var_os(ROLE) {
        let way = if std::env::var(WAY).as_deref() == Ok("Off") { DirectIo::Off } else { DirectIo::Auto };
        append_until_killed(&PathBuf::from(dir), way);
    }
    let kills = if std::env::var_os("TESTS_CHAOS").is_some() { KILLS_CHAOS } else { KILLS };
    for way in WAYS {
        let Some(volume) = Volume::ext4(64 * MIB) else { return };
        let dir = volume.buffer();
        let mut durable_in_all = 0;
        for _ in 0..kills {
            let (durable, done) = run_and_kill(&dir, way);
            volume.remount();
            let (mut queue, report) = Queue::open(&dir, options(way)).expect("it opens after a kill");
            assert!(report.next_id.get() >= durable, "{durable} records were durable: {report:?}");
            assert!(report.floor_id.get() <= done, "the floor is ahead of what was acknowledged, {done}: {report:?}");
            let mut reader = queue.take_reader().expect("the first to ask");
            let (next, _) = read_numbers(&mut reader, report.floor_id.get());
            assert!(next >= durable, "{durable} records were durable, {next} are there");
            durable_in_all = durable;
        }
        let direct = open(&dir, &options(way)).stats().direct_io;
        assert_eq!(direct, way == DirectIo::Auto, "ext4 takes direct writes");
        say(&format!("ext4 {way:?}: {kills} kills, {durable_in_all} records durable, 0 lost"));
    }
}

/// Starts the process, kills it at a random moment; gives what it was told is durable, and what it has acknowledged.
fn run_and_kill(dir: &Path, way: DirectIo) -> (u64, u64) {
    let mut command = Command::new(std::env::current_exe().expect("this executable"));
    command.args(["--exact", NAME, "--nocapture"]).env(ROLE, dir).env(WAY, format!("{way:?}"));
    let mut child = command.stdout(Stdio::piped()).spawn().expect("this executable starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let lasts = Duration::from_millis(SmallRng::seed_from_u64(seed()).random_range(5..300));
    let mut said = (0, 0);
    let mut begun = None;
    let mut killed = false;
    // What it said before it died is read to the end.
    while let Some(Ok(line)) = lines.next() {
        let Some(numbers) = line.split_once("durable ") else { continue };
        let (durable, done) = numbers.1.split_once(" done ").expect("two numbers");
        said = (durable.parse().expect("a number"), done.parse().expect("a number"));
        let begun = *begun.get_or_insert_with(Instant::now);
        if !killed && begun.elapsed() > lasts {
            child.kill().expect("it runs");
            killed = true;
        }
    }
    assert!(killed, "it ended by itself");
    child.wait().expect("it was a child");
    said
}

/// Appends numbered records, reads and acknowledges some of them, and says how far it is, for ever.
fn append_until_killed(dir: &Path, way: DirectIo) -> ! {
    let mut queue = open(dir, &options(way));
    let appender = queue.appender();
    let mut reader = queue.take_reader().expect("the first to ask");
    let mut batch = Batch::new();
    // Ids and numbers are the same: nothing is ever damaged here.
    let mut number = queue.stats().next_id;
    let mut random = SmallRng::seed_from_u64(seed());
    let mut out = std::io::stdout();
    loop {
        let records: Vec<_> = (0..random.random_range(1..60))
            .map(|index| record(number + index, random.random_range(8..3_000)))
            .collect();
        let taken = eventually("an append is taken", || {
            // Reading makes room.
            reader.read(&mut batch, 1000, 1 << 20).expect("it reads");
            let end = batch.end();
            if let Some(end) = end {
                // Said first: the floor may be on disk before the next line is.
                writeln!(out, "durable {number} done {}", end.get()).expect("somebody listens");
                reader.acknowledge(end).expect("it was delivered");
            }
            appender.append_batch(records.iter().map(Vec::as_slice)).ok()
        });
        taken.wait(&appender).expect("it becomes durable");
        number += records.len() as u64;
        writeln!(out, "durable {number} done {}", reader.position()).expect("somebody listens");
    }
}
