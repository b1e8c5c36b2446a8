//! Topics: made, changed, and read to their ends, fast, for the hundreds of thousands of records that a load leaves.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use wire::topic::EVENTS_INDEX;

use crate::pair::{LANES, PARTITIONS};
use crate::wait;

/// Longer than any answer of a healthy broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// A topic has as many replicas as its cluster gives by itself: all its brokers.
const AS_THE_CLUSTER: i32 = -1;

/// Where the replicas of a topic go.
#[derive(Clone, Copy)]
enum Placed<'a> {
    /// So many of each partition, wherever the cluster likes.
    Anywhere(i32),
    /// Those of each partition to these brokers.
    At(&'a [&'a [i32]]),
}

impl<'a> Placed<'a> {
    fn replication(self) -> TopicReplication<'a> {
        match self {
            Self::Anywhere(count) => TopicReplication::Fixed(count),
            Self::At(brokers) => TopicReplication::Variable(brokers),
        }
    }
}

/// Deletes those topics that are there, and makes all of them, as good as `scripts/kafka` does for production but kept
/// for ever, and with these further settings.
///
/// # Panics
/// Where the cluster does not answer.
pub fn make_anew(brokers: SocketAddr, topics: &[&str], settings: &[(&str, &str)]) {
    make(brokers, topics, settings, Placed::Anywhere(AS_THE_CLUSTER), usual);
}

/// The same, each partition on one broker alone: with that one it has no leader any more.
///
/// # Panics
/// Where the cluster does not answer.
pub fn make_anew_unreplicated(brokers: SocketAddr, topics: &[&str]) {
    make(brokers, topics, &[("min.insync.replicas", "1")], Placed::Anywhere(1), usual);
}

/// The same of one topic on three brokers, each partition led by this one of them while that is there.
///
/// # Panics
/// Where the cluster does not answer.
pub fn make_anew_led(brokers: SocketAddr, topic: &str, leader: impl Fn(u32) -> i32) {
    // Who comes first is preferred.
    let replicas = |partition| [0, 1, 2].map(|step| (leader(partition) - 1 + step) % 3 + 1);
    let replicas: Vec<_> = (0..usual(topic)).map(replicas).collect();
    let replicas: Vec<&[i32]> = replicas.iter().map(<[i32; 3]>::as_slice).collect();
    make(brokers, &[topic], &[], Placed::At(&replicas), usual);
}

fn usual(topic: &str) -> u32 {
    if topic == EVENTS_INDEX { LANES } else { PARTITIONS }
}

/// The same of one topic, with so many partitions.
///
/// # Panics
/// Where the cluster does not answer.
pub fn make_anew_of(brokers: SocketAddr, topic: &str, partitions: u32) {
    make(brokers, &[topic], &[], Placed::Anywhere(AS_THE_CLUSTER), |_| partitions);
}

fn make(
    brokers: SocketAddr,
    topics: &[&str],
    settings: &[(&str, &str)],
    placed: Placed<'_>,
    count_of: impl Fn(&str) -> u32,
) {
    delete(brokers, topics);
    let (admin, options) = (admin(brokers), AdminOptions::new());
    let mut missing = topics.to_vec();
    // A deleted topic's name is free again only after a moment.
    wait::until("the topics are made", ANSWER_LIMIT, || {
        let new: Vec<_> = missing
            .iter()
            .map(|topic| {
                let topic = NewTopic::new(topic, count_of(topic).cast_signed(), placed.replication())
                    .set("message.timestamp.type", "LogAppendTime")
                    .set("retention.ms", "-1");
                settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
            })
            .collect();
        let made = block_on(admin.create_topics(&new, &options)).expect("an answer");
        missing.retain(|topic| !made.iter().flatten().any(|made| made == topic));
        missing.is_empty().then_some(())
    });
    // What the controller has made the broker learns a moment later, and answers for the deleted ones until then.
    let consumer = consumer(&brokers);
    let count = |topic: &&str| {
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER_LIMIT).ok()?;
        Some(metadata.topics().first()?.partitions().len())
    };
    wait::until("the broker knows the topics", ANSWER_LIMIT, || {
        topics.iter().all(|topic| count(topic) == Some(count_of(topic) as usize)).then_some(())
    });
}

/// Deletes those topics that are there.
///
/// # Panics
/// Where the cluster does not answer.
pub fn delete(brokers: SocketAddr, topics: &[&str]) {
    // One that is not there is fine.
    let _ = block_on(admin(brokers).delete_topics(topics, &AdminOptions::new())).expect("an answer");
}

/// Adds partitions to a topic until it has `count`.
///
/// # Panics
/// Where the cluster refuses.
pub fn add_partitions(brokers: SocketAddr, topic: &str, count: usize) {
    let new = NewPartitions::new(topic, count);
    let results = block_on(admin(brokers).create_partitions(&[new], &AdminOptions::new())).expect("an answer");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// What a topic is set to, names and values as the broker gives them.
///
/// # Panics
/// Where the cluster does not answer or has no such topic.
pub fn settings(brokers: SocketAddr, topic: &str) -> Vec<(String, String)> {
    let topics = [ResourceSpecifier::Topic(topic)];
    let answers = block_on(admin(brokers).describe_configs(&topics, &AdminOptions::new())).expect("an answer");
    let settings = answers.into_iter().next().expect("one answer").expect("the topic's settings");
    settings.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Whether every replica of every partition has what its leader has, Kafka's own topics included.
pub(crate) fn is_in_sync(brokers: &str) -> bool {
    let Ok(metadata) = consumer(&brokers).fetch_metadata(None, ANSWER_LIMIT) else { return false };
    let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    partitions.all(|partition| partition.leader() >= 0 && partition.isr().len() == partition.replicas().len())
}

/// How many partitions of a topic each of its leaders has, by the broker's id.
///
/// # Panics
/// Where the cluster does not answer.
pub fn leaders(brokers: &str, topic: &str) -> BTreeMap<i32, u32> {
    let metadata = consumer(&brokers).fetch_metadata(Some(topic), ANSWER_LIMIT).expect("the topic's metadata");
    let mut leaders = BTreeMap::new();
    for partition in metadata.topics().first().expect("the topic").partitions() {
        *leaders.entry(partition.leader()).or_default() += 1;
    }
    leaders
}

/// Records of a topic that no transaction wrote to.
///
/// # Panics
/// Where the cluster does not answer.
pub fn records(brokers: SocketAddr, topic: &str) -> u64 {
    let spans = spans(&consumer(&brokers), topic);
    spans.into_iter().map(|(_, low, high)| (high - low) as u64).sum()
}

/// Shows `visit` every committed record of a topic that is there now: partition, key and value.
///
/// # Panics
/// When the topic cannot be read to its end.
pub fn read(brokers: SocketAddr, topic: &str, mut visit: impl FnMut(u32, &[u8], &[u8])) {
    each(brokers, topic, |record| {
        let (key, value) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
        visit(record.partition().unsigned_abs(), key, value);
    });
}

fn each(brokers: SocketAddr, topic: &str, mut visit: impl FnMut(&BorrowedMessage<'_>)) {
    let consumer = consumer(&brokers);
    let mut list = TopicPartitionList::new();
    let mut open = HashSet::new();
    for (partition, low, _) in spans(&consumer, topic) {
        open.insert(partition);
        list.add_partition_offset(topic, partition, Offset::Offset(low)).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    // Offsets are no count: transactions leave marks among the records.
    while !open.is_empty() {
        match consumer.poll(ANSWER_LIMIT).expect("a record, or the end of a partition") {
            Ok(record) => visit(&record),
            Err(KafkaError::PartitionEOF(partition)) => drop(open.remove(&partition)),
            Err(error) => panic!("reading {topic}: {error}"),
        }
    }
}

/// Partitions with their first offset and the one behind their last.
fn spans(consumer: &BaseConsumer, topic: &str) -> Vec<(i32, i64, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_LIMIT).expect("the topic's metadata");
    let partitions = metadata.topics().first().expect("the topic").partitions().len() as i32;
    (0..partitions)
        .map(|partition| {
            let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT).expect("watermarks");
            (partition, low, high)
        })
        .collect()
}

fn consumer(brokers: &impl ToString) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers.to_string())
        .set("group.id", "scenario")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .create()
        .expect("a consumer")
}

fn admin(brokers: SocketAddr) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers.to_string()).create().expect("a client")
}

/// An answer of the admin client needs no runtime: its own thread completes it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
