//! What was last seen of both clusters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Facts, Hurry, Leadership, Look, Watch};
use wire::topic::{EVENTS, EVENTS_REJECTED};

use super::growth::Growth;
use super::index::Looker;
use super::lanes::Index;
use crate::forward::error::DrainError;
use crate::forward::router::Cluster;

/// What is looked at.
const TOPICS: &[&str] = &[EVENTS, EVENTS_REJECTED];

/// What was last seen of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There is no such cluster.
    NoCluster,
    /// The first look is not over.
    #[default]
    Nothing,
    /// It has never answered, for this reason.
    Silence(String),
    /// What it is; it may have fallen silent since.
    Facts(Arc<Facts>),
}

impl Seen {
    /// What it is, as far as it has answered.
    pub(crate) fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::NoCluster | Self::Nothing | Self::Silence(_) => None,
        }
    }
}

/// What was last seen of both clusters.
#[derive(Debug, Default)]
pub(crate) struct Board {
    seen: Mutex<[Seen; 2]>,
    indexes: Mutex<[Index; 2]>,
    changed: Condvar,
    version: AtomicU64,
}

impl Board {
    /// Grows when something new is on it.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is on it.
    pub(crate) fn seen(&self) -> [Seen; 2] {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until both clusters have been looked at, at most so long.
    pub(crate) fn wait_for_both(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.contains(&Seen::Nothing) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What the topic `events.index` of each cluster says.
    pub(crate) fn indexes(&self) -> [Index; 2] {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes down what a look at it gave. What it cannot tell now it may have told before.
    pub(super) fn index(&self, cluster: Cluster, now: Index) {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut indexes[cluster as usize];
        let keep = matches!((&*place, &now), (Index::Genesis(_), Index::Untold(_)));
        if !keep && *place != now {
            *place = now;
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Writes down what a look at a cluster gave.
    pub(super) fn look(&self, cluster: Cluster, look: Look) {
        self.put(cluster, look.map_or_else(Seen::Silence, |facts| Seen::Facts(Arc::new(facts))));
    }

    fn put(&self, cluster: Cluster, now: Seen) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut seen[cluster as usize];
        // A cluster that does not answer now is what it was; whether it answers is the breaker's business.
        let keep = matches!((&*place, &now), (Seen::Facts(_), Seen::Silence(_)));
        if !keep && *place != now {
            *place = now;
            self.version.fetch_add(1, Ordering::Release);
        }
        self.changed.notify_all();
    }
}

/// The threads that look; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Contacts {
    board: Arc<Board>,
    leaderships: [Option<Leadership>; 2],
    _watches: Vec<Watch>,
}

impl Contacts {
    /// Begins to look at the clusters that have brokers.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting, or the system refuses a thread.
    pub(crate) fn start(clusters: &[kafka::Cluster; 2]) -> Result<Self, DrainError> {
        let (board, mut watches, mut leaderships) = (Arc::<Board>::default(), Vec::new(), [None, None]);
        for cluster in Cluster::BOTH {
            let watched = &clusters[cluster as usize];
            if !watched.is_configured() {
                board.index(cluster, Index::NoCluster);
                board.put(cluster, Seen::NoCluster);
                continue;
            }
            leaderships[cluster as usize] = Some(Leadership::start(watched, EVENTS)?);
            let told = Arc::clone(&board);
            let (mut looker, mut growth) = (Looker::new(watched)?, Growth::default());
            watches.push(Watch::start(watched, TOPICS, Hurry::default(), move |mut look| {
                if let Ok(facts) = &mut look {
                    if let Some(events) = facts.topics.get_mut(EVENTS) {
                        events.partition_count = growth.see(events, Instant::now());
                    }
                    // Before the facts: whoever waits for those finds it.
                    told.index(cluster, looker.look());
                }
                told.look(cluster, look);
            })?);
        }
        Ok(Self { board, leaderships, _watches: watches })
    }

    /// Who leads the partitions of a cluster that has brokers, and when that changed.
    pub(crate) fn leadership(&self, cluster: Cluster) -> Option<&Leadership> {
        self.leaderships[cluster as usize].as_ref()
    }

    /// Where they write what they see.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }
}

#[cfg(test)]
mod tests {
    use kafka::TopicFacts;

    use super::*;

    fn facts(partition_count: u32) -> Facts {
        let topic = TopicFacts {
            cluster_id: "a".into(),
            topic_id: [1; 16],
            partition_count,
            replicas_min: 3,
            ..TopicFacts::default()
        };
        Facts { topics: [(EVENTS, topic)].into(), ..Facts::default() }
    }

    #[test]
    fn the_board_keeps_what_was_seen_of_a_cluster_that_falls_silent() {
        let board = Board::default();
        board.look(Cluster::Primary, Err("down".into()));
        board.look(Cluster::Primary, Ok(facts(8)));
        let version = board.version();
        board.look(Cluster::Primary, Err("down".into()));
        assert_eq!(board.version(), version);
        board.wait_for_both(Duration::ZERO);
        assert_eq!(board.seen(), [Seen::Facts(Arc::new(facts(8))), Seen::Nothing]);
        board.look(Cluster::Secondary, Err("down".into()));
        assert!(board.version() > version);
        board.wait_for_both(Duration::from_mins(1));
        assert_eq!(board.seen()[1], Seen::Silence("down".into()));
    }

    #[test]
    fn a_dead_cluster_is_seen_to_be_dead_at_once() {
        let clusters = [("primary", "127.0.0.1:1"), ("secondary", "")]
            .map(|(name, brokers)| kafka::Cluster::new("tapi", name, brokers, service::Properties::default()));
        let contacts = Contacts::start(&clusters).unwrap();
        let begun = Instant::now();
        contacts.board().wait_for_both(Duration::from_mins(1));
        let seen = contacts.board().seen();
        assert!(matches!(seen, [Seen::Silence(_), Seen::NoCluster]), "{seen:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}
