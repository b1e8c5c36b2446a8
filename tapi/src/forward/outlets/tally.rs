//! What came back from one cluster in one go. Pure.

use crate::forward::fault::Fault;
use crate::forward::route::Route;
use crate::forward::router::Outcome;

/// What came back from one cluster in one go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Records that it has.
    pub acknowledged: u64,
    /// Records that failed for a reason that lies with it.
    pub failed: u64,
    /// It takes no record of a topic, or refuses who we are.
    pub refused: bool,
    /// A producer of it that can do nothing any more.
    pub broken: Option<Route>,
}

impl Tally {
    /// A record came back with a fault.
    pub(super) fn came_back(&mut self, fault: Fault, route: Route) {
        match fault {
            Fault::Cluster => self.failed += 1,
            Fault::Topic => self.refused = true,
            Fault::Producer => self.broken = Some(route),
            Fault::TakenBack | Fault::Partition | Fault::Record => {}
        }
    }

    /// Of a record that a producer did not even take: whatever else the reason is, it lies with the cluster.
    pub(super) fn not_taken(fault: Fault, route: Route) -> Self {
        match fault {
            Fault::Producer => Self { broken: Some(route), ..Self::default() },
            Fault::Topic => Self { refused: true, ..Self::default() },
            Fault::TakenBack | Fault::Partition | Fault::Cluster | Fault::Record => {
                Self { failed: 1, ..Self::default() }
            }
        }
    }

    /// Whether the cluster did not do what it should.
    pub(crate) fn is_bad(&self) -> bool {
        self.failed > 0 || self.refused || self.broken.is_some()
    }

    /// As a breaker takes it.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = Outcome> + use<> {
        let outcomes = [
            (self.acknowledged > 0).then_some(Outcome::Acknowledged(self.acknowledged)),
            (self.failed > 0).then_some(Outcome::Failed(self.failed)),
            self.refused.then_some(Outcome::Refused),
        ];
        outcomes.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route::ALL[1];

    fn of(faults: &[Fault]) -> Tally {
        let mut tally = Tally::default();
        for fault in faults {
            tally.came_back(*fault, ROUTE);
        }
        tally
    }

    #[test]
    fn a_cluster_answers_for_its_own_faults_only() {
        let tally = of(&[Fault::TakenBack, Fault::Record]);
        assert!(!tally.is_bad() && tally.outcomes().next().is_none());
        let tally = Tally { acknowledged: 3, ..of(&[Fault::Cluster, Fault::Cluster, Fault::Topic]) };
        assert!(tally.is_bad());
        let outcomes: Vec<_> = tally.outcomes().collect();
        assert_eq!(outcomes, [Outcome::Acknowledged(3), Outcome::Failed(2), Outcome::Refused]);
        let tally = of(&[Fault::Producer]);
        assert!(tally.is_bad() && tally.broken == Some(ROUTE));
        assert_eq!(tally.outcomes().next(), None, "a producer of ours is no fault of the cluster");
    }

    #[test]
    fn what_is_not_even_taken_counts_against_the_cluster() {
        for fault in Fault::ALL {
            let tally = Tally::not_taken(fault, ROUTE);
            assert!(tally.is_bad(), "{fault:?}");
            assert_eq!(tally.broken.is_some(), fault == Fault::Producer);
            assert_eq!(tally.refused, fault == Fault::Topic);
        }
    }
}
