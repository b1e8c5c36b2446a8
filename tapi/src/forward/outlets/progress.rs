//! Since when each partition of a cluster has made no progress. Pure: times come in as values.
//!
//! A frozen broker sends no errors, and one of several may freeze alone. So it is not the age of the backlog that
//! counts, nor whether anything at all is acknowledged, but the time since the last acknowledgement of each partition
//! that has records handed over.
//!
//! | without an acknowledgement | for | what follows |
//! |---|---|---|
//! | a partition that has records | half the limit | it is slow: *left out* while its lane has another one, until it acknowledges |
//! | every partition of a lane that has records | the limit | the cluster is stalled: [`stall`](Progress::stall) |
//!
//! A partition that nobody leads is left out in the same way. A slow one whose lane has acknowledged something since
//! stalls nobody: the lane has gone on without it. Nor does the record by which it is tried again, while its lane has
//! another one that is good.
//!
//! A partition's first acknowledgement waits for more than the broker's disk: for a connection, a handshake, a login,
//! metadata and a producer's id, a dozen trips there and back. Until it has come the partition is *new*, and so it is
//! again after its cluster was left or it was idle for long, since connections do not outlive that. A new one has five
//! times as long.
//!
//! What is watched by itself is a *track*: each partition is one, and the one before the first partition stands for
//! `events.rejected`, which has no partitions that matter here and is a lane of its own. Lanes are how tracks are looked
//! at; nothing is stored by lane, so their number may become known when tracks are already in use.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::left_out::{LeftOut, Why};
use super::track::Track;
use crate::forward::breaker::Stall;
use crate::forward::choice::{Choice, Health};
use crate::forward::plan::Bounds;

/// The track of `events.rejected`.
const REJECTED: usize = 0;

/// The track of a partition of `events`, or of `events.rejected`.
pub(crate) fn track_of(partition: Option<u32>) -> usize {
    partition.map_or(REJECTED, |partition| partition as usize + 1)
}

/// The tracks of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    tracks: Vec<Track>,
    outstanding: u32,
    /// The partitions that are written to, by lane, as far as is known.
    choice: Option<Choice>,
    /// How long a partition may make no progress before it is left out.
    patience: Duration,
}

impl Progress {
    /// With nothing handed over. `limit` is how long a lane may make no progress.
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self { tracks: vec![Track::new(now)], outstanding: 0, choice: None, patience: limit / 2 }
    }

    /// Whether a track is that of `events.rejected`.
    pub(crate) fn is_rejected(track: usize) -> bool {
        track == REJECTED
    }

    /// The partitions are these, and nobody leads some of them, ascending. While nobody can say, what was known holds.
    pub(crate) fn follow(&mut self, choice: Option<Choice>, leaderless: &[u32], now: Instant) {
        let Some(choice) = choice else { return };
        self.choice = Some(choice);
        self.reach(choice.partitions().get() as usize, now);
        for (partition, track) in (0..).zip(self.tracks.iter_mut().skip(REJECTED + 1)) {
            track.is_leaderless = leaderless.binary_search(&partition).is_ok();
        }
    }

    fn reach(&mut self, track: usize, now: Instant) -> &mut Track {
        if self.tracks.len() <= track {
            self.tracks.resize(track + 1, Track::new(now));
        }
        &mut self.tracks[track]
    }

    // === out and back ===

    /// A record was handed over, with so many bytes.
    pub(crate) fn handed_over(&mut self, track: usize, bytes: usize, now: Instant) {
        self.reach(track, now).handed_over(bytes, now);
        self.outstanding += 1;
    }

    /// A record came back; `progress` where it was acknowledged.
    pub(crate) fn came_back(&mut self, track: usize, bytes: usize, progress: bool, now: Instant) {
        self.reach(track, now).came_back(bytes, progress, now);
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The producer does not know the partition of a track.
    pub(crate) fn unknown(&mut self, track: usize, now: Instant) {
        self.reach(track, now).unknown(now);
    }

    /// The connections have to be made again: every partition is new. One that was left out stays so until it acknowledges.
    pub(crate) fn renew(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.is_new = true);
    }

    /// Nothing is handed over any more, and whoever it was handed to is gone.
    pub(crate) fn clear(&mut self) {
        self.tracks.iter_mut().for_each(Track::clear);
        self.outstanding = 0;
        self.renew();
    }

    /// Records handed over and not come back.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Those of one track, to look into it.
    #[cfg(test)]
    pub(crate) fn holds(&self, track: usize) -> u32 {
        self.tracks[track].outstanding
    }

    // === what follows ===

    /// Time has passed: says of the partitions which of them make no progress.
    pub(crate) fn judge(&mut self, now: Instant) {
        let patience = self.patience;
        self.tracks[REJECTED + 1..].iter_mut().for_each(|track| track.judge(patience, now));
    }

    /// What a partition is good for.
    pub(crate) fn health(&self, partition: u32, now: Instant) -> Health {
        self.tracks.get(track_of(Some(partition))).map_or(Health::Good, |track| track.health(now))
    }

    /// The track by which the lane of a track is called, the first one of it.
    pub(crate) fn lane(&self, track: usize) -> usize {
        match self.lanes() {
            Some(lanes) if track != REJECTED => (track - 1) % lanes + 1,
            _ => track,
        }
    }

    fn lanes(&self) -> Option<usize> {
        self.choice.map(|choice| choice.lanes().get() as usize)
    }

    /// The tracks of the lane of one.
    fn siblings(&self, track: usize) -> impl Iterator<Item = &Track> + Clone {
        // Without lanes, and behind the one of `events.rejected`, each is alone.
        let step = if track == REJECTED { None } else { self.lanes() };
        self.tracks.iter().skip(self.lane(track)).step_by(step.unwrap_or(usize::MAX))
    }

    /// Whether a lane may get another record, of so many that it may have out.
    ///
    /// What is left out does not count: the others of its lane would wait for its time-out.
    pub(crate) fn has_room(&self, track: usize, share: Bounds, now: Instant) -> bool {
        let all = self.siblings(track);
        let is_any_good = all.clone().any(|track| track.is_good(now));
        let counted = all.filter(|track| !is_any_good || track.is_good(now));
        let (records, bytes) =
            counted.fold((0, 0), |(records, bytes), track| (records + track.outstanding as usize, bytes + track.bytes));
        records < share.records_max && bytes < share.bytes_max
    }

    /// Whether a track gets no records because others of its lane do.
    pub(crate) fn is_left_out(&self, track: usize, now: Instant) -> bool {
        let is_out = self.tracks.get(track).is_some_and(|track| track.is_slow() || track.is_leaderless);
        is_out && self.siblings(track).any(|track| track.is_good(now))
    }

    /// Records handed over and not come back, but for those in partitions that are left out.
    pub(crate) fn awaited(&self, now: Instant) -> u32 {
        let holding = (0..).zip(&self.tracks).filter(|(_, track)| track.outstanding > 0);
        let left_out = holding.filter(|(number, _)| self.is_left_out(*number, now));
        self.outstanding - left_out.map(|(_, track)| track.outstanding).sum::<u32>()
    }

    /// The partitions that are left out, and why.
    pub(crate) fn left_out(&self, now: Instant) -> Vec<LeftOut> {
        let written = self.choice.map_or(0, |choice| choice.partitions().get());
        let left_out = (0..written).filter(|partition| self.is_left_out(track_of(Some(*partition)), now));
        left_out
            .map(|partition| {
                let is_leaderless = self.tracks[track_of(Some(partition))].is_leaderless;
                LeftOut { partition, why: if is_leaderless { Why::NoLeader } else { Why::NoProgress } }
            })
            .collect()
    }

    /// The longest times that a lane has made no progress.
    pub(crate) fn stall(&self, now: Instant) -> Stall {
        let lanes = self.lanes().unwrap_or(self.tracks.len());
        let mut stall = Stall::default();
        for lane in 0..self.tracks.len().min(lanes + 1) {
            let Some((since, is_new)) = self.waits_since(lane, now) else { continue };
            let longest = if is_new { &mut stall.new } else { &mut stall.known };
            *longest = (*longest).max(now.saturating_duration_since(since));
        }
        stall
    }

    /// Since when a lane waits for an acknowledgement, and whether only new partitions of it have records.
    fn waits_since(&self, lane: usize, now: Instant) -> Option<(Instant, bool)> {
        let all = self.siblings(lane);
        let last = all.clone().filter_map(|track| track.acknowledged).max();
        let is_any_good = all.clone().any(|track| track.is_good(now));
        let has_gone_on = |track: &Track| {
            track.is_slow() && (last.is_some_and(|last| last > track.since) || is_any_good && track.is_tried())
        };
        let waiting = all.filter(|track| track.outstanding > 0 && !has_gone_on(track));
        let first = waiting.clone().map(|track| track.since).min()?;
        Some((last.map_or(first, |last| last.max(first)), waiting.clone().all(|track| track.is_new)))
    }
}
