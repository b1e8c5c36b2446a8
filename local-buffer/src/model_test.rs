//! The buffer against the plainest queue there is, through power cuts.
//!
//! Goal: what was durable and not acknowledged comes out once it is read, in order and unchanged, whatever happens.
//! Faults: power cuts at any write or sync, process kills, full disks, failed syncs. Oracle: a `Vec` of the records.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::sim::SimDisk;
use crate::{AppendError, Appender, Batch, DirectIo, Options, Pending, Queue, Reader, RecordId, SyncPolicy};

/// Seeds that every test run goes through; `BUFFER_MODEL_SEEDS` asks for more.
const SEEDS: u64 = 150;

struct Model {
    random: SmallRng,
    disk: SimDisk,
    options: Options,
    /// Every record that was ever taken, by id. An id may be given again only if its record was never durable.
    records: BTreeMap<u64, Vec<u8>>,
    /// Records whose `Durable` was seen.
    durable: BTreeMap<u64, Vec<u8>>,
    pending: Vec<Pending>,
    /// Acknowledged below this.
    floor: u64,
    /// Acknowledged and synced below this.
    synced_floor: u64,
    /// Highest id that was ever delivered, plus one.
    delivered: u64,
}

struct Running {
    queue: Queue,
    appender: Appender,
    reader: Reader,
    batch: Batch,
    /// Delivered since the reader was last at the floor.
    position: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let direct = random.random_bool(0.5);
        let options = Options {
            segment_bytes: 256 << 10,
            bytes_max: (256 << 10) * random.random_range(2..6),
            record_bytes_max: 100_000,
            pending_bytes_max: 512 << 10,
            sync: if random.random_bool(0.8) { SyncPolicy::Group } else { SyncPolicy::EveryAppend },
            direct_io: DirectIo::Auto,
        };
        let disk = SimDisk::new(direct);
        Self {
            random,
            disk,
            options,
            records: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            floor: 0,
            synced_floor: 0,
            delivered: 0,
        }
    }

    fn open(&mut self) -> Option<Running> {
        let opened = Queue::open_on(&self.disk.storage(), Path::new("sim"), &self.options);
        let (mut queue, report) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                assert!(self.disk.is_off(), "open failed with the power on: {error}");
                return None;
            }
        };
        assert!(report.floor_id.get() >= self.synced_floor, "the floor went back: {report:?}");
        // The floor may pass ids that do not exist, and no others, by itself.
        let passed: Vec<_> = self.durable.range(self.floor..report.floor_id.get().max(self.floor)).collect();
        assert!(passed.is_empty(), "the floor ran ahead over {}: {report:?}", passed.len());
        assert!(report.next_id.get() >= self.delivered, "an id that was delivered is given again: {report:?}");
        let last_durable = self.durable.keys().next_back().map_or(0, |id| id + 1);
        assert!(report.next_id.get() >= last_durable, "a durable id is given again: {report:?}");
        self.floor = report.floor_id.get();
        let (appender, reader) = (queue.appender(), queue.take_reader().unwrap());
        assert!(queue.take_reader().is_none());
        Some(Running { queue, appender, reader, batch: Batch::new(), position: self.floor })
    }

    fn record(&mut self) -> Vec<u8> {
        let bytes = match self.random.random_range(0..10) {
            0 => 0,
            1..=6 => self.random.random_range(1..2000),
            7 | 8 => self.random.random_range(1..20_000),
            _ => self.random.random_range(1..100_000),
        };
        let mut record = vec![0; bytes];
        self.random.fill(&mut record[..]);
        record
    }

    fn took(&mut self, result: &Result<Pending, AppendError>, records: Vec<Vec<u8>>) {
        match result {
            Ok(pending) => {
                assert_eq!(pending.end().get() - pending.first().get(), records.len() as u64);
                for (id, record) in (pending.first().get()..).zip(records) {
                    assert!(!self.durable.contains_key(&id), "id {id} was given twice");
                    self.records.insert(id, record);
                }
                self.pending.push(*pending);
            }
            Err(AppendError::TooLarge { .. }) => assert!(records.len() > 1),
            Err(AppendError::Full { .. } | AppendError::Busy | AppendError::SyncFailed(_)) => {}
            Err(AppendError::Closed) => assert!(self.disk.is_off(), "closed with the power on"),
        }
    }

    fn note_durable(&mut self, pending: Pending) {
        for id in pending.first().get()..pending.end().get() {
            self.durable.insert(id, self.records[&id].clone());
        }
    }

    fn check_durable(&mut self, running: &Running) {
        let subscription = running.appender.subscribe();
        for pending in std::mem::take(&mut self.pending) {
            match subscription.check(&pending) {
                Some(Ok(_)) => self.note_durable(pending),
                Some(Err(_)) => {}
                None => self.pending.push(pending),
            }
        }
    }

    fn wait_durable(&mut self, running: &Running) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.wait(&running.appender).is_ok() {
                self.note_durable(pending);
            }
        }
    }

    /// Reads a batch and holds it against the model. `false`: nothing came.
    fn read(&mut self, running: &mut Running) -> bool {
        let (records_max, bytes_max) = (self.random.random_range(1..200), self.random.random_range(1..300_000));
        self.check_durable(running);
        let Ok(count) = running.reader.read(&mut running.batch, records_max, bytes_max) else {
            assert!(self.disk.is_off());
            return false;
        };
        assert!(count <= records_max);
        assert!(count <= 1 || running.batch.bytes() <= bytes_max);
        for (id, bytes) in running.batch.iter() {
            let id = id.get();
            assert!(id >= running.position, "{id} came after {}", running.position);
            assert_eq!(self.records.get(&id).map(Vec::as_slice), Some(bytes), "record {id} is not what was taken");
            let skipped: Vec<_> = self.durable.range(running.position..id).map(|(id, _)| *id).collect();
            assert!(skipped.is_empty(), "durable {skipped:?} were skipped before {id}");
            running.position = id + 1;
            // What was delivered exists: its id may never be given again.
            self.durable.insert(id, bytes.to_vec());
        }
        self.delivered = self.delivered.max(running.position);
        count > 0
    }

    fn acknowledge(&mut self, running: &mut Running) {
        if running.position > self.floor {
            let end = self.random.random_range(self.floor..=running.position);
            running.reader.acknowledge(RecordId::from_u64(end)).unwrap();
            self.floor = self.floor.max(end);
        }
        assert!(running.reader.acknowledge(RecordId::from_u64(running.reader.position().get() + 1)).is_err());
    }

    fn step(&mut self, running: &mut Running) {
        match self.random.random_range(0..100) {
            0..40 => {
                let record = self.record();
                let result = running.appender.append(&record);
                self.took(&result, vec![record]);
            }
            40..55 => {
                let records: Vec<_> = (0..self.random.random_range(1..40)).map(|_| self.record()).collect();
                let result = running.appender.append_batch(records.iter().map(Vec::as_slice));
                self.took(&result, records);
            }
            55..70 => self.wait_durable(running),
            70..85 => {
                self.read(running);
            }
            85..92 => self.acknowledge(running),
            92..94 => {
                if running.reader.sync_floor().is_ok() {
                    self.synced_floor = self.floor;
                }
            }
            94..96 => {
                running.reader.rewind();
                running.position = self.floor;
            }
            96 => self.disk.set_capacity(Some(self.random.random_range(300_000..2_000_000))),
            97 => self.disk.set_capacity(None),
            98 => self.disk.fail_syncs(u64::from(self.random.random_bool(0.2))),
            _ => {
                running.reader.wait(Duration::ZERO);
            }
        }
    }

    /// Everything that must still be there is read, and nothing else.
    fn read_all(&mut self, running: &mut Running) {
        self.wait_durable(running);
        while self.read(running) {}
        if !self.disk.is_off() {
            let left: Vec<_> = self.durable.range(running.position..).map(|(id, _)| *id).collect();
            assert!(left.is_empty(), "durable {left:?} did not come");
        }
    }

    fn life(&mut self) {
        let Some(mut running) = self.open() else { return self.after_cut() };
        if self.random.random_bool(0.6) {
            self.disk.cut_after(self.random.random_range(0..150));
        }
        for _ in 0..self.random.random_range(1..120) {
            if self.disk.is_off() {
                break;
            }
            self.step(&mut running);
        }
        if self.random.random_bool(0.3) {
            self.read_all(&mut running);
        }
        let ending = self.random.random_range(0..3);
        if ending == 0 && !self.disk.is_off() {
            let Running { queue, appender, reader, .. } = running;
            self.wait_durable_of(&appender);
            let position = self.floor;
            let closed = queue.close();
            drop(reader);
            if closed.is_ok() {
                self.synced_floor = position;
            }
            self.disk.set_capacity(None);
            self.disk = self.disk.copy();
        } else if ending == 1 && !self.disk.is_off() {
            // A process kill: what the kernel has stays.
            let copy = self.disk.copy();
            self.check_durable_before(&running);
            self.disk.power_off();
            drop(running);
            self.disk = copy;
        } else {
            self.disk.power_off();
            self.check_durable(&running);
            drop(running);
            self.after_cut();
        }
        self.pending.clear();
    }

    /// A copy was taken first: what became durable after it is not in it.
    fn check_durable_before(&mut self, _: &Running) {
        self.pending.clear();
    }

    fn wait_durable_of(&mut self, appender: &Appender) {
        for pending in std::mem::take(&mut self.pending) {
            if pending.wait(appender).is_ok() {
                self.note_durable(pending);
            }
        }
    }

    fn after_cut(&mut self) {
        self.disk = self.disk.reboot(self.random.random());
    }
}

#[test]
fn through_power_cuts_kills_full_disks_and_failed_syncs_nothing_durable_is_lost_invented_or_reordered() {
    let seeds = std::env::var("BUFFER_MODEL_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    let first = std::env::var("BUFFER_MODEL_FIRST").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let mut delivered = 0;
    for seed in first..first + seeds {
        let run = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            for _ in 0..model.random.random_range(2..8) {
                model.life();
            }
            model.disk.set_capacity(None);
            let mut running = model.open().expect("opens with the power on");
            model.read_all(&mut running);
            model.delivered
        });
        match run {
            Ok(count) => delivered += count,
            Err(panic) => {
                eprintln!("seed {seed}: BUFFER_MODEL_FIRST={seed} BUFFER_MODEL_SEEDS=1 runs it again");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(delivered > seeds * 10, "the model has hardly delivered anything: {delivered}");
}
