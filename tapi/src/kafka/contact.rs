//! Looking at the clusters, from a thread for each: a look at a dead one takes seconds, and the drain has none to spare.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kafka_producer::Producer;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig as _};
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaErrorCode;
use service::{Properties, Shutdown};
use tracing::debug;
use wire::topic::{EVENTS, EVENTS_REJECTED};

use super::topics::{Facts, Settings};
use super::{KafkaError, Role, client_config};
use crate::config::Kafka;
use crate::forward::{Backoff, Cluster, chance};

/// One question to a cluster; between two of them it is seen whether any broker can be reached.
const QUESTION: Duration = Duration::from_millis(300);
/// Questions before a silent cluster counts as dead.
const QUESTIONS_MAX: u32 = 10;
/// Between two looks at a cluster that answers: somebody may add partitions.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Looks between two readings of the topics' settings.
const SETTINGS_EVERY: u32 = 60;
/// First pause after a look that failed; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Last pause.
const RETRY_LAST: Duration = Duration::from_secs(2);

/// What a look gave: facts, or why there are none.
pub(crate) type Look = Result<Facts, String>;

/// What was last seen of both clusters.
#[derive(Debug, Default)]
pub struct Board {
    looks: Mutex<[Option<Look>; 2]>,
    changed: Condvar,
    version: AtomicU64,
}

impl Board {
    /// Grows when something new is on it.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What is on it.
    pub fn looks(&self) -> [Option<Look>; 2] {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until both clusters have been looked at, at most so long.
    pub fn wait_for_both(&self, limit: Duration) -> [Option<Look>; 2] {
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
pub struct Contacts {
    board: Arc<Board>,
    stop: Shutdown,
    threads: Vec<JoinHandle<()>>,
}

impl Contacts {
    /// Begins to look at the clusters that have brokers.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting, or the system refuses a thread.
    pub fn start(kafka: &Kafka) -> Result<Self, KafkaError> {
        let mut contacts = Self { board: Arc::default(), stop: Shutdown::new(), threads: Vec::new() };
        for cluster in Cluster::BOTH {
            if kafka.brokers(cluster).is_empty() {
                contacts.board.put(cluster, Err(crate::forward::figures::NOT_CONFIGURED.into()));
                continue;
            }
            let config = client_config(kafka, cluster, Role::Look);
            let producer =
                Producer::new(&config).map_err(|error| KafkaError::Settings { cluster, message: error.to_string() })?;
            let (board, stop) = (Arc::clone(&contacts.board), contacts.stop.clone());
            let thread = thread::Builder::new().name(format!("look-{cluster}"));
            let looker = Looker { cluster, config, producer, looks: 0, settings: None };
            contacts.threads.push(thread.spawn(move || looker.run(&board, &stop))?);
        }
        Ok(contacts)
    }

    /// Where they write what they see.
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }
}

impl Drop for Contacts {
    fn drop(&mut self) {
        self.stop.trigger();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Looker {
    cluster: Cluster,
    config: ClientConfig,
    producer: Producer,
    looks: u32,
    settings: Option<Settings>,
}

impl Looker {
    fn run(mut self, board: &Board, stop: &Shutdown) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
        loop {
            let look = self.look(stop);
            let pause = match &look {
                Ok(_) => {
                    backoff.reset();
                    LOOK_AGAIN
                }
                Err(reason) => {
                    debug!(cluster = %self.cluster, reason, "no contact");
                    backoff.next(chance())
                }
            };
            board.put(self.cluster, look);
            if stop.wait_timeout(pause) {
                return;
            }
        }
    }

    fn look(&mut self, stop: &Shutdown) -> Look {
        let client = self.producer.client().client();
        let mut answer = Err("no answer".to_owned());
        for _ in 0..QUESTIONS_MAX {
            answer = client.fetch_metadata(Some(EVENTS), QUESTION).map_err(|error| error.to_string());
            self.producer.serve(Duration::ZERO, &mut Vec::new());
            if answer.is_ok() || self.producer.is_unreachable() || stop.is_triggered() {
                break;
            }
        }
        self.producer.reached();
        let metadata = answer.map_err(|error| {
            let said = self.producer.last_error();
            let advice = Properties::advice(&said).map(|advice| format!("; {advice}")).unwrap_or_default();
            format!("{error} {said}{advice}").trim().to_owned()
        })?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == EVENTS).ok_or("no word of the topic")?;
        let partitions = match topic.error().map(RDKafkaErrorCode::from) {
            None => topic.partitions(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => &[],
            Some(error) => return Err(format!("{EVENTS}: {error}")),
        };
        let rejected = client.fetch_metadata(Some(EVENTS_REJECTED), QUESTION).map_err(|error| error.to_string())?;
        let has = |topic: &rdkafka::metadata::MetadataTopic| {
            topic.name() == EVENTS_REJECTED && topic.error().is_none() && !topic.partitions().is_empty()
        };
        let mut facts = Facts {
            cluster_id: client.fetch_cluster_id(QUESTION),
            partitions: partitions.len() as u32,
            replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
            has_rejected: rejected.topics().iter().any(has),
            settings: None,
        };
        if facts.partitions > 0 && self.looks.is_multiple_of(SETTINGS_EVERY) {
            self.settings = settings(&self.config).or(self.settings.take());
        }
        self.looks = self.looks.wrapping_add(1);
        facts.settings.clone_from(&self.settings);
        Ok(facts)
    }
}

/// The settings of `events`, as far as they may be read.
fn settings(config: &ClientConfig) -> Option<Settings> {
    let admin = AdminClient::<DefaultClientContext>::from_config(config).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(2)));
    let topics = [ResourceSpecifier::Topic(EVENTS)];
    let resources = runtime.block_on(admin.describe_configs(&topics, &options)).ok()?;
    let resource = resources.into_iter().next()?.ok()?;
    let entries = resource.entry_map();
    let text = |name: &str| entries.get(name).and_then(|entry| entry.value.clone());
    let number = |name: &str| text(name).and_then(|value| value.parse().ok());
    Some(Settings {
        cleanup_policy: text("cleanup.policy"),
        timestamp_type: text("message.timestamp.type"),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        in_sync_min: number("min.insync.replicas"),
        unclean_election: text("unclean.leader.election.enable").map(|value| value == "true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_keeps_what_was_seen_of_a_cluster_that_falls_silent() {
        let board = Board::default();
        board.put(Cluster::Primary, Err("down".into()));
        board.put(Cluster::Primary, Ok(Facts { partitions: 8, ..Facts::default() }));
        let version = board.version();
        board.put(Cluster::Primary, Err("down".into()));
        assert_eq!(board.version(), version);
        assert_eq!(board.wait_for_both(Duration::ZERO)[0].clone().unwrap().unwrap().partitions, 8);
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
