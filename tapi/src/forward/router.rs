//! Which cluster gets the records now. Pure: times, chance and what is seen come in as values.
//!
//! | pin | primary | secondary | records go to |
//! |---|---|---|---|
//! | none | usable, closed | any | the primary |
//! | none | open or half-open | usable, closed | the secondary; a half-open primary gets its probes |
//! | none | not usable | usable, closed | the secondary |
//! | none | else | | nobody: the local buffer grows |
//! | a cluster | | | that one, if it is usable, whatever its breaker says; else nobody |
//!
//! "Usable" means that the cluster has been seen and is what it should be (its id, its topics, a partition for each lane);
//! whether it answers right now is the breaker's business. A breaker opens only while the other cluster is usable and
//! closed: with both in trouble records stay where they are, and the open one is tried earlier, with growing pauses.

use std::fmt;
use std::time::{Duration, Instant};

use service::backoff::Backoff;

use super::breaker::{Breaker, Cause, Limits, Sight, State, Transition};

/// First pause before an open cluster is tried early; it doubles up to the last.
const EARLY_FIRST: Duration = Duration::from_millis(500);
/// Last such pause: with both in trouble an attempt costs five records a second time and may end the outage.
const EARLY_LAST: Duration = Duration::from_secs(5);

/// One of the two clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cluster {
    /// Gets everything while it can.
    Primary,
    /// Gets everything while the primary cannot.
    Secondary,
}

impl Cluster {
    /// Both.
    pub(crate) const BOTH: [Self; 2] = [Self::Primary, Self::Secondary];

    /// The other one.
    #[must_use]
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }

    /// The cluster with this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::BOTH.into_iter().find(|cluster| cluster.name() == name)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A transition and whose it is.
pub(crate) type Change = (Cluster, Transition);

/// What became of a few records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They were acknowledged.
    Acknowledged(u64),
    /// They failed for a reason that lies with the cluster.
    Failed(u64),
    /// The cluster takes none of their topic.
    Refused,
}

/// The two breakers, the pin, and what follows from them.
#[derive(Debug)]
pub(crate) struct Router {
    breakers: [Breaker; 2],
    usable: [bool; 2],
    pin: Option<Cluster>,
    limits: Limits,
    early: Backoff,
    early_at: Option<Instant>,
}

impl Router {
    /// Both closed, neither usable yet.
    pub(crate) fn new(limits: Limits, pin: Option<Cluster>, now: Instant) -> Self {
        let breakers = [Breaker::new(limits, now), Breaker::new(limits, now)];
        let early = Backoff::new(EARLY_FIRST, EARLY_LAST.min(limits.pause));
        Self { breakers, usable: [false; 2], pin, limits, early, early_at: None }
    }

    /// Where records go now; `None` is nowhere.
    pub(crate) fn target(&self) -> Option<Cluster> {
        match self.pin {
            Some(pinned) => Some(pinned).filter(|cluster| self.is_usable(*cluster)),
            None => Cluster::BOTH.into_iter().find(|cluster| self.is_good(*cluster)),
        }
    }

    /// A cluster that gets probes now, and how many may be on their way or acknowledged.
    pub(crate) fn probes(&self) -> Option<(Cluster, u32)> {
        let half_open = |cluster: &Cluster| {
            self.is_usable(*cluster) && matches!(self.state(*cluster), State::HalfOpen { .. }) && self.pin.is_none()
        };
        let cluster = Cluster::BOTH.into_iter().find(half_open)?;
        let State::HalfOpen { acknowledged } = self.state(cluster) else { return None };
        Some((cluster, self.limits.probes.saturating_sub(acknowledged)))
    }

    /// The state of a breaker.
    pub(crate) fn state(&self, cluster: Cluster) -> State {
        self.breakers[cluster as usize].state()
    }

    /// Whether a cluster has been seen and is what it should be.
    pub(crate) fn is_usable(&self, cluster: Cluster) -> bool {
        self.usable[cluster as usize]
    }

    /// Says whether a cluster is what it should be.
    pub(crate) fn set_usable(&mut self, cluster: Cluster, usable: bool) {
        self.usable[cluster as usize] = usable;
    }

    /// The cluster that an operator chose.
    pub(crate) fn pin(&self) -> Option<Cluster> {
        self.pin
    }

    /// Sends everything to one cluster, or, with `None`, to the one that is better again.
    pub(crate) fn set_pin(&mut self, pin: Option<Cluster>) {
        self.pin = pin;
    }

    /// Records came back from a cluster.
    pub(crate) fn outcome(&mut self, cluster: Cluster, outcome: Outcome, now: Instant) -> Option<Change> {
        let may_open = self.may_open(cluster);
        let breaker = &mut self.breakers[cluster as usize];
        let transition = match outcome {
            Outcome::Acknowledged(count) => breaker.acknowledged(now, count),
            Outcome::Failed(count) => breaker.failed(now, count, may_open),
            Outcome::Refused => breaker.refused(now, may_open),
        };
        transition.map(|transition| (cluster, transition))
    }

    /// Time has passed. `chance` lies between 0 and 1. At most one change at a time; call again until there is none.
    pub(crate) fn tick(&mut self, sights: [Sight; 2], now: Instant, chance: f64) -> Option<Change> {
        for cluster in Cluster::BOTH {
            let may_open = self.may_open(cluster);
            let sight = sights[cluster as usize];
            if let Some(transition) = self.breakers[cluster as usize].tick(now, sight, may_open) {
                return Some((cluster, transition));
            }
        }
        self.try_early(sights, now, chance)
    }

    /// While the cluster in use is in trouble, or there is none, the open one is tried before its pause is over.
    fn try_early(&mut self, sights: [Sight; 2], now: Instant, chance: f64) -> Option<Change> {
        let open = Cluster::BOTH.into_iter().find(|cluster| {
            matches!(self.state(*cluster), State::Open { .. })
                && self.is_usable(*cluster)
                && self.in_trouble(cluster.other(), sights)
        });
        let half_open = Cluster::BOTH.into_iter().any(|cluster| matches!(self.state(cluster), State::HalfOpen { .. }));
        let Some(open) = open else {
            // A probe that is on its way decides whether the pauses go on growing.
            if !half_open {
                self.early.reset();
                self.early_at = None;
            }
            return None;
        };
        let at = *self.early_at.get_or_insert_with(|| now + self.early.next(chance));
        if now < at {
            return None;
        }
        self.early_at = None;
        self.breakers[open as usize].try_early().map(|transition| (open, transition))
    }

    /// Whether a cluster cannot be used, or is stalled.
    pub(crate) fn in_trouble(&self, cluster: Cluster, sights: [Sight; 2]) -> bool {
        !self.is_good(cluster) || self.breakers[cluster as usize].stalled(sights[cluster as usize]).is_some()
    }

    /// Whether it has to be known by now if a cluster's leaders change.
    pub(crate) fn has_to_know(&self, cluster: Cluster, sights: [Sight; 2]) -> bool {
        self.breakers[cluster as usize].has_to_know(sights[cluster as usize])
    }

    /// With nowhere else to go, or by an operator's wish, records stay where they are.
    fn may_open(&self, cluster: Cluster) -> bool {
        match self.pin {
            Some(pinned) => pinned != cluster && self.is_usable(pinned),
            None => self.is_good(cluster.other()),
        }
    }

    /// Whether a cluster is usable, and trusted.
    pub(crate) fn is_good(&self, cluster: Cluster) -> bool {
        self.is_usable(cluster) && self.breakers[cluster as usize].is_closed()
    }
}

/// Whether records that were handed over have to be taken back after this transition.
pub(crate) fn takes_back(transition: Transition) -> bool {
    matches!(transition.to, State::Open { .. })
}

/// Whether an operator should hear of it as something bad.
pub(crate) fn is_bad(transition: Transition) -> bool {
    !matches!(transition.cause, Cause::Probed | Cause::PauseOver | Cause::OtherInTrouble)
}

#[cfg(test)]
mod tests {
    use super::Cluster::{Primary, Secondary};
    use super::*;
    use crate::forward::breaker::Stall;

    const NONE: Stall = Stall { known: Duration::ZERO, new: Duration::ZERO };
    const FINE: Sight = Sight { stall: NONE, unreachable: false, moved_ago: None };
    const STALLED: Sight = Sight { stall: Stall { known: Duration::from_secs(1), ..NONE }, ..FINE };

    fn router() -> (Router, Instant) {
        let now = Instant::now();
        let mut router = Router::new(Limits::default(), None, now);
        for cluster in Cluster::BOTH {
            router.set_usable(cluster, true);
        }
        (router, now)
    }

    /// The primary is open.
    fn tripped() -> (Router, Instant) {
        let (mut router, now) = router();
        let (cluster, transition) = router.tick([STALLED, FINE], now, 1.0).unwrap();
        assert!(cluster == Primary && takes_back(transition) && is_bad(transition));
        (router, now)
    }

    #[test]
    fn the_primary_is_preferred_and_unseen_clusters_get_nothing() {
        let (mut router, _) = router();
        assert_eq!(router.target(), Some(Primary));
        router.set_usable(Primary, false);
        assert_eq!(router.target(), Some(Secondary));
        router.set_usable(Secondary, false);
        assert_eq!(router.target(), None);
        router.set_usable(Primary, true);
        assert_eq!(router.target(), Some(Primary));
    }

    #[test]
    fn a_stalled_primary_gives_way_and_comes_back_after_its_probes() {
        let (mut router, now) = tripped();
        assert_eq!((router.target(), router.probes()), (Some(Secondary), None));
        let later = now + Limits::default().pause;
        let (cluster, transition) = router.tick([FINE, FINE], later, 1.0).unwrap();
        assert!(cluster == Primary && !takes_back(transition) && !is_bad(transition));
        assert_eq!((router.target(), router.probes()), (Some(Secondary), Some((Primary, 5))));
        assert_eq!(router.outcome(Primary, Outcome::Acknowledged(2), later), None);
        assert_eq!(router.probes(), Some((Primary, 3)));
        assert!(router.outcome(Primary, Outcome::Acknowledged(3), later).is_some());
        assert_eq!((router.target(), router.probes()), (Some(Primary), None));
    }

    #[test]
    fn the_second_does_not_open_while_the_first_is_open_or_unseen() {
        let (mut router, now) = tripped();
        assert_eq!(router.outcome(Secondary, Outcome::Failed(1000), now), None);
        assert_eq!(router.outcome(Secondary, Outcome::Refused, now), None);
        assert_eq!(router.target(), Some(Secondary));
        let (mut router, now) = self::router();
        router.set_usable(Secondary, false);
        assert_eq!(router.tick([STALLED, FINE], now, 1.0), None);
        assert_eq!(router.target(), Some(Primary));
    }

    #[test]
    fn with_both_in_trouble_the_open_one_is_tried_with_growing_pauses_and_wins_the_traffic() {
        let (mut router, mut now) = tripped();
        let both = [FINE, STALLED];
        let mut pauses = Vec::new();
        for _ in 0..5 {
            let begun = now;
            let (cluster, transition) = loop {
                if let Some(change) = router.tick(both, now, 1.0) {
                    break change;
                }
                now += Duration::from_millis(100);
            };
            assert_eq!((cluster, transition.cause), (Primary, Cause::OtherInTrouble));
            pauses.push((now - begun).as_millis());
            assert_eq!(router.tick(both, now, 1.0), None, "the probes are on their way");
            let (_, transition) = router.outcome(Primary, Outcome::Failed(1), now).unwrap();
            assert!(takes_back(transition));
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 5000]);
        // The other one is fine again: no more early attempts.
        assert_eq!(router.tick([FINE, FINE], now, 1.0), None);
        assert_eq!(router.tick(both, now, 0.0).unwrap().1.cause, Cause::OtherInTrouble);
        assert!(router.outcome(Primary, Outcome::Acknowledged(5), now).is_some());
        assert_eq!(router.target(), Some(Primary));
        // Now the secondary may open, so that what it holds is taken back.
        let (cluster, transition) = router.tick(both, now, 1.0).unwrap();
        assert!(cluster == Secondary && takes_back(transition));
    }

    #[test]
    fn a_pin_goes_before_the_breakers_and_its_release_does_not() {
        let (mut router, now) = router();
        router.set_pin(Some(Secondary));
        assert_eq!(router.target(), Some(Secondary));
        assert_eq!(router.tick([FINE, STALLED], now, 1.0), None, "the pinned one does not open");
        assert!(router.tick([STALLED, FINE], now, 1.0).is_some(), "the other one gives back what it holds");
        assert_eq!(router.target(), Some(Secondary));
        router.set_pin(Some(Primary));
        assert_eq!(router.target(), Some(Primary), "open, but pinned");
        router.set_pin(None);
        assert_eq!(router.target(), Some(Secondary));
        router.set_usable(Secondary, false);
        router.set_pin(Some(Secondary));
        assert_eq!(router.target(), None);
    }

    #[test]
    fn clusters_have_names() {
        for cluster in Cluster::BOTH {
            assert_eq!(Cluster::parse(cluster.name()), Some(cluster));
            assert_eq!(cluster.other().other(), cluster);
        }
        assert_eq!(Cluster::parse("tertiary"), None);
    }
}
