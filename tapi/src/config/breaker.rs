//! The settings of the breakers: when to leave a cluster, and when to come back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::forward::breaker::Limits;

/// When to leave a cluster, and when to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Breaker {
    /// Time without an acknowledgement for a lane that has records handed over, milliseconds; five times as long until
    /// the first one, which takes a connection. A partition is left out after half of it while its lane has another one.
    /// Default 1,000.
    pub stall_ms: u64,
    /// The same, in all, for 10 s after leaders or in-sync replicas were seen to change, as they do when a broker is stopped
    /// in order. Less than `stall_ms` changes nothing. Default 5,000.
    pub stall_moving_ms: u64,
    /// The same while no broker of the cluster can be reached. Default 200.
    pub stall_unreachable_ms: u64,
    /// Share of failures, percent, over 10 s. Default 50.
    pub failures_percent: u32,
    /// Results in these 10 s below which the share says nothing. Default 100.
    pub results_min: u64,
    /// Pause before a cluster that was left is tried with real records, milliseconds. Default 30,000.
    pub pause_ms: u64,
    /// Records that it has to acknowledge then. Default 5.
    pub probes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            stall_ms: limits.stall.as_millis() as u64,
            stall_moving_ms: limits.stall_moving.as_millis() as u64,
            stall_unreachable_ms: limits.stall_unreachable.as_millis() as u64,
            failures_percent: limits.failures_percent,
            results_min: limits.results_min,
            pause_ms: limits.pause.as_millis() as u64,
            probes: limits.probes,
        }
    }
}

impl Breaker {
    /// As the breaker takes them.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            failures_percent: self.failures_percent,
            results_min: self.results_min,
            stall: Duration::from_millis(self.stall_ms),
            stall_moving: Duration::from_millis(self.stall_moving_ms),
            stall_unreachable: Duration::from_millis(self.stall_unreachable_ms),
            pause: Duration::from_millis(self.pause_ms),
            probes: self.probes,
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_breakers_own() {
        assert_eq!(Breaker::default().limits(), Limits::default());
    }
}
