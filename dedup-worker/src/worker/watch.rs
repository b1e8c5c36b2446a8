//! Whether a cluster answers, and whether its topic is still the one that is read.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use service::Shutdown;
use tracing::{error, info, warn};
use wire::topic::EVENTS;

use crate::kafka::{Cluster, Probe, TopicFacts};

/// Time between two questions to a cluster that answers.
const PERIOD: Duration = Duration::from_secs(3);
/// Time between two questions to one that does not.
const PERIOD_AWAY: Duration = Duration::from_millis(500);
/// Time for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InputState {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It can be read.
    Ready(TopicFacts),
    /// It does not answer, for this reason. What it was is remembered.
    Away(String, Option<TopicFacts>),
    /// It answers, and must not be read, for this reason.
    Unfit(String),
}

/// One input cluster, watched.
#[derive(Debug)]
pub struct Watch {
    cluster: Cluster,
    state: Mutex<InputState>,
    /// Raised with every change of what can be read.
    changes: AtomicU64,
    /// How long its topic keeps a record, milliseconds; 0 where that is unknown or for ever.
    retention_ms: AtomicU64,
}

impl Watch {
    /// A watch over `cluster` that knows nothing yet.
    pub fn new(cluster: Cluster) -> Arc<Self> {
        Arc::new(Self { cluster, state: Mutex::default(), changes: AtomicU64::new(0), retention_ms: AtomicU64::new(0) })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What is known.
    pub fn state(&self) -> InputState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Raised whenever another log is to be read, or none. A cluster that merely stops answering is the same log.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Asks now and enters the answer. `partition_count` is what the topic must have, where that is known.
    pub fn ask(&self, probe: &Probe, partition_count: Option<u32>) {
        let state = match probe.topic(EVENTS) {
            Ok(facts) => match partition_count {
                Some(count) if count != facts.partition_count => InputState::Unfit(format!(
                    "{EVENTS} has {} partitions on the {} cluster and {count} everywhere else",
                    facts.partition_count,
                    self.cluster.name()
                )),
                _ => InputState::Ready(facts),
            },
            Err(failure) => InputState::Away(failure.to_string(), self.facts()),
        };
        self.enter(state);
    }

    /// What it was when it answered last.
    pub fn facts(&self) -> Option<TopicFacts> {
        match self.state() {
            InputState::Ready(facts) | InputState::Away(_, Some(facts)) => Some(facts),
            _ => None,
        }
    }

    fn is_ready(&self) -> bool {
        matches!(self.state(), InputState::Ready(_))
    }

    /// How long the topic keeps a record, milliseconds; `None` where that is unknown, or for ever.
    pub fn retention_ms(&self) -> Option<u64> {
        Some(self.retention_ms.load(Relaxed)).filter(|ms| *ms > 0)
    }

    /// Enters how long the topic keeps a record.
    pub fn keeps_for(&self, retention_ms: Option<u64>) {
        self.retention_ms.store(retention_ms.unwrap_or(0), Relaxed);
    }

    /// Whether reading so far behind is an alarm: what waits is half way to being deleted before it is read.
    pub fn is_late(&self, behind_ms: u64) -> bool {
        self.retention_ms().is_some_and(|kept_ms| behind_ms > kept_ms / 2)
    }

    /// The cluster turned out not to answer, and its log is not open: it is opened when it does.
    pub fn forget(&self) {
        self.enter(InputState::Away("it did not answer when it was to be read".into(), None));
    }

    fn enter(&self, state: InputState) {
        let before_facts = self.facts();
        self.say(&self.state(), &state);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        if before_facts != self.facts() {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    /// A change is logged once.
    fn say(&self, before: &InputState, state: &InputState) {
        let cluster = self.cluster.name();
        match (before, state) {
            (InputState::Ready(was), InputState::Ready(is)) if was != is => {
                error!(cluster, ?was, ?is, "the input is another log than before; it is read from its earliest record");
            }
            (InputState::Ready(_), InputState::Ready(_))
            | (InputState::Away(..), InputState::Away(..))
            | (_, InputState::Unknown) => {}
            (_, InputState::Ready(facts)) => {
                let (cluster_id, partitions) = (&facts.cluster_id, facts.partition_count);
                info!(cluster, cluster_id, partitions, "the input cluster answers");
            }
            (_, InputState::Away(reason, _)) => warn!(cluster, reason, "the input cluster does not answer"),
            (InputState::Unfit(was), InputState::Unfit(is)) if was == is => {}
            (_, InputState::Unfit(reason)) => error!(cluster, reason, "the input is not read"),
        }
    }

    /// Asks again and again until `stop`.
    ///
    /// # Errors
    /// Where the operating system refuses a thread.
    pub fn spawn(self: Arc<Self>, partition_count: u32, stop: Shutdown) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("watch-{}", self.cluster.name())).spawn(move || {
            let mut probe = None;
            while !stop.is_triggered() {
                if probe.is_none() {
                    probe = Probe::new(&self.cluster, TIMEOUT).ok();
                }
                if let Some(probe) = &probe {
                    self.ask(probe, Some(partition_count));
                }
                let asked = Instant::now();
                // In steps, because it may be forgotten meanwhile.
                while !stop.wait_timeout(PERIOD_AWAY) && self.is_ready() && asked.elapsed() < PERIOD {}
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(topic: u8) -> TopicFacts {
        TopicFacts { cluster_id: "c".into(), topic_id: [topic; 16], partition_count: 8 }
    }

    #[test]
    fn half_of_the_retention_is_an_alarm() {
        let watch = Watch::new(Cluster::new("primary", "127.0.0.1:1", service::Properties::default()));
        assert!(!watch.is_late(u64::MAX), "nobody knows how long it is kept");
        watch.keeps_for(Some(1_000));
        assert_eq!([500, 501].map(|behind_ms| watch.is_late(behind_ms)), [false, true]);
    }

    #[test]
    fn only_another_log_is_a_change() {
        let watch = Watch::new(Cluster::new("primary", "127.0.0.1:1", service::Properties::default()));
        watch.enter(InputState::Away("no answer".into(), watch.facts()));
        assert_eq!((watch.changes(), watch.facts()), (0, None));
        watch.enter(InputState::Ready(facts(1)));
        assert_eq!(watch.changes(), 1);
        watch.enter(InputState::Away("frozen".into(), watch.facts()));
        watch.enter(InputState::Ready(facts(1)));
        assert_eq!((watch.changes(), watch.facts()), (1, Some(facts(1))));
        watch.enter(InputState::Ready(facts(2)));
        assert_eq!(watch.changes(), 2);
        watch.enter(InputState::Unfit("9 partitions and 8".into()));
        assert_eq!((watch.changes(), watch.facts()), (3, None));
    }
}
