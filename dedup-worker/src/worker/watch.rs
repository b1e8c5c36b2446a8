//! What is made of looking at an input: whether its cluster answers, and whether its topic is still the one that is read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Cluster, Facts, Failure, Hurry, Judgement, Look, TopicFacts, TopicSettings};
use tracing::{error, info, warn};
use wire::LaneCount;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, Retention};

use super::anew::Anew;
use super::output::Output;
use super::readers::Readers;

/// What is looked at.
const TOPICS: &[&str] = &[EVENTS];
/// The same where the output is on the same cluster.
const ALL_TOPICS: &[&str] = &[EVENTS, EVENTS_INDEX, EVENTS_DEDUPED, EVENTS_REJECTED];

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
    readers: Readers,
    retention: Retention,
    state: Mutex<InputState>,
    /// What is to be said of its topic's settings.
    judgement: Mutex<Judgement>,
    /// Whether a topic by the same name may be read already.
    anew: Mutex<Anew>,
    looked: Condvar,
    /// How many lanes there are, and which topic was refused for what its records are; nothing before that is known.
    fitness: Mutex<Fitness>,
    /// Raised with every change of what can be read.
    changes: AtomicU64,
    /// How long its topic keeps a record, milliseconds; 0 where that is unknown or for ever.
    retention_ms: AtomicU64,
}

/// What an input is judged by.
#[derive(Debug, Default)]
struct Fitness {
    lanes: Option<LaneCount>,
    /// The topic as it was, and why it is not read.
    refused: Option<(TopicFacts, String)>,
    /// Of how many partitions it was said that they are no multiple of the lanes.
    said: Option<u32>,
}

impl Watch {
    /// A watch over `cluster`, whose topic has to keep its records for so long, that knows nothing yet.
    pub fn new(cluster: Cluster, retention: Retention) -> Arc<Self> {
        Arc::new(Self {
            readers: Readers::new(cluster.clone()),
            cluster,
            retention,
            state: Mutex::default(),
            judgement: Mutex::default(),
            anew: Mutex::default(),
            looked: Condvar::new(),
            fitness: Mutex::default(),
            changes: AtomicU64::new(0),
            retention_ms: AtomicU64::new(0),
        })
    }

    /// Begins to look, for as long as what it returns is kept; at the topics of `output`, too, where that is on the same cluster: a
    /// client costs its threads and connections.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the system refuses a thread.
    pub fn begin(self: &Arc<Self>, output: &Arc<Output>) -> Result<kafka::Watch, Failure> {
        let watch = Arc::clone(self);
        if !self.cluster.is_same(output.cluster()) {
            return kafka::Watch::start(&self.cluster, TOPICS, Hurry::default(), move |look| watch.hear(look));
        }
        let output = Arc::clone(output);
        kafka::Watch::start(&self.cluster, ALL_TOPICS, Hurry::default(), move |look| {
            output.hear_beside(&look);
            watch.hear(look.map(|facts| facts.of(TOPICS)));
        })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The clients that read it.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// What is known.
    pub fn state(&self) -> InputState {
        self.lock().clone()
    }

    /// What is to be said of its topic's settings, as far as they are known. It is for whoever starts to refuse them: an
    /// input that is read already is read on, because what is not read is lost the sooner.
    pub fn judgement(&self) -> Judgement {
        self.judgement.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known once it has been looked at; what is known by then where that takes longer than `limit`.
    pub fn first(&self, limit: Duration) -> InputState {
        let unknown = |state: &mut InputState| *state == InputState::Unknown;
        let waited = self.looked.wait_timeout_while(self.lock(), limit, unknown);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Raised whenever another log is to be read, or none, or more of its partitions. A cluster that merely stops answering is
    /// the same log.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// From now on a topic with fewer partitions than there are lanes is not read.
    pub fn expect(&self, lanes: LaneCount) {
        self.fitness().lanes = Some(lanes);
        if let Some(facts) = self.facts() {
            self.enter(self.judge(facts));
        }
    }

    /// Too many records of this topic, as it is, are not where this program puts them: it is not read any more, by any lane,
    /// until it is another one or has grown.
    pub fn refuse(&self, facts: &TopicFacts, why: String) {
        self.fitness().refused = Some((facts.clone(), why));
        self.enter(self.judge(facts.clone()));
    }

    fn hear(&self, look: Look) {
        let state = match look {
            Ok(look) => match look.topics.get(EVENTS) {
                Some(facts) if facts.cluster_id.is_empty() => self.away("it does not tell its id"),
                Some(facts) => {
                    self.hear_settings(&look);
                    if self.anew().may_read(facts, Instant::now()) {
                        self.judge(facts.clone())
                    } else {
                        InputState::Unfit(format!(
                            "{EVENTS} was made anew; it is read from its earliest record once that has been told for a while"
                        ))
                    }
                }
                None => self.away("it has no topic events"),
            },
            Err(reason) => self.away(&reason),
        };
        self.enter(state);
    }

    /// A change is logged once.
    fn hear_settings(&self, look: &Facts) {
        let kept_for = look.settings.get(EVENTS).and_then(TopicSettings::kept_for);
        self.keeps_for(kept_for.map(|time| time.as_millis() as u64));
        let (cluster, is) = (self.cluster.name(), look.judge(self.retention));
        let mut was = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        if *was != is {
            is.warnings().iter().for_each(|warning| warn!(cluster, "{warning}"));
            is.refusal().iter().for_each(|reasons| error!(cluster, "{reasons}"));
            *was = is;
        }
    }

    fn away(&self, reason: &str) -> InputState {
        InputState::Away(reason.into(), self.facts())
    }

    fn judge(&self, facts: TopicFacts) -> InputState {
        let (cluster, count) = (self.cluster.name(), facts.partition_count);
        let mut fitness = self.fitness();
        let Some(lanes) = fitness.lanes else { return InputState::Ready(facts) };
        if lanes.usable(count).is_none() {
            let lanes = lanes.get();
            return InputState::Unfit(format!(
                "{EVENTS} on the {cluster} cluster has {count} partitions and there are {lanes} lanes; give it {lanes} or a \
                 multiple of it"
            ));
        }
        let is_as_it_was =
            |was: &TopicFacts| TopicFacts::is_same_log(Some(was), Some(&facts)) && was.partition_count == count;
        if let Some((_, why)) = fitness.refused.as_ref().filter(|(was, _)| is_as_it_was(was)) {
            return InputState::Unfit(why.clone());
        }
        let remainder = count % lanes.get();
        if remainder > 0 && fitness.said.replace(count) != Some(count) {
            let (lanes, used) = (lanes.get(), count - remainder);
            warn!(
                cluster,
                count, lanes, used, "events has no multiple of the lanes as partitions; the others stay empty"
            );
        }
        InputState::Ready(facts)
    }

    fn anew(&self) -> MutexGuard<'_, Anew> {
        self.anew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fitness(&self) -> MutexGuard<'_, Fitness> {
        self.fitness.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was when it answered last.
    pub fn facts(&self) -> Option<TopicFacts> {
        match self.state() {
            InputState::Ready(facts) | InputState::Away(_, Some(facts)) => Some(facts),
            _ => None,
        }
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

    fn enter(&self, state: InputState) {
        let before = self.facts();
        self.say(&self.state(), &state);
        *self.lock() = state;
        self.looked.notify_all();
        let counted = |facts: Option<TopicFacts>| facts.map(|facts| facts.partition_count);
        let (now, was) = (self.facts(), before.clone());
        if !TopicFacts::is_same_log(before.as_ref(), now.as_ref()) || counted(was) != counted(now) {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, InputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change is logged once.
    fn say(&self, before: &InputState, state: &InputState) {
        let cluster = self.cluster.name();
        match (before, state) {
            (InputState::Ready(was), InputState::Ready(is)) if was.partition_count != is.partition_count => {
                let (was, partitions) = (was.partition_count, is.partition_count);
                info!(
                    cluster,
                    was, partitions, "the input has grown; its new partitions are read from their beginning"
                );
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::output;

    fn facts(topic: u8) -> TopicFacts {
        let cluster_id = "c".into();
        TopicFacts { cluster_id, topic_id: [topic; 16], partition_count: 8, replicas_min: 1, leaderless: Vec::new() }
    }

    fn watch() -> Arc<Watch> {
        let cluster = Cluster::new("test", "primary", "127.0.0.1:1", service::Properties::default());
        Watch::new(cluster, Retention::default())
    }

    #[test]
    fn one_client_looks_at_what_both_look_at() {
        assert!(TOPICS.iter().chain(output::TOPICS).eq(ALL_TOPICS));
    }

    #[test]
    fn half_of_the_retention_is_an_alarm() {
        let watch = watch();
        assert!(!watch.is_late(u64::MAX), "nobody knows how long it is kept");
        watch.keeps_for(Some(1_000));
        assert_eq!([500, 501].map(|behind_ms| watch.is_late(behind_ms)), [false, true]);
    }

    #[test]
    fn only_another_log_is_a_change() {
        let watch = watch();
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
        watch.enter(InputState::Ready(facts(2)));
        watch.enter(InputState::Ready(TopicFacts { replicas_min: 2, ..facts(2) }));
        assert_eq!(watch.changes(), 4, "a replica more is the same log");
        watch.enter(InputState::Ready(TopicFacts { partition_count: 16, ..facts(2) }));
        assert_eq!(watch.changes(), 5, "it has grown");
        watch.enter(InputState::Ready(facts(2)));
        watch.expect(LaneCount::try_new(9).unwrap());
        assert!(matches!(watch.state(), InputState::Unfit(reason) if reason.contains("8 partitions")));
    }

    #[test]
    fn an_input_that_was_refused_is_read_again_when_it_is_another_one_or_has_grown() {
        let watch = watch();
        let lanes = LaneCount::try_new(8).unwrap();
        watch.expect(lanes);
        watch.enter(watch.judge(facts(1)));
        watch.refuse(&facts(1), "all of them lie elsewhere".into());
        assert!(matches!(watch.state(), InputState::Unfit(reason) if reason.contains("elsewhere")));
        assert!(matches!(watch.judge(facts(1)), InputState::Unfit(_)));
        let grown = TopicFacts { partition_count: 16, ..facts(1) };
        assert!([facts(2), grown].into_iter().all(|facts| matches!(watch.judge(facts), InputState::Ready(_))));
    }

    #[test]
    fn settings_are_judged_in_the_words_of_the_table_and_an_input_that_is_read_is_read_on() {
        let watch = watch();
        let hear = |wrong: &[(&str, &str)]| {
            let settings = wrong.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let topic = TopicFacts { replicas_min: 3, ..facts(1) };
            watch.hear(Ok(Facts { topics: [(EVENTS, topic)].into(), settings: [(EVENTS, settings)].into() }));
            assert!(matches!(watch.state(), InputState::Ready(_)), "{:?}", watch.state());
            watch.judgement()
        };
        for wrong in [
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "604799999"),
            ("retention.bytes", "1000000"),
            ("cleanup.policy", "compact"),
        ] {
            let said = wire::topic::judge(EVENTS, &[wrong], Retention::default())[0].to_string();
            assert_eq!(hear(&[wrong]).refusal(), Some(said));
        }
        assert_eq!(hear(&[("retention.ms", "604800000")]), Judgement::default());
        assert_eq!(watch.retention_ms(), Some(604_800_000));
        assert_eq!(hear(&[("retention.ms", "-1")]), Judgement::default());
        assert_eq!(watch.retention_ms(), None);
        let weak = hear(&[("min.insync.replicas", "1")]);
        assert_eq!((weak.refusal(), weak.warnings().len()), (None, 1));
        watch.hear(Err("down".into()));
        assert_eq!(watch.judgement(), weak, "it is what it was");
    }
}
