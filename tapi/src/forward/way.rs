//! Which way a record goes now, if any. Pure: the time comes in.

use std::time::Instant;

use super::in_flight::{State, bit};
use super::outlets::Retry;
use super::route::Route;
use super::router::{Cluster, Router};

/// Which way a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    To(Route),
    /// It waits, and so do those behind it.
    Stop,
    /// It waits, those behind it need not.
    Skip,
    /// No cluster takes it.
    Nobody,
}

/// The ways of one handing over.
#[derive(Debug)]
pub(crate) struct Ways<'a> {
    router: &'a Router,
    /// A cluster that is tried, and how many more records it gets for that.
    probes: Option<(Cluster, u32)>,
    now: Instant,
}

impl<'a> Ways<'a> {
    /// As the router has them now, with so many records on their way to each cluster.
    pub(crate) fn new(router: &'a Router, outstanding: [u32; 2], now: Instant) -> Self {
        let left = |(cluster, count): (Cluster, u32)| (cluster, count.saturating_sub(outstanding[cluster as usize]));
        Self { router, probes: router.probes().map(left), now }
    }

    /// That of the next record, which is in this state.
    pub(crate) fn next(&self, state: State, retries: &[Retry; 2]) -> Way {
        let target = self.router.target();
        if let State::Suspect { refused } = state {
            return self.alone(target, refused, retries);
        }
        if let Some((cluster, 1..)) = self.probes {
            return Way::To(Route { cluster, alone: false });
        }
        let Some(cluster) = target else { return Way::Stop };
        let retry = &retries[cluster as usize];
        if !retry.is_open(self.now) || state == State::Again && !retry.has_resend(self.now) {
            return Way::Stop;
        }
        Way::To(Route { cluster, alone: false })
    }

    /// A record in this state went that way: it is taken from the probes, or from its cluster's retries.
    pub(crate) fn went(&mut self, state: State, route: Route, retries: &mut [Retry; 2]) {
        if route.alone {
            return;
        }
        match &mut self.probes {
            Some((cluster, left @ 1..)) if *cluster == route.cluster => *left -= 1,
            _ if state == State::Again => retries[route.cluster as usize].take(self.now),
            _ => {}
        }
    }

    /// To a cluster that has not refused it alone, as long as there is one.
    fn alone(&self, target: Option<Cluster>, refused: u8, retries: &[Retry; 2]) -> Way {
        let Some(target) = target else { return Way::Skip };
        let other = Some(target.other()).filter(|other| self.router.pin().is_none() && self.router.is_good(*other));
        let may = |cluster: &Cluster| refused & bit(*cluster) == 0;
        match [Some(target), other].into_iter().flatten().find(may) {
            Some(cluster) if retries[cluster as usize].is_open(self.now) => Way::To(Route { cluster, alone: true }),
            Some(_) => Way::Skip,
            None => Way::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service::backoff::Backoff;

    use super::Cluster::{Primary, Secondary};
    use super::*;
    use crate::forward::breaker::{Limits, Sight, Stall};

    const TOGETHER: [Way; 2] = [Way::To(Route::ALL[0]), Way::To(Route::ALL[2])];
    const ALONE: [Way; 2] = [Way::To(Route::ALL[1]), Way::To(Route::ALL[3])];

    struct Rig {
        router: Router,
        retries: [Retry; 2],
        now: Instant,
    }

    impl Rig {
        /// Both clusters can be used.
        fn new() -> Self {
            let now = Instant::now();
            let mut router = Router::new(Limits::default(), None, now);
            for cluster in Cluster::BOTH {
                router.set_usable(cluster, true);
            }
            let retry = || Retry::new(Backoff::new(Duration::from_secs(1), Duration::from_secs(1)));
            Self { router, retries: [retry(), retry()], now }
        }

        /// The primary is tried again, after a stall.
        fn probing() -> Self {
            let mut rig = Self::new();
            let stall = Stall { known: Limits::default().stall, new: Duration::ZERO };
            let sights = [Sight { stall, ..Sight::default() }, Sight::default()];
            rig.router.tick(sights, rig.now, 1.0).unwrap();
            rig.router.tick([Sight::default(); 2], rig.now + Limits::default().pause, 1.0).unwrap();
            rig
        }

        fn fails(&mut self, cluster: Cluster) {
            self.retries[cluster as usize].failed(self.now, 1.0);
        }

        /// The ways of so many records in one handing over.
        fn ways(&mut self, outstanding: [u32; 2], states: &[State]) -> Vec<Way> {
            let mut ways = Ways::new(&self.router, outstanding, self.now);
            let mut next = |state: &State| {
                let way = ways.next(*state, &self.retries);
                if let Way::To(route) = way {
                    ways.went(*state, route, &mut self.retries);
                }
                way
            };
            states.iter().map(&mut next).collect()
        }

        fn way(&mut self, state: State) -> Way {
            self.ways([0, 0], &[state])[0]
        }

        fn suspect(&mut self, refused: u8) -> Way {
            self.way(State::Suspect { refused })
        }
    }

    #[test]
    fn records_go_to_the_target_unless_it_has_just_failed() {
        let mut rig = Rig::new();
        assert_eq!(rig.ways([0, 0], &[State::Waiting, State::Again]), [TOGETHER[0]; 2]);
        rig.fails(Primary);
        assert_eq!(rig.way(State::Waiting), Way::Stop);
        rig.router.set_usable(Primary, false);
        assert_eq!(rig.way(State::Waiting), TOGETHER[1]);
        rig.router.set_usable(Secondary, false);
        assert_eq!(rig.way(State::Waiting), Way::Stop);
    }

    #[test]
    fn resends_end_with_their_budget_and_first_sendings_do_not() {
        let mut rig = Rig::new();
        let spent = rig.ways([0, 0], &[State::Again; 2000]);
        assert!(spent.contains(&TOGETHER[0]) && spent.ends_with(&[Way::Stop]));
        assert_eq!(rig.ways([0, 0], &[State::Again, State::Waiting]), [Way::Stop, TOGETHER[0]]);
    }

    #[test]
    fn a_cluster_that_is_tried_gets_a_few_and_the_other_one_the_rest() {
        let mut rig = Rig::probing();
        let states = [State::Waiting; 7];
        let to = |probes: usize| [vec![TOGETHER[0]; probes], vec![TOGETHER[1]; 7 - probes]].concat();
        assert_eq!(rig.ways([0, 100], &states), to(5));
        assert_eq!(rig.ways([3, 100], &states), to(2), "three are on their way");
        rig.router.set_usable(Secondary, false);
        let few = [vec![TOGETHER[0]; 5], vec![Way::Stop; 2]].concat();
        assert_eq!(rig.ways([0, 0], &states), few, "there is no other one");
    }

    #[test]
    fn a_suspect_goes_alone_to_whoever_has_not_refused_it() {
        let mut rig = Rig::new();
        let [primary, secondary] = Cluster::BOTH.map(bit);
        assert_eq!((rig.suspect(0), rig.suspect(secondary)), (ALONE[0], ALONE[0]));
        assert_eq!((rig.suspect(primary), rig.suspect(primary | secondary)), (ALONE[1], Way::Nobody));
        rig.fails(Primary);
        assert_eq!((rig.suspect(0), rig.suspect(primary)), (Way::Skip, ALONE[1]), "those behind it need not wait");
        rig.router.set_pin(Some(Primary));
        assert_eq!(rig.suspect(primary), Way::Nobody, "the other one is out of the question");
        rig.router.set_pin(None);
        rig.router.set_usable(Secondary, false);
        assert_eq!(rig.suspect(primary), Way::Nobody, "one that cannot be used is not waited for");
        rig.router.set_usable(Primary, false);
        assert_eq!((rig.suspect(0), rig.suspect(primary)), (Way::Skip, Way::Skip));
    }
}
