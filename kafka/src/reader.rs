//! One client that reads many partitions of a cluster, each into the queue of whoever wants it.
//!
//! A consumer for each partition costs each its threads, its connections and its memory. One consumer with an assignment,
//! whose partitions are forwarded to queues, loses some of them for good when the assignment changes, because it takes the
//! forwarding back at its leisure (librdkafka 2.12.1, measured: 16 of 64). So this is librdkafka's simple interface: no group
//! and no assignment, and a partition is started on a queue, moved and stopped without touching any other.
//!
//! librdkafka has one request to fetch under way for each broker, which names every partition; a partition that is live
//! waits in it beside those that catch up. A small answer for each keeps that fair.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::KafkaError;

use crate::topics::Topics;
use crate::{Cluster, Failure, Queue};

/// Partitions that one client should read at most. With 256 and 300 records a second one has a p99 of 287 ms, two have 39
/// (measured).
pub const PARTITIONS_MAX: usize = 128;

/// For every reader: name, value, why.
const READING: [(&str, &str, &str); 10] = [
    ("enable.auto.commit", "false", "positions are kept elsewhere"),
    ("auto.offset.reset", "error", "an offset that is not there is for the caller to judge"),
    ("enable.partition.eof", "true", "the end of a log is an event"),
    ("check.crcs", "true", "a flipped bit on the way is found"),
    ("fetch.min.bytes", "1", "a record is handed out when it comes"),
    ("fetch.error.backoff.ms", "100", "a partition whose leader moved is asked for again at once"),
    (
        "fetch.queue.backoff.ms",
        "10",
        "a queue that was full is filled again after this; with a second it runs dry first",
    ),
    ("message.max.bytes", "1048576", "no more than what is fetched at once"),
    ("topic.metadata.refresh.interval.ms", "60000", "the watch sees new partitions; this finds moved leaders"),
    ("reconnect.backoff.max.ms", "500", "a broker that is back is used at once"),
];

/// Which records of transactions are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions: the output and the changelog are read like this.
    Committed,
    /// All: the inputs are not transactional.
    Uncommitted,
}

impl Isolation {
    /// What librdkafka calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// How much is fetched ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// KiB that a queue holds at most, give or take one answer of a broker.
    pub queue_kib: u32,
    /// Bytes of one partition in an answer of a broker.
    pub partition_bytes: u32,
    /// Bytes of an answer of a broker.
    pub answer_bytes: u32,
    /// Records that a queue is filled up to.
    pub records: u32,
    /// Milliseconds for which a broker that has nothing new keeps a request. That the end is reached is heard of with the
    /// answer to the one that found nothing, and where reading begins anew it waits for the one before.
    pub wait_ms: u32,
}

impl Ahead {
    /// For many partitions beside each other: one that is live waits for no more than 30 ms beside 255 that catch up (p99,
    /// measured; with half as much in an answer it was 306, because there was room for fewer). An idle fleet asks four times a
    /// second.
    pub const MANY: Self =
        Self { queue_kib: 256, partition_bytes: 128 << 10, answer_bytes: 4 << 20, records: 1_000, wait_ms: 250 };
    /// For one partition that is read to an end as fast as can be, and no longer.
    pub const ONE: Self =
        Self { queue_kib: 16 << 10, partition_bytes: 4 << 20, answer_bytes: 8 << 20, records: 4_000, wait_ms: 20 };
    /// For one partition that is read beside many others for which that would be too much.
    pub const LEAN: Self =
        Self { queue_kib: 1 << 10, partition_bytes: 1 << 20, answer_bytes: 1 << 20, records: 1_000, wait_ms: 20 };

    /// Bytes that a queue may come to hold: what it is filled up to, and the answer that goes beyond.
    pub const fn bytes(self) -> usize {
        ((self.queue_kib as usize) << 10) + self.answer_bytes as usize
    }

    /// For so many partitions beside each other, read into so many queues. What a queue holds is shared out among the queues,
    /// however many partitions go into each; and the fewer partitions there are, the fewer answers of a broker a backlog needs.
    ///
    /// All queues together are to hold 8 MiB and the 16,000 records that take as much beside it. Four times as much held 40 MB
    /// more of a backlog that nobody takes (measured, bench `idle`).
    pub fn of(partitions: u32, queues: u32) -> Self {
        let share = |all: u32, by: u32, least: u32, most: u32| (all / by.max(1)).clamp(least, most);
        Self {
            queue_kib: share(8 << 10, queues, Self::MANY.queue_kib, 4 << 10),
            records: share(16_000, queues, Self::MANY.records, 8_000),
            partition_bytes: share(32 << 20, partitions, Self::MANY.partition_bytes, 1 << 20),
            answer_bytes: share(1 << 30, partitions, Self::MANY.answer_bytes, 8 << 20),
            wait_ms: Self::MANY.wait_ms,
        }
    }
}

/// The client. It ends when it and every queue and record of it are dropped. Somebody has to [`serve`](Self::serve) it.
#[derive(Clone)]
pub struct Reader(pub(crate) Arc<Client>);

/// What its queues and records keep alive.
pub(crate) struct Client {
    /// Before the consumer: they are the consumer's.
    topics: Topics,
    consumer: BaseConsumer<Quiet>,
}

/// librdkafka's error events are met again as items of a queue; they are not logged twice.
struct Quiet(DefaultConsumerContext);

impl rdkafka::ClientContext for Quiet {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Quiet {
    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        self.0.main_queue_min_poll_interval()
    }
}

impl Reader {
    /// A client for `cluster`, which need not be reachable.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn open(cluster: &Cluster, isolation: Isolation, ahead: Ahead) -> Result<Self, Failure> {
        let mut config = cluster.config();
        for (name, value, _) in READING {
            config.set(name, value);
        }
        let Ahead { queue_kib, partition_bytes, answer_bytes, records, wait_ms } = ahead;
        config
            .set("isolation.level", isolation.name())
            .set("queued.max.messages.kbytes", queue_kib.to_string())
            // By bytes alone a queue of tiny records would grow past all bounds.
            .set("queued.min.messages", records.to_string())
            .set("fetch.wait.max.ms", wait_ms.to_string())
            .set("fetch.message.max.bytes", partition_bytes.to_string())
            .set("fetch.max.bytes", answer_bytes.max(1 << 20).to_string());
        let context = Quiet(DefaultConsumerContext);
        let consumer =
            BaseConsumer::from_config_and_context(&config, context).map_err(Failure::of("make a consumer"))?;
        Ok(Self(Arc::new(Client { topics: Topics::default(), consumer })))
    }

    /// A queue for partitions of `topic`. `wake` is called from librdkafka's threads when there is something on it again.
    ///
    /// # Errors
    /// Where librdkafka takes no such topic.
    pub fn queue(&self, topic: &CStr, wake: impl Fn() + Send + Sync + 'static) -> Result<Queue, Failure> {
        Queue::new(Arc::clone(&self.0), topic, Box::new(wake))
    }

    /// Takes what librdkafka tells of the client itself: logs and errors pile up without bound otherwise. Now and then is
    /// enough.
    pub fn serve(&self) {
        while self.0.consumer.poll(Duration::ZERO).is_some() {}
    }
}

impl Client {
    pub(crate) fn native(&self) -> *mut rd::rd_kafka_t {
        self.consumer.client().native_ptr()
    }

    /// librdkafka's handle of a topic, which lives as long as `self`.
    #[expect(unsafe_code, reason = "the handles are librdkafka's")]
    pub(crate) fn topic(&self, name: &CStr) -> Option<NonNull<rd::rd_kafka_topic_t>> {
        // SAFETY: it is the one client of this value, and dropped after the topics, as the order of the fields has it.
        unsafe { self.topics.find(self.native(), name) }.and_then(NonNull::new)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_partitions_are_fetched_in_larger_pieces() {
        assert_eq!(Ahead::of(256, 64), Ahead::MANY);
        assert_eq!(Ahead::of(100_000, 1_000), Ahead::MANY);
        assert_eq!(
            Ahead::of(256, 8),
            Ahead { queue_kib: 1 << 10, records: 2_000, ..Ahead::MANY },
            "a queue is a lane's"
        );
        let few = Ahead::of(8, 8);
        assert_eq!(
            (few.queue_kib, few.partition_bytes, few.answer_bytes, few.records),
            (1 << 10, 1 << 20, 8 << 20, 2_000)
        );
        assert_eq!(Ahead::of(0, 0), Ahead::of(1, 1));
        let cluster = Cluster::new("test", "primary", "127.0.0.1:1", service::Properties::default());
        for partitions in [1, 8, 64] {
            Reader::open(&cluster, Isolation::Uncommitted, Ahead::of(partitions, 8)).unwrap();
        }
    }

    #[test]
    fn every_setting_has_a_reason_and_is_taken() {
        assert!(READING.iter().all(|(_, _, reason)| !reason.is_empty()));
        let cluster = Cluster::new("test", "primary", "127.0.0.1:1", service::Properties::default());
        for (isolation, ahead) in [(Isolation::Committed, Ahead::ONE), (Isolation::Uncommitted, Ahead::MANY)] {
            Reader::open(&cluster, isolation, ahead).unwrap();
        }
    }
}
