//! What was last seen of both clusters.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Hurry, Look, Watch};
use wire::topic::{EVENTS, EVENTS_REJECTED};

use super::error::DrainError;
use super::router::Cluster;
use crate::config::Kafka;

/// What is looked at.
const TOPICS: &[&str] = &[EVENTS, EVENTS_REJECTED];

/// What was last seen of both clusters.
#[derive(Debug, Default)]
pub(crate) struct Board {
    looks: Mutex<[Option<Look>; 2]>,
    changed: Condvar,
    version: AtomicU64,
}

impl Board {
    /// Grows when something new is on it.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is on it.
    pub(crate) fn looks(&self) -> [Option<Look>; 2] {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until both clusters have been looked at, at most so long.
    pub(crate) fn wait_for_both(&self, limit: Duration) -> [Option<Look>; 2] {
        let deadline = Instant::now() + limit;
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        while looks.iter().any(Option::is_none) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            looks = self.changed.wait_timeout(looks, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        looks.clone()
    }

    fn put(&self, cluster: Cluster, look: Look) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut looks[cluster as usize];
        // A cluster that does not answer now is what it was; whether it answers is the breaker's business.
        let keep = matches!((&*place, &look), (Some(Ok(_)), Err(_)));
        if !keep && place.as_ref() != Some(&look) {
            *place = Some(look);
            self.version.fetch_add(1, Ordering::Release);
        }
        self.changed.notify_all();
    }
}

/// The threads that look; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Contacts {
    board: Arc<Board>,
    _watches: Vec<Watch>,
}

impl Contacts {
    /// Begins to look at the clusters that have brokers.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting, or the system refuses a thread.
    pub(crate) fn start(kafka: &Kafka) -> Result<Self, DrainError> {
        let (board, mut watches) = (Arc::<Board>::default(), Vec::new());
        for cluster in Cluster::BOTH {
            let seen = kafka.cluster(cluster);
            if !seen.is_configured() {
                board.put(cluster, Err(super::figures::NOT_CONFIGURED.into()));
                continue;
            }
            let put = Arc::clone(&board);
            watches.push(Watch::start(&seen, TOPICS, Hurry::default(), move |look| put.put(cluster, look))?);
        }
        Ok(Self { board, _watches: watches })
    }

    /// Where they write what they see.
    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }
}

#[cfg(test)]
mod tests {
    use kafka::{Facts, TopicFacts};

    use super::*;

    fn facts(partition_count: u32) -> Facts {
        let topic = TopicFacts { cluster_id: "a".into(), topic_id: [1; 16], partition_count, replicas_min: 3 };
        Facts { topics: [(EVENTS, topic)].into(), ..Facts::default() }
    }

    #[test]
    fn the_board_keeps_what_was_seen_of_a_cluster_that_falls_silent() {
        let board = Board::default();
        board.put(Cluster::Primary, Err("down".into()));
        board.put(Cluster::Primary, Ok(facts(8)));
        let version = board.version();
        board.put(Cluster::Primary, Err("down".into()));
        assert_eq!(board.version(), version);
        assert_eq!(board.wait_for_both(Duration::ZERO)[0], Some(Ok(facts(8))));
        board.put(Cluster::Secondary, Err("down".into()));
        assert!(board.version() > version);
        assert!(board.wait_for_both(Duration::from_mins(1))[1].clone().unwrap().is_err());
    }

    #[test]
    fn a_dead_cluster_is_seen_to_be_dead_at_once() {
        let kafka = Kafka { primary: "127.0.0.1:1".into(), secondary: String::new(), ..Kafka::default() };
        let contacts = Contacts::start(&kafka).unwrap();
        let begun = Instant::now();
        let looks = contacts.board().wait_for_both(Duration::from_mins(1));
        assert!(looks.iter().all(|look| look.as_ref().unwrap().is_err()), "{looks:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}
