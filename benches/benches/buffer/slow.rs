//! A slow disk: a file system in memory whose syncs take 20 ms, in a process of its own, under the real buffer.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use benches::disk::payload;
use benches::record::Row;
use local_buffer::{Appender, Options, Queue};

use crate::appenders;
use crate::ring::folder;
use crate::{ROUNDS, median, per_second};

const SYNC: Duration = Duration::from_millis(20);
const APPENDERS: usize = 2_000;
const RECORD_BYTES: usize = 1 << 10;
const WARM_UP_APPENDS: u64 = 10_000;
const APPENDS: u64 = 200_000;

/// `buffer_slow_disk` and `buffer_slow_disk_p99`.
pub(crate) fn appenders() -> Vec<Row> {
    let folder = folder();
    let Some(_disk) = SlowDisk::mount(folder.path()) else { return Vec::new() };
    let (mut rates, mut p99s) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let options = Options { bytes_max: 1 << 30, ..Options::default() };
        let (queue, _) = Queue::open(folder.path().join(format!("{round}")), options).expect("it opens");
        let (appender, record) = (queue.appender(), payload(RECORD_BYTES));
        let append = |appender: &Appender| appender.append(&record);
        appenders::run(&appender, APPENDERS, WARM_UP_APPENDS, append);
        let seen = appenders::run(&appender, APPENDERS, APPENDS, append);
        let stats = queue.stats();
        assert_eq!(stats.durable_end, WARM_UP_APPENDS + APPENDS);
        let sync = stats.write_ns as f64 / stats.groups as f64 / 1e6;
        assert!(sync >= SYNC.as_secs_f64() * 1e3, "a write took {sync:.1} ms: the disk is not slow");
        rates.push(per_second(APPENDS, seen.elapsed));
        p99s.push(seen.percentile(0.99).as_secs_f64() * 1e3);
        println!(
            "round {round}: {:.0} records/s, {} groups, {sync:.1} ms a write, p50 {:.1?}, p99 {:.1?}",
            rates[round],
            stats.groups,
            seen.percentile(0.5),
            seen.percentile(0.99)
        );
        queue.close().expect("it closes");
        std::fs::remove_dir_all(folder.path().join(format!("{round}"))).expect("it is memory");
    }
    vec![
        Row { name: "buffer_slow_disk", value: median(&rates), unit: "records/s", floor: None },
        // Beside the time of one sync.
        Row { name: "buffer_slow_disk_p99", value: median(&p99s), unit: "ms", floor: Some(SYNC.as_secs_f64() * 1e3) },
    ]
}

/// The process; the disk goes with it.
struct SlowDisk(Child);

impl SlowDisk {
    fn mount(path: &Path) -> Option<Self> {
        let mut command = Command::new(program());
        command.arg(path).arg(SYNC.as_millis().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program was built");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says something");
        if line.trim() != "mounted" {
            println!("SKIPPED buffer_slow_disk: there is no FUSE here");
            let _ = child.wait();
            return None;
        }
        Some(Self(child))
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Builds the disk, which is a workspace of its own; gives the program.
fn program() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../local-buffer/tests/forgetful-disk/Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").to_owned();
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    let status = cargo.arg("--target-dir").arg(&target).status().expect("cargo runs");
    assert!(status.success(), "the slow disk does not build: {status}");
    target.join("release/forgetful-disk")
}
