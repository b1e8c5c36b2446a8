//! Since when each partition of a cluster has made no progress. Pure: times come in as values.
//!
//! A frozen broker sends no errors, and one of several may freeze alone. So it is not the age of the backlog that
//! counts, nor whether anything at all is acknowledged, but the time since the last acknowledgement of each partition
//! that has records handed over.
//!
//! A partition's first acknowledgement waits for more than the broker's disk: for a connection, a handshake, a login,
//! metadata and a producer's id, a dozen trips there and back. Until it has come the partition is *new*, and so it is
//! again after its cluster was left or it was idle for long, since connections do not outlive that.
//!
//! What is watched by itself is a *track*: each partition is one, and the one before the first partition stands for
//! `events.rejected`, which has no partitions that matter here.

use std::time::{Duration, Instant};

use crate::forward::breaker::Stall;
use crate::forward::choice::Health;

/// Idle time after which a connection may be gone: load balancers forget them after one minute and more.
const IDLE: Duration = Duration::from_mins(1);
/// A partition that is not known is asked for again after this: by then metadata is new.
const UNKNOWN: Duration = Duration::from_secs(10);
/// The track of `events.rejected`.
const REJECTED: usize = 0;

/// The track of a partition of `events`, or of `events.rejected`.
pub(crate) fn track_of(partition: Option<u32>) -> usize {
    partition.map_or(REJECTED, |partition| partition as usize + 1)
}

#[derive(Debug, Clone, Copy)]
struct Track {
    outstanding: u32,
    /// When it last made progress, or was given the first of what it has.
    since: Instant,
    /// Nothing was acknowledged yet, as far as its connection goes.
    is_new: bool,
    /// Its partition is not known to the producer, as far as was heard; it is tried again then.
    unknown_until: Option<Instant>,
}

impl Track {
    fn new(now: Instant) -> Self {
        Self { outstanding: 0, since: now, is_new: true, unknown_until: None }
    }
}

/// The tracks of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    tracks: Vec<Track>,
    outstanding: u32,
}

impl Progress {
    /// For so many tracks, and for more as they are used, with nothing handed over.
    pub(crate) fn new(tracks: usize, now: Instant) -> Self {
        Self { tracks: vec![Track::new(now); tracks], outstanding: 0 }
    }

    /// Whether a track is that of `events.rejected`.
    pub(crate) fn is_rejected(track: usize) -> bool {
        track == REJECTED
    }

    /// The producer does not know the partition of a track.
    pub(crate) fn unknown(&mut self, track: usize, now: Instant) {
        self.reach(track, now).unknown_until = Some(now + UNKNOWN);
    }

    /// What a partition is good for.
    pub(crate) fn health(&self, partition: u32, now: Instant) -> Health {
        let until = self.tracks.get(track_of(Some(partition))).and_then(|track| track.unknown_until);
        if until.is_some_and(|until| now < until) { Health::Unknown } else { Health::Good }
    }

    fn reach(&mut self, track: usize, now: Instant) -> &mut Track {
        if self.tracks.len() <= track {
            self.tracks.resize(track + 1, Track::new(now));
        }
        &mut self.tracks[track]
    }

    /// A record was handed over.
    pub(crate) fn handed_over(&mut self, track: usize, now: Instant) {
        let track = self.reach(track, now);
        if track.outstanding == 0 {
            track.is_new |= now.saturating_duration_since(track.since) >= IDLE;
            track.since = now;
        }
        track.outstanding += 1;
        self.outstanding += 1;
    }

    /// A record came back; `progress` where it was acknowledged.
    pub(crate) fn came_back(&mut self, track: usize, progress: bool, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(1);
        let track = self.reach(track, now);
        debug_assert!(track.outstanding > 0, "each record comes back once");
        track.outstanding = track.outstanding.saturating_sub(1);
        if progress {
            (track.since, track.is_new) = (now, false);
        }
    }

    /// The connections have to be made again: every partition is new.
    pub(crate) fn renew(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.is_new = true);
    }

    /// Nothing is handed over any more, and whoever it was handed to is gone.
    pub(crate) fn clear(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.outstanding = 0);
        self.outstanding = 0;
        self.renew();
    }

    /// Records handed over and not come back.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// The longest times without progress.
    pub(crate) fn stall(&self, now: Instant) -> Stall {
        let mut stall = Stall::default();
        for track in self.tracks.iter().filter(|track| track.outstanding > 0) {
            let longest = if track.is_new { &mut stall.new } else { &mut stall.known };
            *longest = (*longest).max(now.saturating_duration_since(track.since));
        }
        stall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Stall = Stall { known: Duration::ZERO, new: Duration::ZERO };

    fn known(ms: u64) -> Stall {
        Stall { known: Duration::from_millis(ms), ..NONE }
    }

    fn new(ms: u64) -> Stall {
        Stall { new: Duration::from_millis(ms), ..NONE }
    }

    /// So many tracks that have acknowledged a record each.
    fn connected(tracks: usize, start: Instant) -> Progress {
        let mut progress = Progress::new(tracks, start);
        for track in 0..tracks {
            progress.handed_over(track, start);
            progress.came_back(track, true, start);
        }
        progress
    }

    #[test]
    fn one_frozen_partition_among_others_is_seen() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut progress = connected(2, start);
        assert_eq!(progress.stall(at(900)), NONE, "nothing handed over, nothing stalled");
        progress.handed_over(0, at(1000));
        progress.handed_over(1, at(1000));
        progress.handed_over(1, at(1400));
        progress.came_back(1, true, at(1500));
        assert_eq!(progress.stall(at(1500)), known(500), "the other track's acknowledgement");
        progress.came_back(0, true, at(1500));
        assert_eq!(progress.stall(at(1600)), known(100));
        progress.came_back(1, false, at(1700));
        assert_eq!((progress.outstanding(), progress.stall(at(9000))), (0, NONE));
    }

    #[test]
    fn a_failure_is_no_progress_and_idle_time_does_not_count() {
        let start = Instant::now();
        let mut progress = connected(1, start);
        progress.handed_over(0, start);
        progress.handed_over(0, start);
        let later = start + Duration::from_secs(5);
        progress.came_back(0, false, later);
        assert_eq!(progress.stall(later), known(5000));
        progress.clear();
        assert_eq!(progress.stall(later), NONE);
        progress.handed_over(0, later);
        assert_eq!(progress.stall(later), NONE);
    }

    #[test]
    fn a_partition_is_new_until_its_first_acknowledgement() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut progress = Progress::new(2, start);
        progress.handed_over(0, start);
        progress.handed_over(1, start);
        progress.came_back(0, false, at(10));
        assert_eq!(progress.stall(at(700)), new(700), "a failure is no acknowledgement");
        progress.came_back(1, true, at(700));
        progress.handed_over(0, at(800));
        progress.handed_over(1, at(900));
        assert_eq!(progress.stall(at(1000)), Stall { new: Duration::from_millis(200), ..known(100) });
        progress.came_back(0, true, at(1000));
        progress.handed_over(0, at(1000));
        assert_eq!(progress.stall(at(1100)), known(200));
    }

    #[test]
    fn it_is_new_again_when_its_connection_may_be_gone() {
        let start = Instant::now();
        let mut progress = connected(1, start);
        let soon = start + IDLE / 2;
        progress.handed_over(0, soon);
        progress.came_back(0, true, soon);
        let later = soon + IDLE;
        progress.handed_over(0, later);
        let second = Duration::from_secs(1);
        assert_eq!(progress.stall(later + second), new(1000), "idle");
        progress.came_back(0, true, later);
        progress.handed_over(0, later);
        assert_eq!(progress.stall(later + second), known(1000));
        progress.renew();
        assert_eq!(progress.stall(later + second), new(1000), "left and come back to");
    }
}
