//! The way out to one cluster: its two producers, what they hold, and how soon they may be asked again.

use std::time::{Duration, Instant};

use kafka::{Producer, Sending};
use service::backoff::Backoff;
use tracing::error;

use super::breaker::{Sight, Stall};
use super::error::DrainError;
use super::plan::Plan;
use super::progress::Progress;
use super::retry::Retry;
use super::router::Cluster;
use super::window::Route;

/// First pause after records failed; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Last pause.
const RETRY_LAST: Duration = Duration::from_secs(5);

/// One producer and what it holds.
#[derive(Debug)]
pub(crate) struct Line {
    cluster: kafka::Cluster,
    sending: Sending,
    /// Made when it is first needed, and again after the last one failed for good.
    producer: Option<Producer>,
    /// What it holds, by track.
    pub progress: Progress,
}

impl Line {
    fn new(cluster: kafka::Cluster, sending: Sending, now: Instant) -> Self {
        Self { cluster, sending, producer: None, progress: Progress::new(0, now) }
    }

    /// The producer, if there is one.
    pub(crate) fn existing(&self) -> Option<&Producer> {
        self.producer.as_ref()
    }

    /// The producer, made if need be; `None` where that fails.
    pub(crate) fn producer(&mut self) -> Option<&Producer> {
        if self.producer.is_none() {
            match Producer::new(&self.cluster, self.sending) {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => error!(%error, "a Kafka producer cannot be made; it is tried again"),
            }
        }
        self.producer.as_ref()
    }

    /// Takes the producer away.
    pub(crate) fn take(&mut self) -> Option<Producer> {
        self.producer.take()
    }
}

/// The way out to one cluster.
#[derive(Debug)]
pub(crate) struct Outlet {
    lines: [Line; 2],
    /// How soon it may be asked again.
    pub retry: Retry,
}

impl Outlet {
    /// To one of the clusters; begins to connect.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(crate) fn new(plan: &Plan, cluster: Cluster, now: Instant) -> Result<Self, DrainError> {
        let to = plan.cluster(cluster);
        let line = |sending| Line::new(to.clone(), sending, now);
        let mut lines = [line(Sending::Together { linger_ms: plan.linger_ms }), line(Sending::Alone)];
        if to.is_configured() {
            lines[0].producer = Some(Producer::new(to, lines[0].sending)?);
        }
        Ok(Self { lines, retry: Retry::new(Backoff::new(RETRY_FIRST, RETRY_LAST)) })
    }

    /// Counts for so many tracks from now on, before anything is handed over.
    pub(crate) fn set_tracks(&mut self, tracks: usize, now: Instant) {
        self.lines.iter_mut().for_each(|line| line.progress = Progress::new(tracks, now));
    }

    /// The line of a route.
    pub(crate) fn line(&mut self, route: Route) -> &mut Line {
        &mut self.lines[usize::from(route.alone)]
    }

    /// Both lines.
    pub(crate) fn lines(&self) -> &[Line; 2] {
        &self.lines
    }

    /// Records that it holds.
    pub(crate) fn outstanding(&self) -> u32 {
        self.lines.iter().map(|line| line.progress.outstanding()).sum()
    }

    /// Everything was taken back: what comes next is judged as what comes first.
    pub(crate) fn forgive(&mut self) {
        self.retry.forgive();
        self.lines.iter_mut().for_each(|line| line.progress.renew());
    }

    /// What a breaker has to know.
    pub(crate) fn sight(&self, now: Instant) -> Sight {
        let stall = self
            .lines
            .iter()
            .map(|line| line.progress.stall(now))
            .fold(Stall::default(), |all, one| Stall { known: all.known.max(one.known), new: all.new.max(one.new) });
        let unreachable = self.lines[0].existing().is_some_and(Producer::is_unreachable);
        Sight { stall, unreachable }
    }
}
