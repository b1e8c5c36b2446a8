//! One test: fresh topics, a folder, numbers.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;

use super::brokers::{Brokers, LANES, brokers, turn};
use super::copier::{INPUT, file};
use super::process::{Process, Start};

const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Scene {
    brokers: &'static Brokers,
    producer: BaseProducer,
    folder: TempDir,
    count: u64,
    /// Of this scene alone: the brokers remember the members of others for a session.
    group: String,
    started: Cell<u32>,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        static SCENES: AtomicU32 = AtomicU32::new(0);
        let turn = turn();
        let brokers = brokers();
        brokers.primary.make_anew(&[INPUT, "events.index"]);
        let group = format!("copiers-{}", SCENES.fetch_add(1, Relaxed));
        let producer = ClientConfig::new().set("bootstrap.servers", &brokers.primary.address).create().unwrap();
        Self { brokers, producer, folder: TempDir::new().unwrap(), count: 0, group, started: Cell::new(0), _turn: turn }
    }

    /// So many more numbers, in turns over the partitions.
    pub(crate) fn produce(&mut self, count: u64) {
        for number in self.count..self.count + count {
            let (partition, text) = ((number % u64::from(LANES)) as i32, number.to_string());
            let record = BaseRecord::<str, str>::to(INPUT).partition(partition).payload(&text);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(LIMIT).unwrap();
        self.count += count;
    }

    pub(crate) fn start<'s>(&'s self, mut start: Start<'s>) -> Process {
        self.started.set(self.started.get() + 1);
        if start.group.is_empty() {
            start.group = &self.group;
        }
        Process::start(self.folder.path(), &self.brokers.primary.address, self.started.get(), start)
    }

    /// The folder of a process.
    pub(crate) fn folder_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until every number lies in its file, and demands that each does once, in its order, and nothing else.
    pub(crate) fn assert_copied(&self) {
        let begun = Instant::now();
        for lane in 0..LANES {
            let expected: Vec<String> =
                (0..self.count).filter(|n| n % u64::from(LANES) == u64::from(lane)).map(|n| n.to_string()).collect();
            loop {
                let text = fs::read_to_string(file(self.folder.path(), lane)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                if lines.len() >= expected.len() && text.ends_with('\n') {
                    assert_eq!(lines, expected, "lane {lane}");
                    break;
                }
                assert!(begun.elapsed() < LIMIT, "lane {lane}: {} of {}", lines.len(), expected.len());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
