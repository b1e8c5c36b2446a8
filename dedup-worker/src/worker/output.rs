//! The cluster of output and changelog, looked at again and again: whether it answers, and whether its topics are set as they
//! must be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Cluster, Failure, Hurry, Judgement, Look, TopicFacts};
use tracing::{error, info, warn};
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, Retention};

use super::named::{Names, Under};
use super::rotation::Rotation;
use super::sizes::Taken;

/// For how long new partitions are known before they are written to: by then the producers have heard of them, too, and
/// every broker.
const GROWN_FOR: Duration = Duration::from_secs(10);

/// What is looked at.
pub(super) const TOPICS: &[&str] = &[EVENTS_INDEX, EVENTS_DEDUPED, EVENTS_REJECTED];

/// The output cluster, watched.
#[derive(Debug)]
pub struct Output {
    cluster: Cluster,
    retention: Retention,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    answered: Instant,
    silence: Option<String>,
    judgement: Judgement,
    /// Of the output topic, with the partitions that are written to; `None` before it was looked at.
    deduped: Option<TopicFacts>,
    taken: Taken,
    /// To how many it has grown, and when that was seen first.
    grown: Option<(u32, Instant)>,
    /// Which topics they are.
    named: Names,
}

impl Output {
    /// The cluster, whose topics have to keep their records for so long; nothing is known of it yet.
    pub fn new(cluster: Cluster, retention: Retention) -> Arc<Self> {
        let silence = Some("it was not asked yet".into());
        let (judgement, deduped, taken, grown) = (Judgement::default(), None, Taken::default(), None);
        let named = Names::default();
        let seen = Seen { answered: Instant::now(), silence, judgement, deduped, taken, grown, named };
        Arc::new(Self { cluster, retention, seen: Mutex::new(seen) })
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Begins to look, for as long as what it returns is kept, unless `is_watched` because it is an input's cluster, too. It has
    /// just answered, and its topics were judged so and take so much.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the system refuses a thread.
    pub(crate) fn begin(
        self: &Arc<Self>,
        judgement: Judgement,
        deduped: TopicFacts,
        taken: Taken,
        is_watched: bool,
    ) -> Result<Option<kafka::Watch>, Failure> {
        let (answered, silence, deduped) = (Instant::now(), None, Some(deduped));
        *self.lock() = Seen { answered, silence, judgement, deduped, taken, grown: None, named: Names::default() };
        if is_watched {
            return Ok(None);
        }
        let output = Arc::clone(self);
        kafka::Watch::start(&self.cluster, TOPICS, Hurry::default(), move |look| output.hear(look)).map(Some)
    }

    /// What was seen by whoever looks at an input on the same cluster. Before it has begun that is nothing to it.
    pub(super) fn hear_beside(&self, look: &Look) {
        if self.lock().deduped.is_some() {
            self.hear(look.as_ref().map(|facts| facts.of(TOPICS)).map_err(Clone::clone));
        }
    }

    /// Why it has not answered for longer than `limit`, if it has not.
    pub(crate) fn silent_for(&self, limit: Duration) -> Option<String> {
        let seen = self.lock();
        let silence = seen.silence.as_ref().filter(|_| seen.answered.elapsed() > limit)?;
        Some(format!("the output cluster has not answered for {} s: {silence}", seen.answered.elapsed().as_secs()))
    }

    /// Why its topics, as they are set by now, break a promise; `None` where they do not.
    pub fn refusal(&self) -> Option<String> {
        self.lock().judgement.refusal()
    }

    /// The partition that the next batch of a lane goes to, but for one that has just failed; `None` where the output has
    /// fewer partitions than there are lanes.
    pub(crate) fn next(&self, rotation: &mut Rotation, failed: Option<u32>) -> Option<u32> {
        let seen = self.lock();
        let deduped = seen.deduped.as_ref()?;
        let is_left_out = |partition| failed == Some(partition) || deduped.leaderless.contains(&partition);
        rotation.next(deduped.partition_count, is_left_out)
    }

    /// What its topics take.
    pub(crate) fn taken(&self) -> Taken {
        self.lock().taken
    }

    /// The topics that a lane is taken over under now.
    pub(crate) fn under(&self) -> Under {
        self.lock().named.now()
    }

    /// Which of them is another one by now, or gone, as a sentence.
    pub(crate) fn differs(&self, under: &Under) -> Option<String> {
        self.lock().named.differs(under)
    }

    /// A change is logged once.
    fn hear(&self, look: Look) {
        let mut seen = self.lock();
        match look {
            Ok(facts) => {
                if seen.silence.take().is_some() {
                    info!("the output cluster answers again");
                }
                seen.answered = Instant::now();
                seen.named.see(TOPICS, &facts.topics);
                if let Some(is) = facts.topics.get(EVENTS_DEDUPED) {
                    seen.hear_of(is, Instant::now());
                }
                if !facts.settings.is_empty() {
                    seen.taken = Taken::of(|topic| facts.settings.get(topic));
                }
                let is = facts.judge(self.retention);
                if seen.judgement != is {
                    is.warnings().iter().for_each(|warning| warn!(cluster = "output", "{warning}"));
                    is.refusal().iter().for_each(|reasons| error!(cluster = "output", "{reasons}"));
                    seen.judgement = is;
                }
            }
            Err(reason) => {
                if seen.silence.is_none() {
                    warn!(reason, "the output cluster does not answer");
                }
                seen.silence = Some(reason);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// A topic never shrinks; a broker may not have heard yet that it grew.
    fn hear_of(&mut self, is: &TopicFacts, now: Instant) {
        let was = self.deduped.as_ref().filter(|was| TopicFacts::is_same_log(Some(was), Some(is)));
        let Some(was) = was.map(|was| was.partition_count) else {
            (self.deduped, self.grown) = (Some(is.clone()), None);
            return;
        };
        let mut partition_count = was;
        if is.partition_count > was {
            match self.grown {
                Some((grown, since)) if grown == is.partition_count => {
                    if now.duration_since(since) >= GROWN_FOR {
                        info!(was, partitions = grown, "the output has grown; its new partitions are written to");
                        (partition_count, self.grown) = (grown, None);
                    }
                }
                _ => self.grown = Some((is.partition_count, now)),
            }
        }
        self.deduped = Some(TopicFacts { partition_count, ..is.clone() });
    }
}

#[cfg(test)]
mod tests {
    use kafka::Facts;

    use super::*;

    #[test]
    fn what_has_grown_is_written_to_once_everybody_knows() {
        let mut seen = Seen {
            answered: Instant::now(),
            silence: None,
            judgement: Judgement::default(),
            deduped: None,
            taken: Taken::default(),
            grown: None,
            named: Names::default(),
        };
        let facts = |partition_count| TopicFacts { cluster_id: "c".into(), partition_count, ..TopicFacts::default() };
        let begun = Instant::now();
        let mut hear = |partition_count, seconds| {
            seen.hear_of(&facts(partition_count), begun + Duration::from_secs(seconds));
            seen.deduped.as_ref().unwrap().partition_count
        };
        assert_eq!(hear(8, 0), 8);
        assert_eq!([hear(16, 5), hear(8, 10), hear(16, 14)], [8; 3], "one broker has not heard of it");
        assert_eq!(hear(16, 15), 16);
        assert_eq!(hear(8, 20), 16, "it never shrinks");
        assert_eq!([hear(24, 25), hear(32, 35), hear(32, 44), hear(32, 45)], [16, 16, 16, 32]);
    }

    #[test]
    fn what_is_seen_beside_an_input_counts_once_it_has_begun() {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", service::Properties::default());
        let output = Output::new(cluster, Retention::default());
        let topic = |partition_count| TopicFacts { cluster_id: "c".into(), partition_count, ..TopicFacts::default() };
        let settings = [("max.message.bytes".to_owned(), "10512".to_owned())].into_iter().collect();
        let look =
            Ok(Facts { topics: [(EVENTS_DEDUPED, topic(8))].into(), settings: [(EVENTS_DEDUPED, settings)].into() });
        output.hear_beside(&look);
        assert_eq!(output.taken(), Taken::default());
        let begun = output.begin(Judgement::default(), topic(8), Taken::default(), true).unwrap();
        assert!(begun.is_none(), "one client looks at both");
        output.hear_beside(&look);
        assert_ne!(output.taken(), Taken::default());
        output.hear_beside(&Err("down".into()));
        assert!(output.silent_for(Duration::ZERO).is_some());
    }

    #[test]
    fn silence_counts_from_the_last_answer() {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", service::Properties::default());
        let output = Output::new(cluster, Retention::default());
        assert!(output.silent_for(Duration::ZERO).unwrap().ends_with("it was not asked yet"));
        output.hear(Err("refused".into()));
        assert_eq!(output.silent_for(Duration::from_mins(1)), None, "not for so long");
        let said = output.silent_for(Duration::ZERO).unwrap();
        assert!(said.starts_with("the output cluster has not answered for 0 s: refused"), "{said}");
        output.hear(Ok(Facts::default()));
        assert_eq!(output.silent_for(Duration::ZERO), None);
    }
}
