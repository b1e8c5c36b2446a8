//! The consumer group over the changelog's partitions, each a lane: who should own what. It is a hint; the fence is the
//! authority.
//!
//! Nothing is read through it. Its thread does nothing but poll, so a lane that restores for an hour does not cost
//! the worker its membership; and what it hears goes into a channel, so no callback waits for a lane.
//!
//! A member with an id of its own is *static*: one that is closed, or dies, and comes back with the same id within the session
//! gets its partitions back, and nobody else notices. Whoever has the id last is the member. The one before is told nothing
//! of it but a fatal error of its client, and no callback takes its partitions away (librdkafka 2.12.1, measured): so what
//! it owns is what was assigned to it *while there is no such error*.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use service::Shutdown;
use tracing::{info, warn};
use wire::topic::EVENTS_INDEX;

use crate::{Cluster, Failure};

/// Time of one poll, and so until a membership that is over is noticed.
const POLL: Duration = Duration::from_millis(100);
/// Time to say goodbye.
const CLOSE: Duration = Duration::from_secs(3);
/// Between two heartbeats at most. A member hears with the next one that the group has changed, and so when a partition of
/// somebody who left is its own.
const HEARTBEAT_MS_MAX: u128 = 500;
/// What was told and is not heard yet. Whoever hears it waits for nothing, so this never fills.
const TOLD_MAX: usize = 64;

/// What a group tells a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is in, and should own these too; perhaps none.
    Assigned(Vec<u32>),
    /// It should own these no longer. Whoever gets them takes their fences, and nobody waits for it.
    Revoked(Vec<u32>),
    /// The same, and somebody else may own them already.
    Lost(Vec<u32>),
    /// The group does not take it in, for this reason. It goes on asking.
    ShutOut(String),
    /// The membership is over, for this reason, and with it the client: nothing is owned, and nothing more is told.
    Over(String),
}

/// How to be a member.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'m> {
    /// The group's name.
    pub group: &'m str,
    /// The member's own id, where it is to get back what it had; no two processes may have the same.
    pub id: Option<&'m str>,
    /// Others notice one that died after so long.
    pub session: Duration,
}

/// This worker's membership. A clone is the same one.
#[derive(Clone)]
pub struct Group {
    consumer: Arc<BaseConsumer<Member>>,
    stop: Shutdown,
    /// Given when the goodbye is said.
    closed: Shutdown,
}

/// What the callbacks of the client know.
struct Member {
    told: Sender<Told>,
    assigned: Mutex<BTreeSet<u32>>,
}

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
        _ => return None,
    })
}

/// Why a membership is over.
fn over(code: Code, reason: &str) -> String {
    if code == Code::FencedInstanceId {
        "its id was taken: another worker uses this data folder's id, or a copy of it".into()
    } else {
        reason.into()
    }
}

impl Group {
    /// Joins, and says where it will be told.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the operating system refuses a thread.
    pub fn join(cluster: &Cluster, membership: Membership<'_>) -> Result<(Self, Receiver<Told>), Failure> {
        let Membership { group, id, session } = membership;
        let session_ms = session.as_millis();
        let mut config = cluster.config();
        config
            .set("group.id", group)
            // A rebalance takes from a worker only what another one gets.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            .set("heartbeat.interval.ms", (session_ms / 5).clamp(100, HEARTBEAT_MS_MAX).to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .set("topic.metadata.refresh.interval.ms", "10000")
            // The records themselves are read elsewhere; those that come in before the pause are dropped.
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "1024");
        if let Some(id) = id {
            config.set("group.instance.id", id);
        }
        let (tell, told) = bounded(TOLD_MAX);
        let member = Member { told: tell, assigned: Mutex::default() };
        let consumer: BaseConsumer<Member> =
            config.create_with_context(member).map_err(Failure::of("make a consumer"))?;
        let joined = Self { consumer: Arc::new(consumer), stop: Shutdown::new(), closed: Shutdown::new() };
        joined.enter()?;
        let polled = joined.clone();
        let polling: io::Result<_> = thread::Builder::new().name("group".into()).spawn(move || polled.poll());
        polling.map_err(|error| Failure::new("start a thread", error))?;
        Ok((joined, told))
    }

    /// Joins again after a [`leave`](Self::leave).
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub fn enter(&self) -> Result<(), Failure> {
        self.consumer.subscribe(&[EVENTS_INDEX]).map_err(Failure::of("join the group"))
    }

    /// Leaves for good, so that the others need not wait for the session to run out. Everything is revoked.
    pub fn leave(&self) {
        self.consumer.unsubscribe();
    }

    /// Ends the membership. One without an id leaves. One with an id leaves if it was told to, and otherwise may come back
    /// within the session. Nothing that is told from now on matters.
    pub fn close(&self) {
        self.stop.trigger();
        self.closed.wait_timeout(CLOSE);
    }

    /// Whether this worker should own `partition`, as far as it knows.
    fn owns(&self, partition: u32) -> bool {
        self.consumer.client().fatal_error().is_none() && self.consumer.context().lock().contains(&partition)
    }

    /// Asks the group's coordinator whether this worker still is a member and owns `partition`. A worker that had been
    /// frozen finds out here that it was replaced. Anything but a clear yes is no.
    ///
    /// A commit is refused to who is no member of the current generation, and to who has the id of a member that somebody else
    /// took: a member that comes back makes no new generation, but gets a new number within the group, and the old one is not
    /// heard any more. The offset itself is never used.
    pub fn confirms(&self, partition: u32) -> bool {
        if !self.owns(partition) {
            return false;
        }
        let mut list = TopicPartitionList::new();
        let entered = list.add_partition_offset(EVENTS_INDEX, partition.cast_signed(), Offset::Offset(0));
        let answer = entered.and_then(|()| self.consumer.commit(&list, CommitMode::Sync));
        if let Err(error) = &answer {
            tracing::debug!(partition, %error, "the group does not confirm the partition");
        }
        answer.is_ok() && self.owns(partition)
    }

    /// Polls until the end, then says goodbye. The client is destroyed on this thread where nobody else has it any more: that
    /// may last as long as the brokers do not answer.
    fn poll(self) {
        let member = self.consumer.context();
        while !self.stop.is_triggered() {
            if let Some(Err(error)) = self.consumer.poll(POLL) {
                tracing::debug!(%error, "the group");
                if let Some(what_to_do) = error.rdkafka_error_code().and_then(shuts_out) {
                    member.tell(Told::ShutOut(format!("{error}: {what_to_do}")));
                }
            }
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                member.lock().clear();
                member.tell(Told::Over(over(code, &reason)));
                break;
            }
        }
        let deadline = Instant::now() + CLOSE;
        let is_leaving = self.consumer.subscription().is_ok_and(|topics| topics.count() == 0);
        // A static member that is closed before it has left does not leave any more.
        while is_leaving && self.is_member() && Instant::now() < deadline {
            let _ = self.consumer.poll(POLL / 10);
        }
        if self.consumer.close_queue().is_ok() {
            while !self.consumer.closed() && Instant::now() < deadline {
                let _ = self.consumer.poll(POLL / 10);
            }
        }
        self.closed.trigger();
    }

    /// Whether the group has given it a number that it has not given back.
    #[expect(unsafe_code, reason = "the number of a member is not in the safe interface")]
    fn is_member(&self) -> bool {
        // SAFETY: the client lives as long as `self`.
        let number = NonNull::new(unsafe { rd::rd_kafka_memberid(self.consumer.client().native_ptr()) });
        number.is_some_and(|number| {
            // SAFETY: it is a text that librdkafka made for the caller, and ends with a zero byte.
            let is_empty = unsafe { CStr::from_ptr(number.as_ptr()) }.is_empty();
            // SAFETY: as above; nothing of it is used any more.
            unsafe { rd::rd_kafka_mem_free(self.consumer.client().native_ptr(), number.as_ptr().cast()) };
            !is_empty
        })
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").finish_non_exhaustive()
    }
}

impl Member {
    /// Where nobody listens any more there is nobody to tell.
    fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.assigned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Member {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Member {
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
            self.lock().extend(&partitions);
            self.tell(Told::Assigned(partitions));
        } else {
            let is_lost = consumer.assignment_lost();
            info!(?partitions, is_lost, "the group takes partitions away");
            self.lock().retain(|partition| !partitions.contains(partition));
            self.tell(if is_lost { Told::Lost(partitions) } else { Told::Revoked(partitions) });
            if let Err(error) = consumer.incremental_unassign(list) {
                warn!(%error, "partitions were not given back");
            }
        }
    }
}
