//! When to stop trusting a cluster, and when to trust it again. Pure: times come in as values.
//!
//! ```text
//!            half of the results of the last 10 s are failures, of at least 100
//!            a lane makes no progress for the limit (`sight`)
//!            the cluster says that it takes nothing
//!   closed ────────────────────────────────────────────────────────────────────▶ open
//!     ▲                                                                         │  ▲
//!     │ every probe acknowledged                     after a pause, or earlier  │  │ a failure or a
//!     │                                              while the other one is     ▼  │ stalled probe
//!     └──────────────────────────────────────────────────────────────────── half-open
//! ```
//!
//! A breaker does not open while the caller says that there is nowhere else to go: records then wait where they are,
//! which costs nothing, and go out when the cluster answers again.

mod sight;

use std::fmt;
use std::time::{Duration, Instant};

pub(crate) use sight::{FIRST_FACTOR, Sight, Stall};

/// Parts of the observed time; the oldest is forgotten at once.
const BUCKETS: usize = 10;

/// What a breaker goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Share of failures that opens it, percent.
    pub failures_percent: u32,
    /// Results below which the share says nothing.
    pub results_min: u64,
    /// Time over which results are counted.
    pub observed: Duration,
    /// Time without progress of a lane that has records handed over; five times as long until the first acknowledgement
    /// of their partitions. A single partition is left out after half of it.
    pub stall: Duration,
    /// The same, in all, for [a while](Sight::moved_ago) after leaders or in-sync replicas were seen to change.
    pub stall_moving: Duration,
    /// The same while no broker can be reached at all: a lost connection alone may be a passing one.
    pub stall_unreachable: Duration,
    /// Pause before it is tried again.
    pub pause: Duration,
    /// Records that have to be acknowledged before it is trusted again.
    pub probes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures_percent: 50,
            results_min: 100,
            observed: Duration::from_secs(10),
            stall: Duration::from_secs(1),
            stall_moving: Duration::from_secs(5),
            stall_unreachable: Duration::from_millis(200),
            pause: Duration::from_secs(30),
            probes: 5,
        }
    }
}

/// Whether a cluster is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It gets every record that is meant for it.
    #[default]
    Closed,
    /// It gets none.
    Open {
        /// When it is tried again.
        until: Instant,
    },
    /// It gets a few real records.
    HalfOpen {
        /// Probes that were acknowledged.
        acknowledged: u32,
    },
}

impl State {
    /// Name for people and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }

    /// Number for metrics.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen { .. } => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Too many failures.
    Failures,
    /// No progress for too long.
    Stalled,
    /// No progress, and no broker can be reached.
    Unreachable,
    /// The cluster refuses all records of the topic: it is missing, or access to it is denied.
    Refused,
    /// The pause is over.
    PauseOver,
    /// The other cluster is in trouble, so this one is tried before its pause is over.
    OtherInTrouble,
    /// All probes were acknowledged.
    Probed,
}

impl Cause {
    /// Every cause.
    pub(crate) const ALL: [Self; 7] = [
        Self::Failures,
        Self::Stalled,
        Self::Unreachable,
        Self::Refused,
        Self::PauseOver,
        Self::OtherInTrouble,
        Self::Probed,
    ];

    /// Name for people and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Stalled => "stalled",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::PauseOver => "pause over",
            Self::OtherInTrouble => "other in trouble",
            Self::Probed => "probed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A change of state: logged once, counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    number: u64,
    acknowledged: u64,
    failed: u64,
}

/// The breaker of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    limits: Limits,
    state: State,
    begun: Instant,
    buckets: [Bucket; BUCKETS],
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, state: State::Closed, begun: now, buckets: [Bucket::default(); BUCKETS] }
    }

    /// The state of now.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Records were acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Instant, count: u64) -> Option<Transition> {
        self.bucket(now).acknowledged += count;
        let State::HalfOpen { acknowledged } = self.state else { return None };
        let acknowledged = acknowledged.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if acknowledged < self.limits.probes {
            self.state = State::HalfOpen { acknowledged };
            return None;
        }
        self.buckets = [Bucket::default(); BUCKETS];
        Some(self.change(State::Closed, Cause::Probed))
    }

    /// Records failed for a reason that lies with the cluster, not with them. `may_open` says that there is somewhere
    /// else to go.
    pub(crate) fn failed(&mut self, now: Instant, count: u64, may_open: bool) -> Option<Transition> {
        self.bucket(now).failed += count;
        match self.state {
            State::Open { .. } => None,
            State::HalfOpen { .. } => Some(self.open(now, Cause::Failures)),
            State::Closed => (may_open && self.too_many_failures(now)).then(|| self.open(now, Cause::Failures)),
        }
    }

    /// The cluster refuses everything: there is nothing to wait for.
    pub(crate) fn refused(&mut self, now: Instant, may_open: bool) -> Option<Transition> {
        match self.state {
            State::Open { .. } => None,
            State::Closed if !may_open => None,
            State::Closed | State::HalfOpen { .. } => Some(self.open(now, Cause::Refused)),
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant, sight: Sight, may_open: bool) -> Option<Transition> {
        match self.state {
            State::Open { until } => {
                (now >= until).then(|| self.change(State::HalfOpen { acknowledged: 0 }, Cause::PauseOver))
            }
            State::Closed if !may_open => None,
            State::Closed if self.too_many_failures(now) => Some(self.open(now, Cause::Failures)),
            State::Closed | State::HalfOpen { .. } => self.stalled(sight).map(|cause| self.open(now, cause)),
        }
    }

    /// Whether what is seen would open it, had it the choice.
    pub(crate) fn stalled(&self, sight: Sight) -> Option<Cause> {
        sight.stalled(self.limits)
    }

    /// Whether it has to be known by now if leaders change.
    pub(crate) fn has_to_know(&self, sight: Sight) -> bool {
        sight.is_doubtful(self.limits)
    }

    /// Ends the pause of an open one.
    pub(crate) fn try_early(&mut self) -> Option<Transition> {
        matches!(self.state, State::Open { .. })
            .then(|| self.change(State::HalfOpen { acknowledged: 0 }, Cause::OtherInTrouble))
    }

    fn too_many_failures(&self, now: Instant) -> bool {
        let newest = self.number(now);
        let kept = self.buckets.iter().filter(|bucket| bucket.number + BUCKETS as u64 > newest);
        let (acknowledged, failed) = kept.fold((0, 0), |(a, f), bucket| (a + bucket.acknowledged, f + bucket.failed));
        let results = acknowledged + failed;
        results >= self.limits.results_min && failed * 100 >= results * u64::from(self.limits.failures_percent)
    }

    fn open(&mut self, now: Instant, cause: Cause) -> Transition {
        self.buckets = [Bucket::default(); BUCKETS];
        self.change(State::Open { until: now + self.limits.pause }, cause)
    }

    fn change(&mut self, to: State, cause: Cause) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        Transition { from, to, cause }
    }

    fn number(&self, now: Instant) -> u64 {
        let width_us = (self.limits.observed.as_micros() / BUCKETS as u128).max(1);
        (now.saturating_duration_since(self.begun).as_micros() / width_us) as u64
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let number = self.number(now);
        let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
        if bucket.number != number {
            *bucket = Bucket { number, ..Bucket::default() };
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const NONE: Stall = Stall { known: Duration::ZERO, new: Duration::ZERO };
    const STALLED: Sight = Sight { stall: Stall { known: SECOND, ..NONE }, ..FINE };
    const FINE: Sight = Sight { stall: NONE, unreachable: false, moved_ago: None };

    fn breaker() -> (Breaker, Instant) {
        let now = Instant::now();
        (Breaker::new(Limits::default(), now), now)
    }

    fn opened() -> (Breaker, Instant) {
        let (mut breaker, now) = breaker();
        breaker.tick(now, STALLED, true).unwrap();
        (breaker, now)
    }

    fn half_open() -> (Breaker, Instant) {
        let (mut breaker, now) = opened();
        let now = now + Limits::default().pause;
        let transition = breaker.tick(now, FINE, true).unwrap();
        assert_eq!((transition.to, transition.cause), (State::HalfOpen { acknowledged: 0 }, Cause::PauseOver));
        (breaker, now)
    }

    #[test]
    fn states_have_numbers() {
        let states = [State::Closed, State::HalfOpen { acknowledged: 0 }, State::Open { until: Instant::now() }];
        assert_eq!(states.map(State::number), [0, 1, 2]);
    }

    #[test]
    fn half_of_at_least_a_hundred_results_open_it() {
        for (acknowledged, failed, opens) in
            [(50, 50, true), (51, 50, false), (49, 50, false), (0, 99, false), (0, 100, true), (1000, 999, false)]
        {
            let (mut breaker, now) = breaker();
            assert_eq!(breaker.acknowledged(now, acknowledged), None);
            let transition = breaker.failed(now, failed, true);
            assert_eq!(transition.map(|t| t.cause), opens.then_some(Cause::Failures), "{acknowledged} {failed}");
            assert_eq!(breaker.is_closed(), !opens);
        }
    }

    #[test]
    fn a_first_acknowledgement_may_take_longer() {
        let new = |ms| Sight { stall: Stall { new: Duration::from_millis(ms), ..NONE }, ..FINE };
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.tick(now, new(4_999), true), None);
        assert_eq!(breaker.tick(now, new(5_000), true).unwrap().cause, Cause::Stalled);
        let (mut breaker, now) = half_open();
        assert_eq!(breaker.tick(now, new(4_999), true), None, "a probe connects first");
        let unreachable = Sight { unreachable: true, ..new(200) };
        assert_eq!(breaker.tick(now, unreachable, true).unwrap().cause, Cause::Unreachable);
    }

    #[test]
    fn results_are_forgotten_after_the_observed_time() {
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.failed(now, 99, true), None);
        assert_eq!(breaker.failed(now + 10 * SECOND, 99, true), None, "the first 99 are forgotten");
        assert!(breaker.failed(now + 19 * SECOND, 1, true).is_some(), "the second 99 are not");
        let (mut breaker, now) = self::breaker();
        assert_eq!(breaker.acknowledged(now, 100), None);
        assert_eq!(breaker.failed(now + 9 * SECOND, 99, true), None);
        assert!(breaker.tick(now + 10 * SECOND, FINE, true).is_none(), "99 results alone say nothing");
        assert!(breaker.failed(now + 10 * SECOND, 1, true).is_some());
    }

    #[test]
    fn a_stall_opens_it_at_the_limit_and_sooner_when_nothing_can_be_reached() {
        let nearly = Duration::from_millis(999);
        for (stalled_for, unreachable, cause) in [
            (SECOND, false, Some(Cause::Stalled)),
            (nearly, false, None),
            (Duration::from_millis(200), true, Some(Cause::Unreachable)),
            (Duration::from_millis(199), true, None),
        ] {
            let (mut breaker, now) = breaker();
            let stall = Stall { known: stalled_for, ..NONE };
            let transition = breaker.tick(now, Sight { stall, unreachable, ..FINE }, true);
            assert_eq!(transition.map(|t| t.cause), cause);
        }
    }

    #[test]
    fn leaders_that_change_keep_it_closed_for_a_while_and_half_open_too() {
        let moving = Sight { moved_ago: Some(SECOND), ..STALLED };
        for (breaker, now) in [breaker(), half_open()] {
            let mut breaker = breaker;
            assert_eq!(breaker.tick(now, moving, true), None, "{:?}", breaker.state());
            let still = Sight { stall: Stall { known: 5 * SECOND, ..NONE }, ..moving };
            assert_eq!(breaker.tick(now, still, true).unwrap().cause, Cause::Stalled);
        }
    }

    #[test]
    fn it_stays_closed_where_there_is_nowhere_else_to_go() {
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.failed(now, 1000, false), None);
        assert_eq!(breaker.tick(now, STALLED, false), None);
        assert_eq!(breaker.refused(now, false), None);
        assert!(breaker.is_closed() && breaker.stalled(STALLED).is_some());
        // As soon as there is, it opens by what it has seen.
        assert_eq!(breaker.tick(now, FINE, true).unwrap().cause, Cause::Failures);
    }

    #[test]
    fn a_refusal_opens_it_at_once() {
        let (mut breaker, now) = breaker();
        assert_eq!(breaker.refused(now, true).unwrap().cause, Cause::Refused);
        assert_eq!(breaker.refused(now, true), None);
        let (mut breaker, now) = half_open();
        assert!(breaker.refused(now, false).is_some());
    }

    #[test]
    fn an_open_one_is_tried_after_its_pause_and_not_before() {
        let (mut breaker, now) = opened();
        assert_eq!(breaker.failed(now, 1000, true), None);
        assert_eq!(breaker.acknowledged(now, 1000), None, "late acknowledgements do not close it");
        assert_eq!(breaker.tick(now + Duration::from_millis(29_999), STALLED, true), None);
        assert!(matches!(
            breaker.tick(now + Duration::from_secs(30), STALLED, false).unwrap().to,
            State::HalfOpen { .. }
        ));
    }

    #[test]
    fn an_open_one_is_tried_early_when_it_is_needed() {
        let (mut breaker, _) = opened();
        assert_eq!(breaker.try_early().unwrap().cause, Cause::OtherInTrouble);
        assert_eq!(breaker.try_early(), None);
        assert_eq!(self::breaker().0.try_early(), None);
    }

    #[test]
    fn all_probes_close_it_and_one_failure_opens_it_again() {
        let (mut breaker, now) = half_open();
        assert_eq!(breaker.acknowledged(now, 4), None);
        let closed = breaker.acknowledged(now, 1).unwrap();
        assert_eq!((closed.to, closed.cause), (State::Closed, Cause::Probed));

        let (mut breaker, now) = half_open();
        assert_eq!(breaker.acknowledged(now, 4), None);
        let opened = breaker.failed(now, 1, false).unwrap();
        assert_eq!(opened.to, State::Open { until: now + Limits::default().pause });

        let (mut breaker, now) = half_open();
        assert_eq!(breaker.tick(now, STALLED, false).unwrap().cause, Cause::Stalled);
    }

    #[test]
    fn what_was_seen_before_it_opened_is_forgotten_when_it_closes() {
        let (mut breaker, now) = breaker();
        breaker.failed(now, 99, true);
        breaker.tick(now, STALLED, true).unwrap();
        breaker.try_early().unwrap();
        breaker.acknowledged(now, 5).unwrap();
        assert_eq!(breaker.failed(now, 1, true), None);
    }
}
