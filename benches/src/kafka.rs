//! A real broker of Apache Kafka, from the script that `make kafka` uses, on ports of its own; topics, and reading them.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use wire::topic::{EVENTS, RECEIVED_AT_HEADER, SOURCE_HEADER};

use crate::traffic::{self, Event};

/// A start of Java on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Time without a record after which reading counts as broken.
const STALL: Duration = Duration::from_secs(30);
/// Between two looks at a producer.
const WAIT: Duration = Duration::from_millis(1);

/// One record in so many is compared with the event that it was.
const CHECK_PERIOD: u64 = 1_000;

/// A producer that is polled by a thread of its own.
pub type Sender = ThreadedProducer<DefaultProducerContext>;

/// A cluster of one broker; it ends with this process.
#[derive(Debug)]
pub struct Broker {
    /// Where clients find it.
    pub address: String,
    child: Child,
    _folder: TempDir,
}

impl Broker {
    /// Starts one with its data below `folder` and waits for its answer. Called by the main thread: the broker dies with
    /// the thread that started it.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn start(folder: &str) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder on a disk");
        let ports = [free_port(), free_port()].map(|port| port.to_string());
        let log = std::fs::File::create(folder.path().join("broker.log")).expect("a log file");
        let mut command = Command::new(script());
        command.arg("run").arg("--dir").arg(folder.path().join("kafka"));
        command.args(["--port", &ports[0], "--controller-port", &ports[1]]);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("one more handle")).stderr(log);
        die_with_parent(&mut command);
        let child = command.spawn().expect("scripts/kafka/cluster");
        let broker = Self { address: format!("127.0.0.1:{}", ports[0]), child, _folder: folder };
        let client: BaseConsumer = broker.client().create().expect("a client");
        let begun = Instant::now();
        while client.fetch_metadata(None, Duration::from_secs(2)).is_err() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "the broker does not answer; `scripts/install kafka` was run?");
        }
        broker
    }

    /// Its processor time so far.
    pub fn processor_time(&self) -> Duration {
        crate::machine::processor_time(self.child.id())
    }

    /// Stops it where it stands: connections stay, and nobody answers.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Settings of a client of it.
    pub fn client(&self) -> ClientConfig {
        client(&self.address)
    }

    /// Makes topics, deleting first those of the same names.
    ///
    /// # Panics
    /// Where that does not work.
    pub fn make_anew(&self, topics: &[&str], partitions: u32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("a client");
        let options = AdminOptions::new();
        // One that is not there is fine.
        let _ = block(admin.delete_topics(topics, &options)).expect("an answer");
        // The broker hears of it a moment later, and until then tells everybody of the topics that there were.
        let client: BaseConsumer = self.client().create().expect("a client");
        let is_told = |topic: &&str| {
            let metadata = client.fetch_metadata(Some(topic), ANSWER_LIMIT).expect("an answer");
            metadata.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        };
        let begun = Instant::now();
        while topics.iter().any(is_told) {
            assert!(begun.elapsed() < ANSWER_LIMIT, "{topics:?} are not deleted");
            thread::sleep(WAIT);
        }
        let mut missing = topics.to_vec();
        let begun = Instant::now();
        // A deleted topic's name is free again only after a moment.
        while !missing.is_empty() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "topics cannot be made: {missing:?}");
            let new = missing.iter().map(|topic| {
                let new = NewTopic::new(topic, partitions.cast_signed(), TopicReplication::Fixed(1));
                new.set("message.timestamp.type", "LogAppendTime").set("retention.ms", "-1")
            });
            let made = block(admin.create_topics(&new.collect::<Vec<_>>(), &options)).expect("an answer");
            missing.retain(|topic| !made.iter().any(|made| made.as_ref().is_ok_and(|name| name == topic)));
        }
    }

    /// Shows `visit` every record of a topic as it is now, as a reader under `read_committed` sees it, and how many
    /// they were.
    ///
    /// # Panics
    /// Where it cannot be read to its end.
    pub fn read(&self, topic: &str, partitions: u32, mut visit: impl FnMut(&BorrowedMessage<'_>)) -> u64 {
        let consumer = reader(&self.address, topic, 0..partitions, true);
        let (mut ends, mut count) = (0, 0);
        while ends < partitions {
            match consumer.poll(STALL).expect("a record or the end") {
                Ok(record) => {
                    visit(&record);
                    count += 1;
                }
                Err(KafkaError::PartitionEOF(_)) => ends += 1,
                Err(error) => panic!("{topic}: {error}"),
            }
        }
        count
    }

    /// Each of the first so many events is in `events` once, in a partition of its lane and as it was.
    ///
    /// # Panics
    /// Where that is not so.
    pub fn check_events(&self, partitions: u32, lanes: u32, events: u64) {
        let mut seen = vec![false; events as usize];
        let count = self.read(EVENTS, partitions, |record| {
            let number = traffic::number(record.key().expect("a key")).expect("an event of the benches");
            assert!(!std::mem::replace(&mut seen[number as usize], true), "event {number} is there twice");
            if number.is_multiple_of(CHECK_PERIOD) {
                let event = traffic::event(number);
                let (lane, is) = (traffic::partition(&event, lanes), record.partition().cast_unsigned() % lanes);
                assert_eq!((is, record.payload()), (lane, Some(&event.value[..])));
            }
        });
        assert_eq!(count, events, "every event is there");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings of a client of the broker at `address`.
pub fn client(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    config
}

/// A consumer of these partitions from their beginning, tuned as the worker's own are; it tells where each ends.
///
/// # Panics
/// Where librdkafka does not take that.
pub fn reader(address: &str, topic: &str, partitions: impl Iterator<Item = u32>, committed_only: bool) -> BaseConsumer {
    let mut config = client(address);
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", if committed_only { "read_committed" } else { "read_uncommitted" })
        .set("queued.max.messages.kbytes", "65536")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.cast_signed(), Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("partitions are assigned");
    consumer
}

/// A consumer of a topic from its end on, as it is once the consumer has found it, under `read_committed`.
///
/// # Panics
/// Where it does not find the end of each partition.
pub fn tail(address: &str, topic: &str, partitions: u32) -> BaseConsumer {
    let mut config = client(address);
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition.cast_signed(), Offset::End).expect("a partition");
    }
    consumer.assign(&list).expect("partitions are assigned");
    let mut ends = 0;
    while ends < partitions {
        if let Err(KafkaError::PartitionEOF(_)) = consumer.poll(STALL).expect("the end of a partition") {
            ends += 1;
        }
    }
    consumer
}

/// An event as a record of `topic`.
pub fn record_of<'a>(topic: &'a str, partition: u32, event: &'a Event) -> BaseRecord<'a, str, [u8]> {
    let received = event.received_at_ms.to_string();
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: SOURCE_HEADER, value: Some(event.source) })
        .insert(Header { key: RECEIVED_AT_HEADER, value: Some(&received) });
    BaseRecord::to(topic).partition(partition.cast_signed()).key(&*event.key).payload(&*event.value).headers(headers)
}

/// Sends a record, waiting for room where there is none.
///
/// # Panics
/// Where it is refused.
pub fn send<K: ToBytes + ?Sized, P: ToBytes + ?Sized>(producer: &Sender, mut record: BaseRecord<'_, K, P>) {
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
        record = back;
        thread::sleep(WAIT);
    }
}

/// Waits until everything that was sent is acknowledged; librdkafka's own flush would wait in steps of 100 ms.
///
/// # Panics
/// Where that takes too long.
pub fn settle(producer: &Sender) {
    let begun = Instant::now();
    while producer.in_flight_count() > 0 {
        assert!(begun.elapsed() < ANSWER_LIMIT, "records are not acknowledged");
        thread::sleep(WAIT);
    }
}

/// Ends the child when the thread that started it ends.
#[expect(unsafe_code, reason = "only between fork and exec can a child be tied to its parent")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into));
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the clone").join("scripts/kafka/cluster")
}

fn free_port() -> u16 {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.expect("a free port").port()
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}
