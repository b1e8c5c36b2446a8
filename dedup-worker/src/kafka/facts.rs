//! What a cluster says of its topics: which cluster it is, which topic, how many partitions, how far they reach.
//!
//! A topic's name is no identity. A topic that was deleted and made again has the same name, and once it has grown past a
//! stored offset, reading on at that offset skips its first records without any error. Its id tells.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::heard::Heard;
use super::{Cluster, KafkaFailure};

/// The identity and size of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// The id of the cluster it is on.
    pub cluster_id: String,
    /// Its id, which no other topic ever had.
    pub topic_id: [u8; 16],
    /// Its partitions.
    pub partition_count: u32,
}

/// First offset that is there and the offset behind the last, of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Lower ones have been deleted.
    pub low: u64,
    /// Where the next record will be, open transactions included.
    pub high: u64,
}

/// A client that asks and reads nothing.
pub struct Probe {
    client: BaseConsumer<Heard>,
    timeout: Duration,
}

impl Probe {
    /// A client for `cluster`, which need not be reachable. Each question waits up to `timeout`.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn new(cluster: &Cluster, timeout: Duration) -> Result<Self, KafkaFailure> {
        let mut config = cluster.config();
        // A read_committed client is told the last stable offset for the end of a log; a log is longer than that.
        config.set("isolation.level", "read_uncommitted");
        let client = config.create_with_context(Heard::default()).map_err(KafkaFailure::of("make a client"))?;
        Ok(Self { client, timeout })
    }

    /// The facts of a topic, asked now.
    ///
    /// # Errors
    /// Where the cluster does not answer or has no such topic.
    pub fn topic(&self, topic: &str) -> Result<TopicFacts, KafkaFailure> {
        // While no broker can be reached, librdkafka's admin client looks for the controller in a loop without pauses
        // that takes a core (2.12.1, measured), and a plain question waits. So the admin client is asked only of a
        // cluster that answers.
        let answer = self.client.fetch_metadata(Some(topic), self.timeout);
        let explained = |failure| {
            // Complaints wait until somebody polls; a client that reads nothing gets nothing else.
            while self.client.poll(Duration::ZERO).is_some() {}
            self.client.context().explain(failure)
        };
        answer.map_err(KafkaFailure::of("ask for a topic")).map_err(explained)?;
        let (topic_id, partition_count) = self.describe(topic)?;
        let cluster_id = self.client.client().fetch_cluster_id(self.timeout);
        let cluster_id = cluster_id.ok_or_else(|| KafkaFailure::new("ask for the cluster's id", "no answer"))?;
        Ok(TopicFacts { cluster_id, topic_id, partition_count })
    }

    /// How far a partition reaches, asked now.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn watermarks(&self, topic: &str, partition: u32) -> Result<Watermarks, KafkaFailure> {
        let marks = self.client.fetch_watermarks(topic, partition.cast_signed(), self.timeout);
        let (low, high) = marks.map_err(KafkaFailure::of("ask for the ends of a partition"))?;
        Ok(Watermarks { low: low.max(0) as u64, high: high.max(0) as u64 })
    }

    /// The client itself, for other questions.
    pub fn client(&self) -> &BaseConsumer<Heard> {
        &self.client
    }

    #[expect(unsafe_code, reason = "topic ids are not in the safe interface")]
    fn describe(&self, topic: &str) -> Result<([u8; 16], u32), KafkaFailure> {
        const OPERATION: &str = "describe a topic";
        let fail = |detail: &str| KafkaFailure::new(OPERATION, format!("{topic}: {detail}"));
        let name = CString::new(topic).map_err(|_| fail("its name holds a zero byte"))?;
        let client = self.client.client().native_ptr();
        let timeout_ms = self.timeout.as_millis() as i32;
        // SAFETY: `client` lives as long as `self`. Every object made here is owned by a `Handle`, which destroys it
        // once, in the reverse order of their making; what the event lends is read before the event goes.
        unsafe {
            let mut names = [name.as_ptr()];
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let topics = Handle::new(topics, rd::rd_kafka_TopicCollection_destroy).ok_or_else(|| fail("no memory"))?;
            let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = rd::rd_kafka_AdminOptions_new(client, operation);
            let options = Handle::new(options, rd::rd_kafka_AdminOptions_destroy).ok_or_else(|| fail("no memory"))?;
            let timeout = rd::rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, ptr::null_mut(), 0);
            if timeout != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(fail("its time limit was refused"));
            }
            let queue = Handle::new(rd::rd_kafka_queue_new(client), rd::rd_kafka_queue_destroy);
            let queue = queue.ok_or_else(|| fail("no memory"))?;
            rd::rd_kafka_DescribeTopics(client, topics.get(), options.get(), queue.get());
            let event = rd::rd_kafka_queue_poll(queue.get(), timeout_ms);
            let event = Handle::new(event, rd::rd_kafka_event_destroy).ok_or_else(|| fail("no answer"))?;
            if rd::rd_kafka_event_error(event.get()) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(fail(&text(rd::rd_kafka_event_error_string(event.get()))));
            }
            let result = rd::rd_kafka_event_DescribeTopics_result(event.get());
            let mut count = 0;
            let found = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            if count != 1 {
                return Err(fail("not described"));
            }
            let description = *found;
            let error = rd::rd_kafka_TopicDescription_error(description);
            if rd::rd_kafka_error_code(error) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(fail(&text(rd::rd_kafka_error_string(error))));
            }
            let id = rd::rd_kafka_TopicDescription_topic_id(description);
            let mut topic_id = [0; 16];
            topic_id[..8].copy_from_slice(&rd::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
            topic_id[8..].copy_from_slice(&rd::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
            let mut partition_count = 0;
            rd::rd_kafka_TopicDescription_partitions(description, &raw mut partition_count);
            Ok((topic_id, partition_count as u32))
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// An object of librdkafka's, destroyed when dropped.
struct Handle<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Handle<T> {
    fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(object).map(|object| Self(object, destroy))
    }

    fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Handle<T> {
    #[expect(unsafe_code, reason = "the object is librdkafka's")]
    fn drop(&mut self) {
        // SAFETY: the object was made for this handle alone and is destroyed nowhere else.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}

/// A text that librdkafka lends.
#[expect(unsafe_code, reason = "the text is librdkafka's")]
fn text(text: *const c_char) -> String {
    if text.is_null() {
        return "no reason given".into();
    }
    // SAFETY: librdkafka's texts end with a zero byte, and the caller still holds what lends it.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
