//! A buffer on a simulated disk, and beside it what it has promised: each thing that is done to it is held against that.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::driven::Driven;
use crate::durable::DurableEnd;
use crate::options::Bounds;
use crate::proof::oracle::Promise;
use crate::sim::SimDisk;
use crate::sim::lock;
use crate::{AppendError, Appender, Batch, DirectIo, OpenError, Pending, Queue, Reader, RecordId, RecoveryReport};

/// Who does the work of the writer and the janitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// The scene, when it is told: the same steps give the same calls.
    Steps,
    /// The threads of a real queue.
    Threads,
}

/// See the module.
pub(super) struct Scene {
    pub(super) disk: SimDisk,
    pub(super) bounds: Bounds,
    pub(super) engine: Engine,
    pub(super) log: Arc<Mutex<Log>>,
    running: Option<Running>,
}

/// What was promised, looked at even in the middle of a step.
#[derive(Default)]
pub(super) struct Log {
    pub(super) promise: Promise,
    durable: Option<Arc<DurableEnd>>,
}

impl Log {
    /// Everything that the buffer says at this instant.
    pub(super) fn now(&mut self) -> &mut Promise {
        if let Some(durable) = &self.durable {
            self.promise.durable(durable.get().get());
        }
        &mut self.promise
    }
}

enum Machine {
    Steps(Driven),
    Threads(Box<Queue>),
}

struct Running {
    machine: Machine,
    appender: Appender,
    reader: Reader,
    batch: Batch,
    pending: Vec<Pending>,
    /// Delivered since the reader was last at the floor.
    position: u64,
}

impl Scene {
    pub(super) fn new(disk: SimDisk, bounds: Bounds, engine: Engine) -> Self {
        Self { disk, bounds, engine, log: Arc::default(), running: None }
    }

    /// Goes on with what was promised elsewhere.
    pub(super) fn with(disk: SimDisk, bounds: Bounds, promise: Promise) -> Self {
        let log = Arc::new(Mutex::new(Log { promise, durable: None }));
        Self { disk, bounds, engine: Engine::Steps, log, running: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn open(&mut self) -> Result<RecoveryReport, OpenError> {
        let storage = self.disk.storage();
        let opened = match self.engine {
            Engine::Steps => Driven::open(&storage, self.bounds)
                .map(|(driven, appender, reader, report)| (Machine::Steps(driven), appender, reader, report)),
            Engine::Threads => Queue::open_bounded(&storage, Path::new("sim"), self.bounds, DirectIo::Auto).map(
                |(mut queue, report)| {
                    let (appender, reader) = (queue.appender(), queue.take_reader().expect("one reader"));
                    assert!(queue.take_reader().is_none());
                    (Machine::Threads(Box::new(queue)), appender, reader, report)
                },
            ),
        };
        let mut log = lock(&self.log);
        // Whichever read failed, it may have been that of the slot that counts.
        log.promise.floor_lost |= self.disk.failed() == Some("read");
        let (machine, appender, reader, report) = opened?;
        if let Machine::Steps(driven) = &machine {
            log.durable = Some(Arc::clone(&driven.shared.durable));
        }
        log.promise.opened(&report);
        drop(log);
        let position = report.floor_id.get();
        self.running = Some(Running { machine, appender, reader, batch: Batch::new(), pending: Vec::new(), position });
        Ok(report)
    }

    /// Appends records as one batch, or one record by itself; gives whether they were taken.
    pub(super) fn append(&mut self, records: &[Arc<[u8]>]) -> Result<(), AppendError> {
        let Some(running) = &mut self.running else { return Err(AppendError::Closed) };
        let pending = match records {
            [record] => running.appender.append(record)?,
            _ => running.appender.append_batch(records.iter().map(|record| &**record))?,
        };
        assert_eq!(pending.end().get() - pending.first().get(), records.len() as u64);
        lock(&self.log).promise.take(pending.first().get(), records);
        running.pending.push(pending);
        Ok(())
    }

    /// One group is written. With threads: what was appended is waited for.
    pub(super) fn write_group(&mut self) {
        match self.running.as_mut().map(|running| &mut running.machine) {
            Some(Machine::Steps(driven)) => {
                driven.write_group();
            }
            _ => self.wait_pending(),
        }
    }

    /// Everything that was appended is durable, or never will be, after this.
    pub(super) fn write_all(&mut self) {
        if let Some(Running { machine: Machine::Steps(driven), .. }) = &mut self.running {
            while driven.write_group() {}
        }
        self.wait_pending();
    }

    fn wait_pending(&mut self) {
        let Some(running) = &mut self.running else { return };
        let subscription = running.appender.subscribe();
        for pending in running.pending.drain(..) {
            let outcome = match running.machine {
                // No thread would answer.
                Machine::Steps(_) => subscription.check(&pending),
                Machine::Threads(_) => Some(pending.wait(&running.appender)),
            };
            if let Some(Ok(durable)) = outcome {
                lock(&self.log).promise.durable(durable.end().get());
            }
        }
        lock(&self.log).now();
    }

    /// A spare segment is made. `false`: it could not be.
    pub(super) fn make_spare(&mut self) -> bool {
        match self.running.as_mut().map(|running| &mut running.machine) {
            Some(Machine::Steps(driven)) => driven.make_spare(),
            _ => true,
        }
    }

    /// Reads a batch and holds it against the promise. Gives the number of records, `None` if the disk failed.
    pub(super) fn read(&mut self, records_max: usize, bytes_max: usize) -> Option<usize> {
        let running = self.running.as_mut()?;
        lock(&self.log).now();
        let count = running.reader.read(&mut running.batch, records_max, bytes_max).ok()?;
        let mut log = lock(&self.log);
        assert!(count <= records_max);
        assert!(count <= 1 || running.batch.bytes() <= bytes_max);
        for (id, bytes) in running.batch.iter() {
            running.position = log.promise.delivered(running.position, id.get(), bytes);
        }
        Some(count)
    }

    /// Reads until nothing more comes; all that exists must have come then.
    pub(super) fn read_all(&mut self) {
        self.write_all();
        loop {
            match self.read(1000, 1 << 20) {
                Some(0) => break,
                Some(_) => {}
                None => return,
            }
        }
        let Some(running) = &self.running else { return };
        lock(&self.log).now().all_delivered(running.position);
    }

    /// Acknowledges so many hundredths of what was delivered and is not acknowledged yet.
    pub(super) fn acknowledge(&mut self, hundredths: u64) {
        let Some(running) = &mut self.running else { return };
        let promise = &mut lock(&self.log).promise;
        let open = running.position.saturating_sub(promise.acknowledged);
        let end = promise.acknowledged + open * hundredths / 100;
        running.reader.acknowledge(RecordId::from_u64(end)).expect("it was delivered");
        promise.acknowledge(end);
        let beyond = running.reader.position().next();
        assert!(running.reader.acknowledge(beyond).is_err(), "{beyond} was not delivered");
    }

    /// The floor is made durable.
    pub(super) fn sync_floor(&mut self) -> bool {
        let Some(running) = &mut self.running else { return false };
        let synced = running.reader.sync_floor().is_ok();
        let promise = &mut lock(&self.log).promise;
        if synced {
            promise.synced_floor = promise.synced_floor.max(promise.acknowledged);
        }
        synced
    }

    pub(super) fn rewind(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.reader.rewind();
        running.position = lock(&self.log).promise.acknowledged;
    }

    /// Quarantines the last record that was read.
    pub(super) fn quarantine(&mut self) {
        let Some(running) = &mut self.running else { return };
        let Some((id, bytes)) = running.batch.iter().last() else { return };
        if running.reader.quarantine(id, bytes, "refused").is_ok() {
            lock(&self.log).promise.quarantined.insert(id.get());
        }
    }

    /// Closes well. `false`: something could not be written.
    pub(super) fn close(&mut self) -> bool {
        self.write_all();
        let Some(Running { machine, .. }) = self.running.take() else { return false };
        let closed = match machine {
            Machine::Steps(driven) => driven.close().is_ok(),
            Machine::Threads(queue) => queue.close().is_ok(),
        };
        let mut log = lock(&self.log);
        log.durable = None;
        if closed {
            log.promise.synced_floor = log.promise.synced_floor.max(log.promise.acknowledged);
        }
        closed
    }

    /// The process dies; what the kernel has stays.
    pub(super) fn kill(&mut self) {
        let left = self.disk.kill();
        self.end();
        self.disk = left;
    }

    /// The power goes and comes back.
    pub(super) fn cut(&mut self, seed: u64) {
        self.end();
        self.disk = self.disk.reboot(seed);
    }

    /// Nothing that the buffer says from here on counts, or reaches the disk.
    fn end(&mut self) {
        let mut log = lock(&self.log);
        log.now();
        log.durable = None;
        drop(log);
        self.disk.power_off();
        self.running = None;
    }

    /// Everything that was quarantined lies there.
    pub(super) fn check_quarantine(&self) {
        let names = self.disk.names();
        for id in &lock(&self.log).promise.quarantined {
            let name = format!("quarantine/record-{id:020}.q");
            assert!(names.contains(&name), "{name} is gone");
            assert!(self.disk.content(&name).len() > 72, "{name} is empty");
        }
    }
}
