//! The consumer group over the changelog's partitions, each a lane: who should own what. It is a hint; the fence is the
//! authority.
//!
//! Nothing is read through it. Its thread does nothing but poll, so a lane that restores for an hour does not cost
//! the worker its membership.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use service::Shutdown;
use tracing::{info, warn};
use wire::topic::EVENTS_INDEX;

use crate::{Cluster, Failure};

/// Time of one poll.
const POLL: Duration = Duration::from_millis(100);
/// Time to say goodbye.
const LEAVE: Duration = Duration::from_secs(3);

/// Who is told what this worker should own.
pub trait Owners: Send + Sync + 'static {
    /// It should own these too.
    fn assigned(&self, partitions: &[u32]);
    /// It should own these no longer. Returns at once: whoever gets them takes their fences, and nobody is to wait for it.
    fn revoked(&self, partitions: &[u32]);
    /// Whether it should own this one, as far as it knows.
    fn owns(&self, partition: u32) -> bool;
    /// The group does not take this worker in, for this reason. It goes on asking.
    fn shut_out(&self, why: &str);
}

/// This worker's membership.
pub struct Group<O: Owners> {
    consumer: Arc<BaseConsumer<Member<O>>>,
}

impl<O: Owners> Clone for Group<O> {
    fn clone(&self) -> Self {
        Self { consumer: Arc::clone(&self.consumer) }
    }
}

struct Member<O>(Arc<O>);

/// What to do where the group does not take a worker in, for those errors that waiting does not mend.
fn shuts_out(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::InvalidSessionTimeout => {
            "set kafka.session_timeout_ms within the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        Code::InconsistentGroupProtocol => "another program uses this group; give one of them another kafka.group",
        Code::GroupAuthorizationFailed => "give this worker's user READ on the group",
        Code::TopicAuthorizationFailed => "give this worker's user READ and DESCRIBE on events.index",
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            "events.index is gone; whoever knows its settings makes it"
        }
        Code::InvalidGroupId => "set kafka.group",
        Code::GroupMaxSizeReached => "the group is full by the brokers' group.max.size",
        Code::Fatal => "restart this worker",
        _ => return None,
    })
}

impl<O: Owners> Group<O> {
    /// Joins the group called `name` on the output cluster. Others notice a worker that died after `session_timeout`.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub fn join(cluster: &Cluster, name: &str, session_timeout: Duration, owners: Arc<O>) -> Result<Self, Failure> {
        let mut config = cluster.config();
        config
            .set("group.id", name)
            // A rebalance takes from a worker only what another one gets.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (session_timeout.as_millis() / 5).max(100).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .set("topic.metadata.refresh.interval.ms", "10000")
            // The records themselves are read elsewhere; those that come in before the pause are dropped.
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer<Member<O>> =
            config.create_with_context(Member(owners)).map_err(Failure::of("make a consumer"))?;
        consumer.subscribe(&[EVENTS_INDEX]).map_err(Failure::of("join the group"))?;
        Ok(Self { consumer: Arc::new(consumer) })
    }

    /// Polls until `stop`. Assignments and revocations are told from here.
    pub fn run(&self, stop: &Shutdown) {
        while !stop.is_triggered() {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::debug!(%error, "the group");
                if let Some(what_to_do) = error.rdkafka_error_code().and_then(shuts_out) {
                    self.consumer.context().0.shut_out(&format!("{error}: {what_to_do}"));
                }
            }
        }
    }

    /// Leaves, so that the others need not wait for the session to run out. Nobody may be polling any more.
    pub fn leave(&self) {
        let deadline = Instant::now() + LEAVE;
        if self.consumer.close_queue().is_err() {
            return;
        }
        while !self.consumer.closed() && Instant::now() < deadline {
            let _ = self.consumer.poll(POLL);
        }
    }

    /// Asks the group's coordinator whether this worker still is a member and owns `partition`. A worker that had been
    /// frozen finds out here that it was replaced. Anything but a clear yes is no.
    pub fn confirms(&self, partition: u32) -> bool {
        let owners = &self.consumer.context().0;
        if !owners.owns(partition) {
            return false;
        }
        // A commit is refused to who is no member of the current generation. The offset itself is never used.
        let mut list = TopicPartitionList::new();
        let entered = list.add_partition_offset(EVENTS_INDEX, partition.cast_signed(), Offset::Offset(0));
        let answer = entered.and_then(|()| self.consumer.commit(&list, CommitMode::Sync));
        if let Err(error) = &answer {
            info!(partition, %error, "the group does not confirm the partition");
        }
        answer.is_ok() && owners.owns(partition)
    }
}

impl<O: Owners> ClientContext for Member<O> {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl<O: Owners> ConsumerContext for Member<O> {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<u32> =
            list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            info!(?partitions, "the group gives this worker partitions");
            let _ = list.set_all_offsets(Offset::End);
            let taken = consumer.incremental_assign(list).and_then(|()| consumer.pause(list));
            if let Err(error) = taken {
                warn!(%error, "partitions were not taken");
            }
            self.0.assigned(&partitions);
        } else {
            info!(?partitions, is_lost = consumer.assignment_lost(), "the group takes partitions away");
            self.0.revoked(&partitions);
            if let Err(error) = consumer.incremental_unassign(list) {
                warn!(%error, "partitions were not given back");
            }
        }
    }
}
