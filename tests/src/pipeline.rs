//! The whole system on two clusters: `tapi`, both Kafkas, workers, and the judge over what came out of all of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::topic::{EVENTS, EVENTS_DEDUPED};

use crate::load::{self, Load, Verdict};
use crate::pair::{LANES, Shared};
use crate::{Kafka, Scene, Tapi, Worker, topic, wait};

/// Longest wait for workers to share the lanes, or to read all that waits; on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
/// Once nothing waits to be read, only what must not come could still come.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest wait for a figure to move.
const MOVE_LIMIT: Duration = Duration::from_mins(1);
/// Pause of the breaker: its default of half a minute is too long to watch.
const BREAKER_PAUSE_MS: u32 = 3_000;
const ACKNOWLEDGED: &str = "tapi_forward_records_total";

/// Which cluster holds output and changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The primary, as nobody needs to say.
    Primary,
    /// The secondary, so that an outage of the primary does not stop the workers.
    Secondary,
}

/// The system, on the shared clusters.
#[derive(Debug)]
pub struct Pipeline {
    /// The clusters.
    pub kafka: Shared,
    /// What SDKs post to.
    pub tapi: Tapi,
    /// Every worker that was ever made.
    pub workers: Vec<Worker>,
    /// Lanes that workers share.
    pub lanes: u32,
    output: Output,
}

impl Pipeline {
    /// Empty clusters; nothing is started yet.
    pub fn new(scene: &Scene, output: Output) -> Self {
        Self::over(scene, Kafka::shared(), output)
    }

    /// The same on these clusters.
    pub fn over(scene: &Scene, kafka: Shared, output: Output) -> Self {
        let tapi = Tapi::new(scene, &kafka).set("TAPI_KAFKA_BREAKER_PAUSE_MS", BREAKER_PAUSE_MS);
        Self { kafka, tapi, workers: Vec::new(), lanes: LANES, output }
    }

    /// The same with `tapi` and so many workers at work.
    pub fn start(scene: &Scene, output: Output, workers: usize) -> Self {
        let mut pipeline = Self::new(scene, output);
        pipeline.begin(scene, workers);
        pipeline
    }

    /// Starts `tapi` and so many workers.
    pub fn begin(&mut self, scene: &Scene, workers: usize) {
        self.tapi.start();
        for _ in 0..workers {
            self.add_worker(scene).start();
        }
    }

    /// One more worker, not started.
    pub fn add_worker(&mut self, scene: &Scene) -> &mut Worker {
        let worker = Worker::new(scene, &self.kafka, &format!("worker-{}", self.workers.len()));
        self.workers.push(match self.output {
            Output::Primary => worker,
            Output::Secondary => worker.set("DEDUP_KAFKA_OUTPUT", self.kafka.secondary.address),
        });
        self.workers.last_mut().expect("just made")
    }

    /// The cluster of output and changelog.
    pub fn output(&self) -> SocketAddr {
        match self.output {
            Output::Primary => self.kafka.primary.address,
            Output::Secondary => self.kafka.secondary.address,
        }
    }

    /// Records that a cluster (`primary`, `secondary`, or any: empty) has acknowledged to `tapi` since its start.
    pub fn acknowledged(&self, cluster: &str) -> f64 {
        self.tapi.figure(ACKNOWLEDGED, &label(cluster))
    }

    /// Waits until a cluster has acknowledged more than `before`; gives how long that took.
    ///
    /// # Panics
    /// When it does not.
    pub fn acknowledges(&self, cluster: &str, before: f64) -> Duration {
        let (begun, label) = (Instant::now(), label(cluster));
        wait::until("the cluster acknowledges", MOVE_LIMIT, || {
            (self.tapi.metrics().ok()?.sum_where(ACKNOWLEDGED, &label)? > before).then_some(())
        });
        begun.elapsed()
    }

    /// Waits until the workers share all lanes as `is_right` wants: how many each of those that answer has.
    ///
    /// # Panics
    /// When they do not.
    pub fn shared(&self, what: &str, is_right: impl Fn(&[u32]) -> bool) -> Duration {
        let begun = Instant::now();
        wait::until(what, LIMIT, || {
            let lanes: Vec<u32> = self.workers.iter().map(Worker::lanes).collect();
            (lanes.iter().sum::<u32>() == self.lanes && is_right(&lanes)).then_some(())
        });
        begun.elapsed()
    }

    /// Waits until one worker has all lanes, while another one, frozen, cannot be asked.
    ///
    /// # Panics
    /// When it does not get them.
    pub fn taken_over(&self, by: usize) -> Duration {
        let begun = Instant::now();
        wait::until("a frozen worker is replaced", LIMIT, || (self.workers[by].lanes() == self.lanes).then_some(()));
        begun.elapsed()
    }

    /// Waits until everything accepted lies in Kafka, and the workers have read it.
    ///
    /// # Panics
    /// When they do not.
    pub fn caught_up(&self) {
        self.tapi.drained();
        self.shared("every lane has a worker", |_| true);
        // What a worker says of itself is a second old, and nothing while it opens an input; Kafka knows better.
        let worker = self.workers.last().expect("a worker");
        wait::until("the workers read all that waits", LIMIT, || worker.sees_nothing_wait(self.lanes).then_some(()));
    }

    /// Demands that each acknowledged event of all `loads` came out once, its payload unchanged, and nothing else did.
    ///
    /// # Panics
    /// On any other verdict.
    pub fn verify(&self, scene: &Scene, loads: &[Load]) -> Verdict {
        self.verify_hosts(scene, &[&self.tapi], loads, 0.0)
    }

    /// The same where several hosts were posted to, and a share of the requests may have had no answer.
    ///
    /// # Panics
    /// On any other verdict.
    pub fn verify_hosts(&self, scene: &Scene, hosts: &[&Tapi], loads: &[Load], unanswered_max: f64) -> Verdict {
        self.caught_up();
        let admins: Vec<SocketAddr> = hosts.iter().map(|host| host.admin).collect();
        let output = format!("kafka://{}/{EVENTS_DEDUPED}", self.output());
        load::verify_at(scene, &admins, &["--output", &output], SETTLE, loads, unanswered_max)
    }

    /// Records that lie in both clusters' `events`: more than there are events, where some lie there twice.
    pub fn records(&self) -> u64 {
        [&self.kafka.primary, &self.kafka.secondary].map(|cluster| topic::records(cluster.address, EVENTS)).iter().sum()
    }

    /// The sum of a worker's counter over those that answer.
    pub fn counted(&self, name: &str) -> f64 {
        self.workers.iter().filter_map(|worker| worker.metrics().ok()?.sum(name)).sum()
    }

    /// Ends everything in good order.
    ///
    /// # Panics
    /// Where something ends otherwise.
    pub fn stop(mut self) {
        let workers = self.workers.iter_mut().map(|worker| &mut **worker);
        for server in std::iter::once(&mut *self.tapi).chain(workers).filter(|server| server.is_started()) {
            let status = server.stop();
            assert!(status.success(), "{status}, see {}", server.log().display());
        }
    }
}

fn label(cluster: &str) -> String {
    if cluster.is_empty() { String::new() } else { format!("cluster=\"{cluster}\"") }
}
