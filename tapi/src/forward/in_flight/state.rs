//! What a record of the window is waiting for, and what follows when it comes back. Pure.

use crate::forward::fault::Fault;
use crate::forward::route::Route;
use crate::forward::router::Cluster;

/// What a record is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// To be handed over.
    Waiting,
    /// To be handed over once more, after a failure.
    Again,
    /// To be handed over, first or once more, when its lane has room again.
    Held {
        /// The track by which its lane is called.
        lane: u16,
        /// Whether it goes out once more, after a failure.
        again: bool,
    },
    /// To be handed over alone: a batch that it was part of was refused.
    Suspect {
        /// Clusters that refused it alone, one bit each.
        refused: u8,
    },
    /// For an answer.
    Sent {
        /// The producer that has it.
        route: Route,
        /// Where it is tried alone: the clusters that refused it so before.
        refused: u8,
    },
    /// For nothing: acknowledged or in quarantine.
    Done,
}

impl State {
    /// Whether it has to be handed over.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting | Self::Again | Self::Held { .. } | Self::Suspect { .. })
    }

    /// The same, until its lane has room. One that goes out alone is one of few and only waits.
    pub(crate) fn held(self, lane: u16) -> Self {
        match self {
            Self::Waiting | Self::Again => Self::Held { lane, again: self == Self::Again },
            Self::Held { .. } | Self::Suspect { .. } | Self::Sent { .. } | Self::Done => self,
        }
    }

    /// The same, with room.
    pub(crate) fn freed(self) -> Self {
        match self {
            Self::Held { again: true, .. } => Self::Again,
            Self::Held { again: false, .. } => Self::Waiting,
            Self::Waiting | Self::Again | Self::Suspect { .. } | Self::Sent { .. } | Self::Done => self,
        }
    }

    /// That of a record that has to go out once more, as it did before.
    pub(crate) fn again(route: Route, refused: u8) -> Self {
        if route.alone { Self::Suspect { refused } } else { Self::Again }
    }

    /// That of a record that came back with a fault.
    pub(crate) fn after(fault: Fault, route: Route, refused: u8) -> Self {
        match fault {
            Fault::Record if route.alone => Self::Suspect { refused: refused | bit(route.cluster) },
            Fault::Record => Self::Suspect { refused: 0 },
            Fault::TakenBack | Fault::Partition if !route.alone => Self::Waiting,
            Fault::TakenBack | Fault::Partition | Fault::Cluster | Fault::Topic | Fault::Producer => {
                Self::again(route, refused)
            }
        }
    }
}

/// A cluster's bit in the set of those that refused a record.
pub(crate) fn bit(cluster: Cluster) -> u8 {
    1 << cluster as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_held_goes_out_as_it_would_have() {
        for state in [State::Waiting, State::Again] {
            assert_eq!(state.held(7).freed(), state);
            assert!(state.held(7).is_waiting() && state.held(7) != state);
        }
        let suspect = State::Suspect { refused: 1 };
        assert_eq!((suspect.held(7), suspect.freed()), (suspect, suspect));
    }

    #[test]
    fn a_refused_record_is_tried_alone_and_remembers_who_refused_it() {
        let [main, alone, _, other_alone] = Route::ALL;
        let after = State::after;
        assert_eq!(after(Fault::Record, main, 0), State::Suspect { refused: 0 });
        assert_eq!(after(Fault::Record, alone, 0), State::Suspect { refused: 0b01 });
        assert_eq!(after(Fault::Record, other_alone, 0b01), State::Suspect { refused: 0b11 });
        assert_eq!(after(Fault::Cluster, other_alone, 0b01), State::Suspect { refused: 0b01 });
        assert_eq!(after(Fault::TakenBack, main, 0), State::Waiting);
        assert_eq!(after(Fault::TakenBack, alone, 0b10), State::Suspect { refused: 0b10 });
        assert_eq!(after(Fault::Cluster, main, 0), State::Again);
        assert_eq!(after(Fault::Producer, main, 0), State::Again);
    }
}
