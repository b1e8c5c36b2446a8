//! Looking at a cluster again and again, from a thread of its own: a look at a dead one takes seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use service::Shutdown;
use service::backoff::{Backoff, chance};
use tracing::debug;

use crate::{Cluster, Facts, Failure, Probe, TopicSettings};

/// One question to a cluster; between two of them it is seen whether any broker can be reached.
const QUESTION: Duration = Duration::from_millis(300);
/// Questions before a silent cluster counts as dead.
const QUESTIONS_MAX: u32 = 10;
/// Time for the questions to a cluster that has just answered.
const ANSWER: Duration = Duration::from_secs(2);
/// Between two looks at a cluster that answers: topics are made anew, and partitions added.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two readings of the topics' settings, unless a topic has appeared or is another one.
const SETTINGS_PERIOD: Duration = Duration::from_mins(1);
/// Between two looks at whether somebody is in a hurry.
const STEP: Duration = Duration::from_millis(500);
/// First pause after a look that failed; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Last pause.
const RETRY_LAST: Duration = Duration::from_secs(2);

/// What a look gave: facts, or why there are none.
pub type Look = Result<Facts, String>;

/// Asks a [`Watch`] to look again soon: something else has turned out about the cluster.
#[derive(Debug, Clone, Default)]
pub struct Hurry(Arc<AtomicBool>);

impl Hurry {
    /// The next look comes within [half a second](STEP) instead of after its pause.
    pub fn up(&self) {
        self.0.store(true, Relaxed);
    }

    /// Waits for so long, or until somebody is in a hurry; whether to stop.
    fn wait(&self, pause: Duration, stop: &Shutdown) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.0.swap(false, Relaxed) {
            if stop.wait_timeout(STEP.min(pause)) {
                return true;
            }
        }
        stop.is_triggered()
    }
}

/// The thread that looks; it ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look at `topics` of `cluster`, and hands each look to `each` from a thread of its own.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the system refuses a thread.
    pub fn start(
        cluster: &Cluster,
        topics: &'static [&'static str],
        hurry: Hurry,
        mut each: impl FnMut(Look) + Send + 'static,
    ) -> Result<Self, Failure> {
        let mut looker = Looker::new(cluster, topics)?;
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name(format!("look-{}", cluster.name())).spawn(move || {
            let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LAST);
            while !stopped.is_triggered() {
                let look = looker.look(&stopped);
                let pause = match &look {
                    Ok(_) => {
                        backoff.reset();
                        LOOK_AGAIN
                    }
                    Err(reason) => {
                        debug!(cluster = looker.cluster.name(), reason, "no contact");
                        backoff.next(chance())
                    }
                };
                each(look);
                if hurry.wait(pause, &stopped) {
                    return;
                }
            }
        });
        let thread = Some(thread.map_err(|error| Failure::new("start a thread", error))?);
        Ok(Self { stop, thread })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Looker {
    cluster: Cluster,
    topics: &'static [&'static str],
    probe: Probe,
    last: Facts,
    settings_read: Option<Instant>,
}

impl Looker {
    fn new(cluster: &Cluster, topics: &'static [&'static str]) -> Result<Self, Failure> {
        let probe = Probe::new(cluster, ANSWER)?;
        Ok(Self { cluster: cluster.clone(), topics, probe, last: Facts::default(), settings_read: None })
    }

    fn look(&mut self, stop: &Shutdown) -> Look {
        let mut answer = Ok(());
        for _ in 0..QUESTIONS_MAX {
            answer = self.probe.answers(self.topics.first().copied().unwrap_or_default(), QUESTION);
            if answer.is_ok() || self.probe.is_unreachable() || stop.is_triggered() {
                break;
            }
        }
        answer.map_err(|failure| failure.to_string())?;
        let topics = self.probe.topics(self.topics).map_err(|failure| failure.to_string())?;
        let is_due = self.settings_read.is_none_or(|read| read.elapsed() >= SETTINGS_PERIOD);
        let is_new = self.last.enter(topics);
        if is_due || is_new {
            let names: Vec<&'static str> = self.last.topics.keys().copied().collect();
            match TopicSettings::ask(&self.cluster, &names, ANSWER) {
                Ok(settings) => {
                    self.last.settings.extend(settings);
                    self.settings_read = Some(Instant::now());
                }
                Err(failure) => {
                    debug!(cluster = self.cluster.name(), %failure, "settings of topics are unknown");
                    // They are asked for again with the next look.
                    self.settings_read = None;
                }
            }
        }
        Ok(self.last.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_dead_cluster_is_seen_to_be_dead_at_once() {
        let cluster = Cluster::new("tapi", "primary", "127.0.0.1:1", service::Properties::default());
        let (tell, told) = channel();
        let begun = Instant::now();
        let _watch = Watch::start(&cluster, &["events"], Hurry::default(), move |look| drop(tell.send(look))).unwrap();
        let look = told.recv_timeout(Duration::from_mins(1)).unwrap();
        assert!(look.is_err(), "{look:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}
