//! What the drain tells of itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::breaker::{Cause, State, Transition};
use super::fault::Fault;
use super::router::Cluster;

/// One cluster's figures.
#[derive(Debug, Clone, Default)]
pub struct ClusterFigures {
    /// Its breaker, or why it is not used.
    pub state: &'static str,
    /// Why it gets nothing whatever its breaker says; empty where it may.
    pub unusable: String,
    /// Whether that will not change by waiting: it is not what it should be.
    pub misfit: bool,
    /// Records handed over and not come back.
    pub outstanding: u64,
    /// Longest time that a partition with such records has made no progress.
    pub stalled_for: Duration,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records come back with a fault, by [`Fault`].
    pub faults: [u64; Fault::ALL.len()],
    /// Changes of its breaker, by [`Cause`].
    pub transitions: [u64; Cause::ALL.len()],
    /// Producers replaced.
    pub restarts: u64,
    /// The last thing its producer complained of.
    pub last_error: String,
}

impl ClusterFigures {
    /// Counts a transition.
    pub fn count(&mut self, transition: Transition) {
        self.transitions[transition.cause as usize] += 1;
    }
}

/// All figures.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// By [`Cluster`].
    pub clusters: [ClusterFigures; 2],
    /// Where records go.
    pub target: Option<Cluster>,
    /// The operator's choice.
    pub pin: Option<Cluster>,
    /// The partition count in use.
    pub partitions: Option<u32>,
    /// Records read and not forgotten.
    pub window_records: u64,
    /// Their bytes.
    pub window_bytes: u64,
    /// Records that nobody took, kept in the quarantine.
    pub quarantined: u64,
    /// Why the drain does not go on; empty where it does.
    pub blocked: String,
    /// Whether it runs.
    pub running: bool,
}

impl Snapshot {
    /// One cluster's.
    pub fn of(&mut self, cluster: Cluster) -> &mut ClusterFigures {
        &mut self.clusters[cluster as usize]
    }

    /// Why nothing is ever drained unless somebody does something. A cluster that is down is no such reason: the local
    /// buffer is there for that.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.running {
            reasons.push("the drain to Kafka has stopped: look at the log, then restart".into());
        }
        let stuck = |figures: &ClusterFigures| figures.misfit || figures.unusable == NOT_CONFIGURED;
        if self.running && self.clusters.iter().all(stuck) {
            for (cluster, figures) in Cluster::BOTH.iter().zip(&self.clusters).filter(|(_, figures)| figures.misfit) {
                reasons.push(format!("the {cluster} Kafka cluster cannot be used: {}", figures.unusable));
            }
        }
        reasons
    }
}

/// What stands in [`ClusterFigures::unusable`] where there is no such cluster.
pub const NOT_CONFIGURED: &str = "not configured";

/// Number of a breaker's state for metrics.
pub fn number(state: &str) -> u64 {
    match state {
        "closed" => 0,
        "half-open" => 1,
        _ => 2,
    }
}

/// The figures, where others can see them.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Snapshot>);

impl Figures {
    /// Replaces them.
    pub fn publish(&self, snapshot: &Snapshot) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(snapshot);
    }

    /// The last ones.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The drain has ended, however.
    pub fn ended(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running = false;
    }
}

/// Name of a state for the figures.
pub fn name(state: State) -> &'static str {
    state.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waiting_does_not_mend_is_not_ready() {
        let mut snapshot = Snapshot { running: true, ..Snapshot::default() };
        assert_eq!(snapshot.not_ready(), [""; 0]);
        snapshot.of(Cluster::Primary).unusable = "no answer".into();
        snapshot.of(Cluster::Secondary).unusable = "no answer".into();
        assert_eq!(snapshot.not_ready(), [""; 0], "the buffer is there for that");
        snapshot.of(Cluster::Primary).misfit = true;
        assert_eq!(snapshot.not_ready(), [""; 0], "the other one may come back");
        snapshot.of(Cluster::Secondary).unusable = NOT_CONFIGURED.into();
        assert_eq!(snapshot.not_ready().len(), 1);
        snapshot.running = false;
        assert!(snapshot.not_ready()[0].contains("restart"));
    }

    #[test]
    fn states_have_numbers() {
        let states = [State::Closed, State::HalfOpen { acknowledged: 0 }];
        assert_eq!(states.map(|state| number(name(state))), [0, 1]);
        assert_eq!(number("open"), 2);
    }
}
