//! The cluster of output and changelog, looked at again and again: whether it answers, and whether its topics are set as they
//! must be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kafka::{Cluster, Failure, Hurry, Judgement, Look};
use tracing::{error, info, warn};
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, Retention};

/// What is looked at.
const TOPICS: &[&str] = &[EVENTS_INDEX, EVENTS_DEDUPED, EVENTS_REJECTED];

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
}

impl Output {
    /// The cluster, whose topics have to keep their records for so long; nothing is known of it yet.
    pub fn new(cluster: Cluster, retention: Retention) -> Arc<Self> {
        let silence = Some("it was not asked yet".into());
        let seen = Seen { answered: Instant::now(), silence, judgement: Judgement::default() };
        Arc::new(Self { cluster, retention, seen: Mutex::new(seen) })
    }

    /// Begins to look, for as long as what it returns is kept. The cluster has just answered, and its topics were judged so.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the system refuses a thread.
    pub fn begin(self: &Arc<Self>, judgement: Judgement) -> Result<kafka::Watch, Failure> {
        *self.lock() = Seen { answered: Instant::now(), silence: None, judgement };
        let output = Arc::clone(self);
        kafka::Watch::start(&self.cluster, TOPICS, Hurry::default(), move |look| output.hear(look))
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

    /// A change is logged once.
    fn hear(&self, look: Look) {
        let mut seen = self.lock();
        match look {
            Ok(facts) => {
                if seen.silence.take().is_some() {
                    info!("the output cluster answers again");
                }
                seen.answered = Instant::now();
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

#[cfg(test)]
mod tests {
    use kafka::Facts;

    use super::*;

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
