//! What one partition was given, and since when it has made no progress. Pure: times come in as values.

use std::time::{Duration, Instant};

use crate::forward::breaker::FIRST_FACTOR;
use crate::forward::choice::Health;

/// Idle time after which a connection may be gone: load balancers forget them after one minute and more.
pub(super) const IDLE: Duration = Duration::from_mins(1);
/// A partition that is not known is asked for again after this: by then metadata is new.
const UNKNOWN: Duration = Duration::from_secs(10);
/// A slow partition gets one record after this, which may wait there until its time-out: seldom enough to delay next to
/// nothing, often enough that one that has recovered is used again within seconds.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(10);

/// One partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    /// Records handed over and not come back.
    pub(super) outstanding: u32,
    /// Bytes of their values.
    pub(super) bytes: usize,
    /// When it last made progress, or was given the first of what it has.
    pub(super) since: Instant,
    /// Its last acknowledgement.
    pub(super) acknowledged: Option<Instant>,
    /// Nothing was acknowledged yet, as far as its connection goes.
    pub(super) is_new: bool,
    /// It is not known to the producer, as far as was heard; it is tried again then.
    unknown_until: Option<Instant>,
    /// It makes no progress; it is tried again then.
    slow: Option<Instant>,
    /// It was slow already when it was given what it has.
    is_attempt: bool,
    /// Nobody leads it, as far as the last look goes.
    pub(super) is_leaderless: bool,
}

impl Track {
    /// That was given nothing.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            outstanding: 0,
            bytes: 0,
            since: now,
            acknowledged: None,
            is_new: true,
            unknown_until: None,
            slow: None,
            is_attempt: false,
            is_leaderless: false,
        }
    }

    /// A record was handed over.
    pub(super) fn handed_over(&mut self, bytes: usize, now: Instant) {
        if self.outstanding == 0 {
            self.is_new |= now.saturating_duration_since(self.since) >= IDLE;
            self.since = now;
            self.is_attempt = self.is_slow();
        }
        self.outstanding += 1;
        self.bytes += bytes;
        if let Some(next_try) = &mut self.slow {
            *next_try = now + TRY_AGAIN;
        }
    }

    /// A record came back; `progress` where it was acknowledged, however late.
    pub(super) fn came_back(&mut self, bytes: usize, progress: bool, now: Instant) {
        debug_assert!(self.outstanding > 0, "each record comes back once");
        self.outstanding = self.outstanding.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if progress {
            (self.since, self.acknowledged) = (now, Some(now));
            (self.is_new, self.slow) = (false, None);
        } else if let Some(next_try) = &mut self.slow {
            // What it gave back is the oldest that there is, and must not be what it is tried with at once: the floor would
            // stand for as long as the partition does.
            *next_try = now + TRY_AGAIN;
        }
    }

    /// Whoever it was handed to is gone.
    pub(super) fn clear(&mut self) {
        (self.outstanding, self.bytes) = (0, 0);
    }

    /// The producer does not know it.
    pub(super) fn unknown(&mut self, now: Instant) {
        self.unknown_until = Some(now + UNKNOWN);
    }

    /// It is slow once it has had records for so long without an acknowledgement; for five times as long while it is new.
    pub(super) fn judge(&mut self, patience: Duration, now: Instant) {
        let patience = if self.is_new { patience * FIRST_FACTOR } else { patience };
        let waits = self.outstanding > 0 && now.saturating_duration_since(self.since) >= patience;
        if waits && self.slow.is_none() {
            self.slow = Some(now + TRY_AGAIN);
        }
    }

    /// Whether it has not acknowledged anything since it made no progress for too long.
    pub(super) fn is_slow(&self) -> bool {
        self.slow.is_some()
    }

    /// Whether what it has is only there to see whether it takes any.
    pub(super) fn is_tried(&self) -> bool {
        self.is_slow() && self.is_attempt
    }

    /// Whether it takes records like any other one.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        !self.is_slow() && !self.is_leaderless && !self.is_unknown(now)
    }

    /// What it is good for. A slow one that holds nothing is good for one record now and then. While it holds any, those
    /// are the attempt: librdkafka sends them again by itself, and one more would only wait with them.
    pub(super) fn health(&self, now: Instant) -> Health {
        let may_try = |next_try: Instant| self.outstanding == 0 && now >= next_try;
        if self.is_unknown(now) {
            Health::Unknown
        } else if self.is_leaderless || self.slow.is_some_and(|next_try| !may_try(next_try)) {
            Health::Slow
        } else {
            Health::Good
        }
    }

    fn is_unknown(&self, now: Instant) -> bool {
        self.unknown_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_millis(500);

    /// One that has acknowledged a record, and has another one out since then.
    fn waiting(start: Instant) -> Track {
        let mut track = Track::new(start);
        track.handed_over(1, start);
        track.handed_over(1, start);
        track.came_back(1, true, start);
        track
    }

    #[test]
    fn it_is_slow_after_its_time_and_good_again_with_an_acknowledgement() {
        let start = Instant::now();
        let mut track = waiting(start);
        let nearly = start + Duration::from_millis(499);
        track.judge(HALF, nearly);
        assert_eq!((track.health(nearly), track.is_slow()), (Health::Good, false));
        let late = start + HALF;
        track.judge(HALF, late);
        assert_eq!((track.health(late), track.is_slow(), track.is_good(late)), (Health::Slow, true, false));
        track.came_back(1, true, late);
        assert_eq!((track.health(late), track.is_slow()), (Health::Good, false), "a late one is one");
        track.judge(HALF, late + IDLE);
        assert!(!track.is_slow(), "it holds nothing");
    }

    #[test]
    fn a_new_one_has_five_times_as_long() {
        let start = Instant::now();
        let mut track = Track::new(start);
        track.handed_over(1, start);
        track.judge(HALF, start + Duration::from_millis(2_499));
        assert!(!track.is_slow());
        track.judge(HALF, start + HALF * FIRST_FACTOR);
        assert!(track.is_slow());
    }

    #[test]
    fn a_slow_one_gets_one_record_at_a_time_and_seldom() {
        let start = Instant::now();
        let mut track = waiting(start);
        let late = start + HALF;
        track.judge(HALF, late);
        assert_eq!(track.health(late + 2 * TRY_AGAIN), Health::Slow, "what it holds is the attempt");
        track.came_back(1, false, late + 2 * TRY_AGAIN);
        assert_eq!(track.health(late + 2 * TRY_AGAIN), Health::Slow, "what it gave back goes elsewhere");
        let next = late + 3 * TRY_AGAIN;
        assert_eq!((track.health(next), track.is_slow()), (Health::Good, true), "one may go");
        track.handed_over(1, next);
        assert_eq!(track.health(next + TRY_AGAIN), Health::Slow, "it is out");
        let back = next + Duration::from_millis(1);
        track.came_back(1, false, back);
        assert_eq!(track.health(next + TRY_AGAIN), Health::Slow, "it came back too soon");
        assert_eq!(track.health(back + TRY_AGAIN), Health::Good);
    }

    #[test]
    fn one_that_nobody_leads_is_slow_and_one_that_nobody_knows_is_unknown() {
        let start = Instant::now();
        let mut track = Track::new(start);
        track.is_leaderless = true;
        assert_eq!((track.health(start), track.is_good(start)), (Health::Slow, false));
        track.unknown(start);
        assert_eq!(track.health(start), Health::Unknown);
        track.is_leaderless = false;
        assert_eq!((track.health(start + UNKNOWN), track.is_good(start + UNKNOWN)), (Health::Good, true));
    }
}
