//! Appending beside bare writes.

use benches::disk::{BareDisk, payload};
use benches::record::Row;

use crate::appenders::{self, Seen};
use crate::ring::{ROUND_BYTES, Ring, folder};
use crate::{ROUNDS, median, per_second};

const APPENDERS: usize = 64;
const RECORD_BYTES: usize = 1 << 10;
const BATCH_RECORDS: usize = 250;
const BATCH_RECORD_BYTES: usize = 4_000;
const BATCHES_IN_FLIGHT: usize = 8;
const FLOOR_FILES: usize = 10;

/// `buffer_append_1k`.
pub(crate) fn small() -> Vec<Row> {
    let mut ring = Ring::new();
    let mut floor = BareDisk::new(folder(), FLOOR_FILES, ring.stats().direct_io);
    let (appender, record) = (ring.queue.appender(), payload(RECORD_BYTES));
    let appends = ROUND_BYTES / (RECORD_BYTES as u64 + 60);
    let (mut rates, mut floors, mut newest) = (Vec::new(), Vec::new(), ring.groups((0, 0)).0);
    for round in 0..ROUNDS {
        let before = ring.stats();
        let seen = appenders::run(&appender, APPENDERS, appends, |appender| appender.append(&record));
        let after = ring.stats();
        let groups;
        (newest, groups) = ring.groups(newest);
        assert_eq!(groups.len() as u64, after.groups - before.groups, "the files say what was written");
        assert_eq!(groups.iter().sum::<usize>() as u64, after.group_bytes - before.group_bytes);
        let bare = floor.write(&groups);
        assert_eq!(ring.drain(), appends, "every record is there");
        rates.push(per_second(appends, seen.elapsed));
        floors.push(per_second(appends, bare));
        let busy = (after.write_ns - before.write_ns) as f64 / seen.elapsed.as_nanos() as f64;
        describe(round, &seen, &groups, busy, rates[round] / floors[round]);
    }
    vec![row("buffer_append_1k", &rates, "records/s", &floors)]
}

/// `buffer_append_batch`.
pub(crate) fn batches() -> Vec<Row> {
    let mut ring = Ring::new();
    let mut floor = BareDisk::new(folder(), FLOOR_FILES, ring.stats().direct_io);
    let (appender, record) = (ring.queue.appender(), payload(BATCH_RECORD_BYTES));
    let batch_bytes = (BATCH_RECORDS * BATCH_RECORD_BYTES) as u64;
    let appends = ROUND_BYTES * 9 / 10 / batch_bytes;
    let (mut rates, mut floors, mut newest) = (Vec::new(), Vec::new(), ring.groups((0, 0)).0);
    for round in 0..ROUNDS {
        let before = ring.stats();
        let seen = appenders::run(&appender, BATCHES_IN_FLIGHT, appends, |appender| {
            appender.append_batch(std::iter::repeat_n(record.as_slice(), BATCH_RECORDS))
        });
        let after = ring.stats();
        let groups;
        (newest, groups) = ring.groups(newest);
        let largest = BareDisk::largest(appends * batch_bytes);
        let bare = floor.write(&largest);
        assert_eq!(ring.drain(), appends * BATCH_RECORDS as u64, "every record is there");
        rates.push(per_second(appends * batch_bytes, seen.elapsed) / 1e6);
        floors.push(per_second(largest.iter().sum::<usize>() as u64, bare) / 1e6);
        let busy = (after.write_ns - before.write_ns) as f64 / seen.elapsed.as_nanos() as f64;
        describe(round, &seen, &groups, busy, rates[round] / floors[round]);
    }
    vec![row("buffer_append_batch", &rates, "MB/s", &floors)]
}

fn describe(round: usize, seen: &Seen, groups: &[usize], busy: f64, ratio: f64) {
    let kib = groups.iter().sum::<usize>() as f64 / groups.len() as f64 / 1024.0;
    println!(
        "round {round}: {} appends in {:.2?}, {} groups of {kib:.0} KiB on average, p50 {:.2?}, p99 {:.2?}; the writer wrote for \
         {busy:.2} of the time; {ratio:.3} of the floor",
        seen.appends(),
        seen.elapsed,
        groups.len(),
        seen.percentile(0.5),
        seen.percentile(0.99),
    );
}

fn row(name: &'static str, rates: &[f64], unit: &'static str, floors: &[f64]) -> Row {
    Row { name, value: median(rates), unit, floor: Some(median(floors)) }
}
