//! Opening a buffer with 10 GB that nobody has read.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use benches::disk::payload;
use benches::record::Row;
use benches::server::ROLE_VARIABLE;
use local_buffer::{Batch, Options, Queue};

use crate::ring::{folder, segments};
use crate::{ROUNDS, median};

const BACKLOG_BYTES: u64 = 10_000_000_000;
/// Left free on the disk; with less room the backlog is smaller, and said to be.
const SPARE_BYTES: u64 = 4 << 30;
const RECORD_BYTES: usize = 4_000;
const BATCH_RECORDS: usize = 500;
/// What the process that opens it reads of it before its memory is looked at.
const READ_BYTES: usize = 500_000_000;

/// `buffer_open_10g_s` and `buffer_open_10g_memory`.
pub(crate) fn large() -> Vec<Row> {
    let folder = folder();
    let stat = rustix::fs::statvfs(folder.path()).expect("the disk");
    let room = (stat.f_bavail * stat.f_frsize).saturating_sub(SPARE_BYTES);
    let backlog = BACKLOG_BYTES.min(room);
    if backlog < BACKLOG_BYTES {
        println!("only {backlog} bytes fit on this disk: the figures of the opening are of a smaller backlog");
    }
    let (queue, _) = Queue::open(folder.path(), options()).expect("it opens");
    let (appender, record) = (queue.appender(), payload(RECORD_BYTES));
    let batches = backlog / (RECORD_BYTES * BATCH_RECORDS) as u64;
    crate::appenders::run(&appender, 4, batches, |appender| {
        appender.append_batch(std::iter::repeat_n(record.as_slice(), BATCH_RECORDS))
    });
    queue.close().expect("it closes");
    let (mut times, mut peaks) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        forget_cached(folder.path());
        let (seconds, peak) = opened_elsewhere(folder.path(), batches * BATCH_RECORDS as u64);
        println!("round {round}: {} MB opened in {seconds:.3} s, {:.0} MiB of memory", backlog / 1_000_000, peak);
        times.push(seconds);
        peaks.push(peak);
    }
    vec![
        Row { name: "buffer_open_10g_s", value: median(&times), unit: "s", floor: None },
        Row { name: "buffer_open_10g_memory", value: median(&peaks), unit: "MiB", floor: None },
    ]
}

fn options() -> Options {
    Options { bytes_max: 32 << 30, ..Options::default() }
}

/// Drops the files from the page cache.
fn forget_cached(dir: &Path) {
    for path in segments(dir).into_iter().chain([dir.join("floor"), dir.join("meta")]) {
        let file = fs::File::open(path).expect("a file of the buffer");
        file.sync_all().expect("it is synced");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice is taken");
    }
}

/// Seconds of the opening, and the most memory that process took, MiB.
fn opened_elsewhere(dir: &Path, records: u64) -> (f64, f64) {
    let mut command = Command::new(std::env::current_exe().expect("this executable"));
    let output = command.env(ROLE_VARIABLE, format!("{records} {}", dir.display())).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let (seconds, peak) = text.trim().split_once(' ').expect("two numbers");
    (seconds.parse().expect("seconds"), peak.parse().expect("MiB"))
}

/// The process that opens it: `RECORDS FOLDER`.
pub(crate) fn serve(role: &str) {
    let (records, dir) = role.split_once(' ').expect("a count and a folder");
    let start = Instant::now();
    let (mut queue, report) = Queue::open(dir, options()).expect("it opens");
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(report.floor_id.get(), 0);
    assert_eq!(report.next_id.get(), records.parse::<u64>().expect("a count"), "all of it is there");
    let mut reader = queue.take_reader().expect("the first to ask");
    let (mut batch, mut read) = (Batch::new(), 0);
    while read < READ_BYTES && reader.read(&mut batch, 10_000, 1 << 20).expect("it reads") > 0 {
        read += batch.bytes();
    }
    let status = fs::read_to_string("/proc/self/status").expect("the kernel says it");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    let kib: f64 = peak.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    println!("{seconds} {}", kib / 1024.0);
}
