//! Since when each partition of a cluster has made no progress. Pure: times come in as values.
//!
//! A frozen broker sends no errors, and one of several may freeze alone. So it is not the age of the backlog that
//! counts, nor whether anything at all is acknowledged, but the time since the last acknowledgement of each partition
//! that has records handed over.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
struct Lane {
    outstanding: u32,
    /// When it last made progress, or was given the first of what it has.
    since: Instant,
}

/// The partitions of one cluster; the lane behind the last one stands for all other topics.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    lanes: Vec<Lane>,
    outstanding: u32,
}

impl Progress {
    /// For so many lanes, with nothing handed over.
    pub(crate) fn new(lanes: usize, now: Instant) -> Self {
        Self { lanes: vec![Lane { outstanding: 0, since: now }; lanes], outstanding: 0 }
    }

    /// A record was handed over.
    pub(crate) fn handed_over(&mut self, lane: usize, now: Instant) {
        let lane = &mut self.lanes[lane];
        if lane.outstanding == 0 {
            lane.since = now;
        }
        lane.outstanding += 1;
        self.outstanding += 1;
    }

    /// A record came back; `progress` where it was acknowledged.
    pub(crate) fn came_back(&mut self, lane: usize, progress: bool, now: Instant) {
        let lane = &mut self.lanes[lane];
        debug_assert!(lane.outstanding > 0, "each record comes back once");
        lane.outstanding = lane.outstanding.saturating_sub(1);
        self.outstanding = self.outstanding.saturating_sub(1);
        if progress {
            lane.since = now;
        }
    }

    /// Nothing is handed over any more.
    pub(crate) fn clear(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.outstanding = 0);
        self.outstanding = 0;
    }

    /// Records handed over and not come back.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// The longest time without progress.
    pub(crate) fn stalled_for(&self, now: Instant) -> Duration {
        let waiting = self.lanes.iter().filter(|lane| lane.outstanding > 0);
        waiting.map(|lane| now.saturating_duration_since(lane.since)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frozen_partition_among_others_is_seen() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut progress = Progress::new(2, start);
        assert_eq!(progress.stalled_for(at(900)), Duration::ZERO, "nothing handed over, nothing stalled");
        progress.handed_over(0, at(1000));
        progress.handed_over(1, at(1000));
        progress.handed_over(1, at(1400));
        progress.came_back(1, true, at(1500));
        assert_eq!(progress.stalled_for(at(1500)), Duration::from_millis(500), "the other lane's acknowledgement");
        progress.came_back(0, true, at(1500));
        assert_eq!(progress.stalled_for(at(1600)), Duration::from_millis(100));
        progress.came_back(1, false, at(1700));
        assert_eq!((progress.outstanding(), progress.stalled_for(at(9000))), (0, Duration::ZERO));
    }

    #[test]
    fn a_failure_is_no_progress_and_idle_time_does_not_count() {
        let start = Instant::now();
        let mut progress = Progress::new(1, start);
        progress.handed_over(0, start);
        progress.handed_over(0, start);
        let later = start + Duration::from_secs(5);
        progress.came_back(0, false, later);
        assert_eq!(progress.stalled_for(later), Duration::from_secs(5));
        progress.clear();
        assert_eq!(progress.stalled_for(later), Duration::ZERO);
        progress.handed_over(0, later);
        assert_eq!(progress.stalled_for(later), Duration::ZERO);
    }
}
