//! What the drain tells of itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::breaker::{Cause, State, Transition};
use super::clusters::{Lanes, Standing};
use super::fault::Fault;
use super::in_flight::Blocked;
use super::outlets::LeftOut;
use super::router::Cluster;

/// What was counted of one cluster since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records come back with a fault, by [`Fault`].
    pub faults: [u64; Fault::ALL.len()],
    /// Changes of its breaker, by [`Cause`].
    pub transitions: [u64; Cause::ALL.len()],
    /// Producers replaced.
    pub restarts: u64,
}

impl Counts {
    /// Counts a transition.
    pub(crate) fn count(&mut self, transition: Transition) {
        self.transitions[transition.cause as usize] += 1;
    }
}

/// One cluster's figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterFigures {
    /// What is known of it.
    pub standing: Standing,
    /// Its breaker.
    pub breaker: State,
    /// Records handed over and not come back.
    pub outstanding: u64,
    /// Longest time that a lane with such records has made no progress.
    pub stalled_for: Duration,
    /// Partitions that get no records because others of their lane do.
    pub left_out: Vec<LeftOut>,
    /// Seconds by which its clock is ahead of this host's, where that is more than an hour, either way.
    pub clock_off_s: Option<i64>,
    /// What was counted.
    pub counts: Counts,
    /// The last thing its producer complained of.
    pub last_error: String,
}

/// All figures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// By [`Cluster`].
    pub clusters: [ClusterFigures; 2],
    /// Where records go.
    pub target: Option<Cluster>,
    /// The operator's choice.
    pub pin: Option<Cluster>,
    /// How many lanes there are, as far as is known.
    pub lanes: Lanes,
    /// Records in memory on their way, and those of the same batch.
    pub window_records: u64,
    /// Their bytes.
    pub window_bytes: u64,
    /// Records that nobody took, kept in the quarantine.
    pub quarantined: u64,
    /// Why the drain does not go on, if it does not.
    pub blocked: Option<Blocked>,
    /// Whether it runs.
    pub running: bool,
}

impl Snapshot {
    /// Why nothing is ever drained unless somebody does something. A cluster that is down is no such reason: the local
    /// buffer is there for that.
    pub(crate) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.running {
            reasons.push("the drain to Kafka has stopped: look at the log, then restart".into());
        }
        if let (true, Lanes::Unknown(why) | Lanes::Conflict(why)) = (self.running, &self.lanes) {
            reasons.push(format!("nothing is drained before the number of lanes is known: {why}"));
        }
        if self.running && self.clusters.iter().all(|figures| figures.standing.is_final()) {
            for (cluster, figures) in Cluster::BOTH.iter().zip(&self.clusters) {
                if let Standing::Misfit(misfit) = &figures.standing {
                    reasons.push(format!("the {cluster} Kafka cluster cannot be used: {misfit}"));
                }
            }
        }
        reasons
    }
}

/// The figures, where others can see them.
#[derive(Debug, Default)]
pub(crate) struct Figures(Mutex<Snapshot>);

impl Figures {
    /// Replaces them.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The last ones.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The drain has ended, however.
    pub(crate) fn ended(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::clusters::Misfit;

    fn of(primary: Standing, secondary: Standing) -> Snapshot {
        let clusters = [primary, secondary].map(|standing| ClusterFigures { standing, ..ClusterFigures::default() });
        Snapshot { clusters, running: true, ..Snapshot::default() }
    }

    #[test]
    fn only_what_waiting_does_not_mend_is_not_ready() {
        let silent = || Standing::Unseen("no answer".into());
        let wrong = || Standing::Misfit(Misfit::TooManyPartitions(70_000));
        assert_eq!(of(Standing::default(), Standing::default()).not_ready(), [""; 0]);
        assert_eq!(of(silent(), silent()).not_ready(), [""; 0], "the buffer is there for that");
        assert_eq!(of(wrong(), silent()).not_ready(), [""; 0], "the other one may come back");
        assert_eq!(of(wrong(), Standing::Misfit(Misfit::NoTopic)).not_ready(), [""; 0], "its topic may be created");
        let mut snapshot = of(wrong(), Standing::Unconfigured);
        let said = snapshot.not_ready();
        assert!(
            said.len() == 1 && said[0].contains("the primary Kafka cluster") && said[0].contains("70000"),
            "{said:?}"
        );
        snapshot.running = false;
        assert!(snapshot.not_ready()[0].contains("restart"));
    }
}
