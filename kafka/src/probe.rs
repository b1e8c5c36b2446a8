//! A client that asks and reads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use crate::complaint::Asking;
use crate::handle::{Handle, text};
use crate::offsets::Offsets;
use crate::request::{Request, array, error};
use crate::{Cluster, Failure, Isolation, TopicFacts, Watermarks};

/// Times that somebody is asked who leads what: the broker that librdkafka chooses may be a frozen one.
const LEADERS_ASKED: u32 = 3;

/// A client that asks and reads nothing.
pub struct Probe {
    client: BaseConsumer<Asking>,
    isolation: Isolation,
    timeout: Duration,
}

impl Probe {
    /// A client for `cluster`, which need not be reachable. Each question waits up to `timeout`. A log ends for it where it
    /// does for its broker, open transactions included.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn new(cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        Self::seeing(Isolation::Uncommitted, cluster, timeout)
    }

    /// The same, to which a log ends where its first open transaction begins: what lies before can be read without waiting.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn committed(cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        Self::seeing(Isolation::Committed, cluster, timeout)
    }

    fn seeing(isolation: Isolation, cluster: &Cluster, timeout: Duration) -> Result<Self, Failure> {
        let mut config = cluster.config();
        config.set("isolation.level", isolation.name());
        let client = config.create_with_context(Asking::default()).map_err(Failure::of("make a client"))?;
        Ok(Self { client, isolation, timeout })
    }

    /// The facts of a topic, asked now.
    ///
    /// # Errors
    /// Where the cluster does not answer or has no such topic.
    pub fn topic(&self, topic: &'static str) -> Result<TopicFacts, Failure> {
        let facts = self.find(topic)?;
        facts.ok_or_else(|| Failure::new("describe a topic", format!("{topic}: there is no such topic")))
    }

    /// The same, `None` where the cluster has no such topic.
    ///
    /// # Errors
    /// Where the cluster does not answer, or does not tell.
    pub fn find(&self, topic: &'static str) -> Result<Option<TopicFacts>, Failure> {
        self.answers(topic, self.timeout)?;
        Ok(self.topics(&[topic])?.remove(topic))
    }

    /// The facts of a topic where no broker's may be old: each broker that is named has to answer, and the largest number of
    /// partitions counts. A broker that has not heard yet of a topic's growth hides what lies in the new partitions.
    ///
    /// # Errors
    /// As [`topic`](Self::topic), of any broker; and where two of them name different topics.
    pub fn widest(&self, topic: &'static str) -> Result<TopicFacts, Failure> {
        const OPERATION: &str = "ask every broker for a topic";
        let metadata = self.ask(OPERATION, topic, self.timeout)?;
        let cluster_id = self.client.client().fetch_cluster_id(self.timeout).unwrap_or_default();
        let mut told = Vec::new();
        for broker in metadata.brokers() {
            let found = self.describe(&[topic], Some(broker.id()));
            let of = |failure| Failure::new(OPERATION, format!("{}:{}: {failure}", broker.host(), broker.port()));
            told.extend(found.map_err(of)?.remove(topic));
        }
        let widest = TopicFacts::widest(told).map_err(|why| Failure::new(OPERATION, format!("{topic}: {why}")))?;
        Ok(TopicFacts { cluster_id, ..widest })
    }

    /// Whether the cluster answers within `timeout`, asked about a topic that need not be there.
    ///
    /// While no broker can be reached, librdkafka's admin client looks for the controller in a loop without pauses that
    /// takes a core (2.12.1, measured), and a plain question waits. So this goes before [`topics`](Self::topics).
    ///
    /// # Errors
    /// Where it does not, with what was heard of it and what to do.
    pub(crate) fn answers(&self, topic: &str, timeout: Duration) -> Result<(), Failure> {
        self.ask("ask for a topic", topic, timeout).map(drop)
    }

    /// What any one broker tells of a topic within `timeout`, or what was heard of the cluster meanwhile.
    fn ask(&self, operation: &'static str, topic: &str, timeout: Duration) -> Result<Metadata, Failure> {
        self.client.context().is_unreachable.store(false, Relaxed);
        let answer = self.client.fetch_metadata(Some(topic), timeout);
        // Complaints wait until somebody polls; a client that reads nothing gets nothing else.
        while self.client.poll(Duration::ZERO).is_some() {}
        let explained = |failure| self.client.context().complaint.explain(failure);
        answer.map_err(Failure::of(operation)).map_err(explained)
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
        let mut found = self.describe(topics, None)?;
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

    /// How far some partitions reach, asked now: two requests to each broker that leads any, however many they are.
    ///
    /// What nobody tells is missing: of a partition that is not there or has no leader, of one whose leader answers with an
    /// error, or not in time. The others are there all the same. Where brokers are silent it takes twice the probe's time
    /// at most.
    ///
    /// # Errors
    /// Where no broker can be reached, or it is not known who leads any of them.
    pub fn ends(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = u32>,
    ) -> Result<BTreeMap<u32, Watermarks>, Failure> {
        let partitions: BTreeSet<u32> = partitions.into_iter().collect();
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let silence = self.find_leaders(topic)?;
        let ask = |of: Offset| self.offsets(topic, partitions.iter().map(|partition| (*partition, of)));
        // Both are on their way together, so a silent broker costs its time once.
        let (low, high) = (ask(Offset::Beginning)?, ask(Offset::End)?);
        let low = low.answer().map_err(|failure| silence.unwrap_or(failure))?;
        let high = high.answer()?;
        let marks = |(partition, low): (u32, i64)| {
            let (low, high) = (u64::try_from(low).ok()?, u64::try_from(*high.get(&partition)?).ok()?);
            Some((partition, Watermarks { low, high }))
        };
        Ok(low.into_iter().filter_map(marks).collect())
    }

    /// Of some partitions, each with a time of its own, the offset of the first record that was appended then or later; `None`
    /// where there is none yet. Marks of transactions count as records. It takes one request to each broker that leads any.
    /// Of a partition that is named twice the last time counts. What nobody tells is missing, as it is from [`ends`](Self::ends).
    ///
    /// # Errors
    /// As [`ends`](Self::ends).
    pub fn offsets_at(&self, topic: &str, times_ms: &[(u32, i64)]) -> Result<BTreeMap<u32, Option<u64>>, Failure> {
        let times_ms: BTreeMap<u32, i64> = times_ms.iter().copied().collect();
        if times_ms.is_empty() {
            return Ok(BTreeMap::new());
        }
        let silence = self.find_leaders(topic)?;
        // Below zero they would mean the ends of the log.
        let times_ms = times_ms.into_iter().map(|(partition, ms)| (partition, Offset::Offset(ms.max(0))));
        let found = self.offsets(topic, times_ms)?.answer().map_err(|failure| silence.unwrap_or(failure))?;
        Ok(found.into_iter().map(|(partition, offset)| (partition, u64::try_from(offset).ok())).collect())
    }

    fn offsets(&self, topic: &str, partitions: impl Iterator<Item = (u32, Offset)>) -> Result<Offsets<'_>, Failure> {
        Offsets::ask(&self.client, topic, partitions, self.isolation, self.timeout)
    }

    /// Lets the client learn who leads the partitions of a topic now. What it knew may be old: to a partition that has been
    /// added since, or has changed its leader, it would send no request, or to the wrong broker. Where nobody answers it
    /// has to do with that all the same, and the silence is given back, in case it is not enough.
    fn find_leaders(&self, topic: &str) -> Result<Option<Failure>, Failure> {
        let mut silence = None;
        for _ in 0..LEADERS_ASKED {
            // Half of the time, so that with what follows it is not more than twice.
            silence = self.answers(topic, self.timeout / (2 * LEADERS_ASKED)).err();
            match silence {
                None => break,
                Some(silence) if self.is_unreachable() => return Err(silence),
                Some(_) => {}
            }
        }
        Ok(silence)
    }

    /// The client itself, for other questions.
    pub(crate) fn client(&self) -> &BaseConsumer<Asking> {
        &self.client
    }

    #[expect(unsafe_code, reason = "topic ids are not in the safe interface")]
    fn describe(
        &self,
        topics: &[&'static str],
        broker: Option<i32>,
    ) -> Result<BTreeMap<&'static str, TopicFacts>, Failure> {
        const OPERATION: &str = "describe topics";
        let fail = |detail: &str| Failure::new(OPERATION, detail);
        let names: Vec<CString> =
            topics.iter().map(|name| CString::new(*name)).collect::<Result<_, _>>().map_err(|_| fail("a zero byte"))?;
        let mut list: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
        let kind = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let request = Request::new(&self.client, kind, OPERATION, self.timeout)?;
        let request = match broker {
            Some(broker) => request.to(broker)?,
            None => request,
        };
        let (client, options, queue) = request.parts();
        // SAFETY: the request's parts live as long as it does, the names as long as this call, which copies them. What is
        // made here is owned by a `Handle`, which destroys it once; what the event lends is read before the event goes.
        unsafe {
            let asked = rd::rd_kafka_TopicCollection_of_topic_names(list.as_mut_ptr(), list.len());
            let asked = Handle::new(asked, rd::rd_kafka_TopicCollection_destroy).ok_or_else(|| fail("no memory"))?;
            rd::rd_kafka_DescribeTopics(client, asked.get(), options, queue);
            let event = request.answer(self.timeout)?;
            if let Some((_, detail)) = error(&event) {
                return Err(fail(&detail));
            }
            let result = rd::rd_kafka_event_DescribeTopics_result(event.get());
            let mut count = 0;
            let first = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            let mut found = BTreeMap::new();
            for description in array(first, count) {
                let name = text(rd::rd_kafka_TopicDescription_name(*description));
                let Some(topic) = topics.iter().find(|topic| **topic == name) else { continue };
                let error = rd::rd_kafka_TopicDescription_error(*description);
                match RDKafkaErrorCode::from(rd::rd_kafka_error_code(error)) {
                    RDKafkaErrorCode::NoError => drop(found.insert(*topic, facts(*description))),
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
    let mut count = 0;
    // SAFETY: the caller gives a description that is alive, and with it what it lends, which is read at once.
    unsafe {
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        let mut topic_id = [0; 16];
        topic_id[..8].copy_from_slice(&rd::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
        topic_id[8..].copy_from_slice(&rd::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
        let partitions = rd::rd_kafka_TopicDescription_partitions(description, &raw mut count);
        let partitions = array(partitions, count);
        let replicas = partitions.iter().map(|partition| {
            let mut count = 0;
            rd::rd_kafka_TopicPartitionInfo_replicas(*partition, &raw mut count);
            count as u32
        });
        let is_led = |partition| {
            let leader = rd::rd_kafka_TopicPartitionInfo_leader(partition);
            !leader.is_null() && rd::rd_kafka_Node_id(leader) >= 0
        };
        let leaderless = partitions.iter().filter(|partition| !is_led(**partition));
        let number = |partition| u32::try_from(rd::rd_kafka_TopicPartitionInfo_partition(partition)).ok();
        let leaderless: BTreeSet<u32> = leaderless.filter_map(|partition| number(*partition)).collect();
        TopicFacts {
            cluster_id: String::new(),
            topic_id,
            partition_count: partitions.len() as u32,
            replicas_min: replicas.min().unwrap_or(0),
            leaderless: leaderless.into_iter().collect(),
        }
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}
