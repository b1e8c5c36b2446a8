//! The life of one buffer: opened, used by many, cut; and again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forgetful_disk::{Disk, Fate};
use local_buffer::{AppendError, Appender, Batch, DirectIo, Options, Pending, Queue, Reader};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::ledger::Ledger;
use crate::record::Name;
use crate::say;

const SEGMENT_BYTES: u64 = 256 << 10;
const APPENDERS: u64 = 4;
/// Appends of one thread that wait for the disk at most.
const IN_FLIGHT: usize = 6;
/// The power goes in the middle of one of so many changes.
const CHANGES_MAX: u64 = 250;
/// How soon an append that was refused is tried again.
const RETRY: Duration = Duration::from_micros(300);
/// A cut that has not come by then is made.
const CUT_LIMIT: Duration = Duration::from_secs(20);

/// How records get to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Past the page cache.
    Direct,
    /// Through it, because the options say so.
    Off,
    /// Through it, because the file system does not know `O_DIRECT`.
    Refused,
}

/// What lives have seen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) cuts: u64,
    kills: u64,
    openings_cut: u64,
    pub(crate) acknowledged: u64,
    delivered: u64,
    pub(crate) held: u64,
    direct_writes: u64,
    cached_writes: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.openings_cut += other.openings_cut;
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.held += other.held;
        self.direct_writes += other.direct_writes;
        self.cached_writes += other.cached_writes;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} cuts ({} of them of an opening) and {} kills; {} records acknowledged, {} had to outlive a cut, {} were \
             delivered after one; {} direct writes, {} cached",
            self.cuts,
            self.openings_cut,
            self.kills,
            self.acknowledged,
            self.held,
            self.delivered,
            self.direct_writes,
            self.cached_writes
        )
    }
}

/// One buffer on one disk.
pub(crate) struct Life {
    random: SmallRng,
    path: Path,
    options: Options,
    disk: Disk,
    ledger: Ledger,
    next_appender: u64,
    sum: Sum,
}

impl Life {
    pub(crate) fn new(seed: u64, path: Path) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let options = Options {
            segment_bytes: SEGMENT_BYTES,
            bytes_max: SEGMENT_BYTES * random.random_range(2..7),
            record_bytes_max: 100_000,
            pending_bytes_max: 512 << 10,
            direct_io: if path == Path::Off { DirectIo::Off } else { DirectIo::Auto },
            ..Options::default()
        };
        let disk = Disk::new();
        disk.set_refuses_direct(path == Path::Refused);
        Self { random, path, options, disk, ledger: Ledger::default(), next_appender: 0, sum: Sum::default() }
    }

    /// Goes through so many cuts. `None`: this machine cannot mount the disk.
    pub(crate) fn run(mut self, cuts: u64) -> Option<Sum> {
        while self.sum.cuts < cuts {
            let dir = tempfile::tempdir().expect("a mount point");
            let mounted = match self.disk.mount(dir.path()) {
                Ok(mounted) => mounted,
                Err(unavailable) => {
                    say(&format!("SKIPPED, no power was cut: {unavailable}\n"));
                    return None;
                }
            };
            self.disk.cut_after(self.random.random_range(0..CHANGES_MAX));
            self.episode(&dir.path().join("buffer"));
            assert!(self.disk.is_off());
            mounted.unmount().expect("nothing is open any more");
            if self.random.random_bool(0.2) {
                self.disk.resume();
                self.sum.kills += 1;
            } else {
                let fates = [Fate::AllKept, Fate::AllLost, Fate::AllLost, Fate::Each, Fate::Each];
                self.disk.restore(fates[self.random.random_range(0..fates.len())], self.random.random());
                self.sum.cuts += 1;
            }
        }
        let counts = self.disk.counts();
        (self.sum.direct_writes, self.sum.cached_writes) = (counts.direct_writes, counts.cached_writes);
        Some(self.sum)
    }

    /// Opens, checks what is there, appends and reads until the power goes.
    fn episode(&mut self, dir: &std::path::Path) {
        let opened = Queue::open(dir, self.options.clone());
        let (mut queue, _) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.disk.is_off(), "it does not open with the power on: {error}");
                self.sum.openings_cut += 1;
                return;
            }
        };
        assert_eq!(queue.stats().direct_io, self.path == Path::Direct);
        let mut reader = queue.take_reader().expect("the first to ask");
        let Some(all) = read_all(&mut reader, &self.disk) else { return };
        let found = self.ledger.check_all(&all);
        self.sum.delivered += found.delivered;
        self.sum.held += found.held;
        reader.rewind();

        let acknowledged = AtomicU64::new(0);
        let (disk, ledger) = (&self.disk, &self.ledger);
        std::thread::scope(|scope| {
            for _ in 0..APPENDERS {
                let (appender, name) = (queue.appender(), self.next_appender);
                self.next_appender += 1;
                let seed = self.random.random();
                let acknowledged = &acknowledged;
                scope.spawn(move || append(&appender, name, SmallRng::seed_from_u64(seed), disk, ledger, acknowledged));
            }
            let seed = self.random.random();
            scope.spawn(move || read(reader, SmallRng::seed_from_u64(seed), disk, ledger));
            let limit = Instant::now() + CUT_LIMIT;
            while !disk.is_off() {
                if Instant::now() > limit {
                    disk.power_off();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        self.sum.acknowledged += acknowledged.into_inner();
    }
}

/// Everything from the floor on; `None` if the power went meanwhile.
fn read_all(reader: &mut Reader, disk: &Disk) -> Option<Vec<(u64, Vec<u8>)>> {
    let (mut batch, mut all) = (Batch::new(), Vec::new());
    loop {
        match reader.read(&mut batch, 1000, 1 << 20) {
            // A read that fails while the power goes may look like the end.
            Ok(0) => return (!disk.is_off()).then_some(all),
            Ok(_) => all.extend(batch.iter().map(|(id, record)| (id.get(), record.to_vec()))),
            Err(error) => {
                assert!(disk.is_off(), "a read failed with the power on: {error}");
                return None;
            }
        }
    }
}

/// One thread that appends until the power goes.
fn append(
    appender: &Appender,
    name: u64,
    mut random: SmallRng,
    disk: &Disk,
    ledger: &Ledger,
    acknowledged: &AtomicU64,
) {
    let mut waiting: VecDeque<(Pending, u64)> = VecDeque::new();
    let mut number = 0;
    loop {
        let count = if random.random_bool(0.8) { 1 } else { random.random_range(2..30) };
        let names = (number..number + count).map(|number| Name { appender: name, number });
        let records: Vec<_> = names.map(Name::record).collect();
        ledger.submit(Name { appender: name, number: number + count - 1 });
        let taken = if count == 1 {
            appender.append(&records[0])
        } else {
            appender.append_batch(records.iter().map(Vec::as_slice))
        };
        match taken {
            Ok(pending) => waiting.push_back((pending, number)),
            Err(AppendError::Busy | AppendError::Full { .. }) if !disk.is_off() => std::thread::sleep(RETRY),
            Err(AppendError::TooLarge { .. }) => {}
            Err(_) => break,
        }
        // Numbers are used once, whether their record was taken or not.
        number += count;
        while waiting.len() > random.random_range(0..IN_FLIGHT) {
            let Some((pending, first)) = waiting.pop_front() else { break };
            if pending.wait(appender).is_err() {
                return;
            }
            note(pending, Name { appender: name, number: first }, ledger, acknowledged);
        }
    }
    for (pending, first) in waiting {
        if pending.wait(appender).is_ok() {
            note(pending, Name { appender: name, number: first }, ledger, acknowledged);
        }
    }
}

fn note(pending: Pending, first: Name, ledger: &Ledger, acknowledged: &AtomicU64) {
    for (id, number) in (pending.first().get()..pending.end().get()).zip(first.number..) {
        ledger.hold(id, Name { number, ..first });
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads and acknowledges until the power goes.
fn read(mut reader: Reader, mut random: SmallRng, disk: &Disk, ledger: &Ledger) {
    let mut batch = Batch::new();
    while !disk.is_off() {
        if reader.read(&mut batch, random.random_range(1..100), 100_000).is_err() {
            assert!(disk.is_off(), "a read failed with the power on");
            return;
        }
        for (id, record) in batch.iter() {
            ledger.check(id.get(), record);
        }
        let Some(end) = batch.end() else {
            reader.wait(Duration::from_millis(10));
            continue;
        };
        match random.random_range(0..10) {
            // Sometimes a while without progress, so that the buffer fills up.
            0 => reader.rewind(),
            1..4 => {}
            _ => {
                ledger.done(end.get());
                reader.acknowledge(end).expect("it was delivered");
                if random.random_bool(0.1) {
                    let _ = reader.sync_floor();
                }
            }
        }
    }
}
