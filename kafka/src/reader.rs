//! One partition of one topic, read in its order from a place that the reader chooses.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, DefaultConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Cluster, Failure, Message};

/// Bytes that librdkafka fetches ahead for one partition, as it wants them: in KiB. Sixteen partitions of two inputs at
/// its own 64 MiB would be two GiB.
const FETCH_AHEAD_KIB: &str = "16384";

/// Bytes asked for in one request.
const FETCH_BYTES: &str = "4194304";

/// Which records of transactions are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions: the output and the changelog are read like this.
    Committed,
    /// All: the inputs are not transactional.
    Uncommitted,
}

/// What a [`Reader`] met.
#[derive(Debug)]
pub enum Read<'a> {
    /// A record.
    Record(Message<'a>),
    /// The end of the log as it is now.
    End,
    /// Nothing within the time that was given.
    Nothing,
    /// The offset to read is not in the log: what was there has been deleted, or this is another log.
    OutOfRange,
    /// Something that librdkafka gets over by itself, if it can be got over: a broker that is away.
    Trouble(Failure),
}

/// A reader of one partition, with its own connection. It is in no group and stores no offsets.
pub struct Reader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    partition: u32,
}

/// librdkafka's error events are met again as results of a poll; they are not logged twice.
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
    /// Reads `partition` of `topic` from `offset` on.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn open(
        cluster: &Cluster,
        topic: &str,
        partition: u32,
        offset: u64,
        isolation: Isolation,
    ) -> Result<Self, Failure> {
        let mut config = cluster.config();
        let level = if isolation == Isolation::Committed { "read_committed" } else { "read_uncommitted" };
        config
            .set("isolation.level", level)
            // librdkafka assigns nothing without a group's name. Nothing is ever said to that group.
            .set("group.id", "dedup-worker.reader")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // An offset that is not there is for the caller to judge.
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", FETCH_AHEAD_KIB)
            // Four times librdkafka's own: three records of the changelog would be a request otherwise.
            .set("fetch.message.max.bytes", FETCH_BYTES)
            // A queue that was full is filled again after this; with librdkafka's second it runs dry first.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true");
        let context = Quiet(DefaultConsumerContext);
        let consumer: BaseConsumer<Quiet> =
            config.create_with_context(context).map_err(Failure::of("make a consumer"))?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition.cast_signed(), Offset::Offset(offset.cast_signed()))
            .and_then(|()| consumer.assign(&list))
            .map_err(Failure::of("assign a partition"))?;
        Ok(Self { consumer, topic: topic.to_owned(), partition })
    }

    /// The next thing that happens within `timeout`.
    pub fn read(&self, timeout: Duration) -> Read<'_> {
        match self.consumer.poll(timeout) {
            None => Read::Nothing,
            Some(Ok(record)) => Read::Record(Message(record)),
            Some(Err(KafkaError::PartitionEOF(_))) => Read::End,
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::LogTruncation,
                ) => Read::OutOfRange,
                _ => Read::Trouble(Failure::new("read a partition", error)),
            },
        }
    }

    /// Offset of the next record to come. Passes the marks that transactions leave behind, which no poll returns.
    pub fn position(&self) -> Option<u64> {
        let positions = self.consumer.position().ok()?;
        match positions.find_partition(&self.topic, self.partition.cast_signed())?.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        }
    }

    /// Where the log ended when the broker last said so; asks nobody.
    #[expect(unsafe_code, reason = "the ends that librdkafka remembers are not in the safe interface")]
    pub fn known_end(&self) -> Option<u64> {
        let topic = std::ffi::CString::new(self.topic.as_str()).ok()?;
        let (mut low, mut high) = (-1, -1);
        let client = self.consumer.client().native_ptr();
        let partition = self.partition.cast_signed();
        // SAFETY: the client lives as long as `self`, the others as long as the call.
        let known = unsafe {
            rdkafka::bindings::rd_kafka_get_watermark_offsets(
                client,
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        let is_known = known == rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        is_known.then(|| u64::try_from(high).ok()).flatten()
    }

    /// Calls `wake` from librdkafka's thread whenever there is something to read again.
    pub fn on_readable(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.consumer.set_nonempty_callback(wake);
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("topic", &self.topic).field("partition", &self.partition).finish_non_exhaustive()
    }
}
