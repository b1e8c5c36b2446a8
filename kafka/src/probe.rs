//! A client that asks and reads nothing.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;

use crate::complaint::Asking;
use crate::handle::{Handle, text};
use crate::{Cluster, Failure, TopicFacts, Watermarks};

const NO_ERROR: rd::rd_kafka_resp_err_t = rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A client that asks and reads nothing.
pub struct Probe {
    client: BaseConsumer<Asking>,
    timeout: Duration,
}

impl Probe {
    /// A client for `cluster`, which need not be reachable. Each question waits up to `timeout`. A log ends for it where it
    /// does for its broker, open transactions included.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn new(cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        Self::seeing("read_uncommitted", cluster, timeout)
    }

    /// The same, to which a log ends where its first open transaction begins: what lies before can be read without waiting.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn committed(cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        Self::seeing("read_committed", cluster, timeout)
    }

    fn seeing(isolation: &str, cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        let mut config = cluster.config();
        config.set("isolation.level", isolation);
        let client = config.create_with_context(Asking::default()).map_err(Failure::of("make a client"))?;
        Ok(Self { client, timeout })
    }

    /// The facts of a topic, asked now.
    ///
    /// # Errors
    /// Where the cluster does not answer or has no such topic.
    pub fn topic(&self, topic: &'static str) -> Result<TopicFacts, Failure> {
        self.answers(topic, self.timeout)?;
        let facts = self.topics(&[topic])?.remove(topic);
        facts.ok_or_else(|| Failure::new("describe a topic", format!("{topic}: there is no such topic")))
    }

    /// Whether the cluster answers within `timeout`, asked about a topic that need not be there.
    ///
    /// While no broker can be reached, librdkafka's admin client looks for the controller in a loop without pauses that
    /// takes a core (2.12.1, measured), and a plain question waits. So this goes before [`topics`](Self::topics).
    ///
    /// # Errors
    /// Where it does not, with what was heard of it and what to do.
    pub(crate) fn answers(&self, topic: &str, timeout: Duration) -> Result<(), Failure> {
        self.client.context().is_unreachable.store(false, Relaxed);
        let answer = self.client.fetch_metadata(Some(topic), timeout);
        // Complaints wait until somebody polls; a client that reads nothing gets nothing else.
        while self.client.poll(Duration::ZERO).is_some() {}
        let explained = |failure| self.client.context().complaint.explain(failure);
        answer.map(drop).map_err(Failure::of("ask for a topic")).map_err(explained)
    }

    /// Whether no broker could be reached when it was asked last.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.client.context().is_unreachable.load(Relaxed)
    }

    /// The facts of those topics that are there, asked in one request.
    ///
    /// # Errors
    /// Where the cluster does not answer or refuses.
    pub(crate) fn topics(&self, topics: &[&'static str]) -> Result<BTreeMap<&'static str, TopicFacts>, Failure> {
        let cluster_id = self.client.client().fetch_cluster_id(self.timeout).unwrap_or_default();
        let mut found = self.describe(topics)?;
        for facts in found.values_mut() {
            facts.cluster_id.clone_from(&cluster_id);
        }
        Ok(found)
    }

    /// How far a partition reaches, asked now.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn watermarks(&self, topic: &str, partition: u32) -> Result<Watermarks, Failure> {
        let marks = self.client.fetch_watermarks(topic, partition.cast_signed(), self.timeout);
        let (low, high) = marks.map_err(Failure::of("ask for the ends of a partition"))?;
        Ok(Watermarks { low: low.max(0) as u64, high: high.max(0) as u64 })
    }

    /// The client itself, for other questions.
    pub(crate) fn client(&self) -> &BaseConsumer<Asking> {
        &self.client
    }

    #[expect(unsafe_code, reason = "topic ids are not in the safe interface")]
    fn describe(&self, topics: &[&'static str]) -> Result<BTreeMap<&'static str, TopicFacts>, Failure> {
        const OPERATION: &str = "describe topics";
        let fail = |detail: &str| Failure::new(OPERATION, detail);
        let names: Vec<CString> =
            topics.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>().map_err(|_| fail("a zero byte"))?;
        let mut list: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let client = self.client.client().native_ptr();
        let timeout_ms = self.timeout.as_millis() as i32;
        // SAFETY: `client` lives as long as `self`, the names as long as this call, which copies them. Every object made
        // here is owned by a `Handle`, which destroys it once, in the reverse order of their making; what the event
        // lends is read before the event goes.
        unsafe {
            let asked = rd::rd_kafka_TopicCollection_of_topic_names(list.as_mut_ptr(), list.len());
            let asked = Handle::new(asked, rd::rd_kafka_TopicCollection_destroy).ok_or_else(|| fail("no memory"))?;
            let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = rd::rd_kafka_AdminOptions_new(client, operation);
            let options = Handle::new(options, rd::rd_kafka_AdminOptions_destroy).ok_or_else(|| fail("no memory"))?;
            let limit = rd::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, ptr::null_mut(), 0);
            if limit != NO_ERROR {
                return Err(fail("its time limit was refused"));
            }
            let queue = Handle::new(rd::rd_kafka_queue_new(client), rd::rd_kafka_queue_destroy);
            let queue = queue.ok_or_else(|| fail("no memory"))?;
            rd::rd_kafka_DescribeTopics(client, asked.get(), options.get(), queue.get());
            let event = rd::rd_kafka_queue_poll(queue.get(), timeout_ms);
            let event = Handle::new(event, rd::rd_kafka_event_destroy).ok_or_else(|| fail("no answer"))?;
            if rd::rd_kafka_event_error(event.get()) != NO_ERROR {
                return Err(fail(&text(rd::rd_kafka_event_error_string(event.get()))));
            }
            let result = rd::rd_kafka_event_DescribeTopics_result(event.get());
            let mut count = 0;
            let first = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            let mut found = BTreeMap::new();
            for place in 0..count {
                let description = *first.add(place);
                let name = text(rd::rd_kafka_TopicDescription_name(description));
                let Some(topic) = topics.iter().find(|topic| **topic == name) else { continue };
                let error = rd::rd_kafka_TopicDescription_error(description);
                match RDKafkaErrorCode::from(rd::rd_kafka_error_code(error)) {
                    RDKafkaErrorCode::NoError => drop(found.insert(*topic, facts(description))),
                    RDKafkaErrorCode::UnknownTopicOrPartition => {}
                    _ => return Err(fail(&format!("{topic}: {}", text(rd::rd_kafka_error_string(error))))),
                }
            }
            Ok(found)
        }
    }
}

/// What a description says.
///
/// # Safety
/// It is alive.
#[expect(unsafe_code, reason = "descriptions are librdkafka's")]
unsafe fn facts(description: *const rd::rd_kafka_TopicDescription_t) -> TopicFacts {
    let mut partition_count = 0;
    // SAFETY: the caller gives a description that is alive, and with it what it lends, which is read at once.
    unsafe {
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        let mut topic_id = [0; 16];
        topic_id[..8].copy_from_slice(&rd::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
        topic_id[8..].copy_from_slice(&rd::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
        let partitions = rd::rd_kafka_TopicDescription_partitions(description, &raw mut partition_count);
        let replicas = (0..partition_count).map(|place| {
            let mut count = 0;
            rd::rd_kafka_TopicPartitionInfo_replicas(*partitions.add(place), &raw mut count);
            count as u32
        });
        let replicas_min = replicas.min().unwrap_or(0);
        TopicFacts { cluster_id: String::new(), topic_id, partition_count: partition_count as u32, replicas_min }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}
