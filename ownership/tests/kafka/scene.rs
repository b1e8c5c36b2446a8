//! One test: fresh topics, a folder, numbers.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::MutexGuard;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tempfile::TempDir;

use super::brokers::{Brokers, LANES, brokers, turn};
use super::copier::{INPUT, file};
use super::process;

const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Scene {
    brokers: &'static Brokers,
    producer: BaseProducer,
    folder: TempDir,
    count: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let turn = turn();
        let brokers = brokers();
        brokers.primary.make_anew(&[INPUT, "events.index"]);
        let producer = ClientConfig::new().set("bootstrap.servers", &brokers.primary.address).create().unwrap();
        Self { brokers, producer, folder: TempDir::new().unwrap(), count: 0, _turn: turn }
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

    pub(crate) fn start(&self, group: &str, crash_at: &str) -> Child {
        process::start(self.folder.path(), &self.brokers.primary.address, group, crash_at)
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
                assert!(begun.elapsed() < LIMIT, "lane {lane}: {} of {}\n{}", lines.len(), expected.len(), self.log());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn log(&self) -> String {
        let path: &Path = self.folder.path();
        fs::read_to_string(path.join("copier.log")).unwrap_or_default()
    }

    /// Waits for a process to end by the signal that it gave itself.
    pub(crate) fn wait_until_killed(&self, child: &mut Child) {
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < LIMIT, "it never came to where it was to die\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
