//! The suite of every log and every state, on real partitions of the changelog's topic.

#[path = "../../dedup/tests/index/subject.rs"]
mod subject;

use std::time::{Duration, Instant};

use changelog_suite::{Bench, CounterSubject, Memory, walk};
use dedup_worker::worker::spec::spec;
use kafka::{Cluster, Probe, TopicFacts, Watermarks};
use ownership::{Fault, Log, Reading, Spec, never};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use service::Properties;
use wire::topic::EVENTS_INDEX;

use subject::IndexSubject;

use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);
/// As many logs as the suite may begin: each is a partition of its own.
const LOGS: usize = 64;

/// Fills one partition after the other, each commit a transaction.
struct PartitionBench<'s> {
    scene: &'s Scene,
    spec: Spec,
    probe: Probe,
    facts: TopicFacts,
    /// Of the log that was begun last, as an owner keeps it from one reading to the next.
    reading: Reading,
    producer: BaseProducer,
    /// Those that have been begun; the last is the log.
    begun: u32,
    /// Behind the mark of the newest transaction.
    end: u64,
}

/// A question about a partition that its client has not heard of waits to the end of its time.
fn wait_for_leaders(address: &str) {
    let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", address).create().unwrap();
    let begun = Instant::now();
    loop {
        let metadata = client.fetch_metadata(Some(EVENTS_INDEX), LIMIT).unwrap();
        let leaders = metadata.topics().iter().flat_map(MetadataTopic::partitions).filter(|one| one.leader() >= 0);
        if leaders.count() == LOGS {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "partitions of {EVENTS_INDEX} have no leader");
    }
}

impl<'s> PartitionBench<'s> {
    fn new(scene: &'s Scene) -> Self {
        let primary = &scene.brokers.primary;
        primary.add_partitions(EVENTS_INDEX, LOGS);
        let cluster = Cluster::new("test", "output", &primary.address, Properties::default());
        wait_for_leaders(&primary.address);
        let probe = Probe::new(&cluster, LIMIT).unwrap();
        let facts = probe.topic(EVENTS_INDEX).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &primary.address).set("transactional.id", "suite");
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(LIMIT).unwrap();
        Self {
            scene,
            spec: spec(cluster, String::new(), LIMIT, LIMIT, scene.folder().to_owned()),
            probe,
            facts,
            reading: Reading::default(),
            producer,
            begun: 0,
            end: 0,
        }
    }

    fn partition(&self) -> u32 {
        self.begun - 1
    }

    fn marks(&self) -> Watermarks {
        self.probe.watermarks(EVENTS_INDEX, self.partition()).unwrap()
    }
}

impl Bench for PartitionBench<'_> {
    type Error = Fault;
    type Log<'b>
        = Log<'b>
    where
        Self: 'b;

    fn begin(&mut self) -> u32 {
        assert!((self.begun as usize) < LOGS, "the suite begins more logs than there are partitions");
        (self.begun, self.end, self.reading) = (self.begun + 1, 0, Reading::default());
        self.partition()
    }

    fn append(&mut self, records: &[Vec<u8>]) {
        self.producer.begin_transaction().unwrap();
        for record in records {
            let to = BaseRecord::<[u8], [u8]>::to(EVENTS_INDEX).partition(self.partition().cast_signed());
            self.producer.send(to.payload(record)).map_err(|(error, _)| error).unwrap();
        }
        self.producer.commit_transaction(LIMIT).unwrap();
        // The mark is written behind the answer, and the log ends behind the mark.
        self.end += records.len() as u64 + 1;
        let begun = Instant::now();
        while self.marks().high < self.end {
            assert!(begun.elapsed() < LIMIT, "the transaction is not marked: {:?}, not {}", self.marks(), self.end);
        }
    }

    fn drop_first(&mut self, count: usize) {
        let records = Memory::copy_of(&mut self.log()).records;
        // Where the first one lies that stays: marks before it go as well.
        let first = match records.get(count) {
            Some((placed, _)) => placed.offset,
            None => records[count - 1].0.next.next_offset,
        };
        let offset = rdkafka::Offset::Offset(first.cast_signed());
        self.scene.brokers.primary.cut(EVENTS_INDEX, self.partition(), offset);
    }

    fn log(&mut self) -> Log<'_> {
        let Self { spec, facts, reading, .. } = &*self;
        Log { spec, facts, lane: self.partition(), marks: self.marks(), reading, is_stopped: &never }
    }
}

#[test]
fn an_index_is_made_from_a_partition() {
    let scene = Scene::new();
    walk::<IndexSubject, _>(&mut PartitionBench::new(&scene));
}

#[test]
fn a_counter_is_made_from_a_partition() {
    let scene = Scene::new();
    walk::<CounterSubject, _>(&mut PartitionBench::new(&scene));
}
