//! What is seen of a cluster, and how long its lanes may make no progress by that. Pure.
//!
//! A lane may make no progress because a broker is stopped in order: acknowledgements wait for each in-sync replica, and the
//! one that goes has stopped to follow before the leaders hear that they need not wait for it. So there are two limits, and
//! which one holds is decided by what the cluster shows of itself meanwhile:
//!
//! | leaders or in-sync replicas | limit | default |
//! |---|---|---|
//! | were not seen to change within the last [10 s](MOVING) | `stall` | 1 s |
//! | were | `stall_moving` | 5 s |
//!
//! A frozen cluster shows no change, nor does one with a frozen broker before that one's session is over. A broker that comes
//! back changes them too, and so does each change of leaders that follows.

use std::time::Duration;

use super::{Cause, Limits};

/// How much longer than the limit a partition's first acknowledgement may take, with the connection that it needs.
pub(crate) const FIRST_FACTOR: u32 = 5;

/// For how long after a change of leaders or in-sync replicas more of them are to be expected: a broker that is restarted
/// leaves and comes back.
const MOVING: Duration = Duration::from_secs(10);
/// The part of the limit after which it is looked whether leaders change: brokers hear of a change one after the other,
/// and the first one that is asked may be the last to hear.
const KNOW_PART: u32 = 5;

/// The longest times without progress among lanes that have records handed over; zero where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    /// Of those with such records in a partition that has acknowledged some before.
    pub known: Duration,
    /// Of those with such records in new partitions only, whose connections may have to be made first.
    pub new: Duration,
}

impl Stall {
    /// Of all.
    pub(crate) fn longest(self) -> Duration {
        self.known.max(self.new)
    }
}

/// What is seen of a cluster at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Longest times that lanes with records handed over have made no progress.
    pub stall: Stall,
    /// No broker can be reached, as far as is known.
    pub unreachable: bool,
    /// How long ago its leaders or in-sync replicas were seen to change, if ever.
    pub moved_ago: Option<Duration>,
}

impl Sight {
    /// Why the cluster is to be left, if it is.
    pub(super) fn stalled(self, limits: Limits) -> Option<Cause> {
        if self.unreachable && self.stall.longest() >= limits.stall_unreachable {
            return Some(Cause::Unreachable);
        }
        let is_moving = self.moved_ago.is_some_and(|ago| ago < MOVING);
        let limit = if is_moving { limits.stall.max(limits.stall_moving) } else { limits.stall };
        let Stall { known, new } = self.stall;
        (known >= limit || new >= limit.max(limits.stall * FIRST_FACTOR)).then_some(Cause::Stalled)
    }

    /// Whether it matters by now if leaders change: well before the cluster would be left, so that it is known by then.
    pub(super) fn is_doubtful(self, limits: Limits) -> bool {
        self.stall.longest() >= limits.stall / KNOW_PART
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn known(ms: u64) -> Sight {
        let stall = Stall { known: Duration::from_millis(ms), new: Duration::ZERO };
        Sight { stall, ..Sight::default() }
    }

    #[test]
    fn while_leaders_change_a_stall_may_take_longer_and_not_for_ever() {
        let ms = Duration::from_millis;
        for (stalled_ms, moved_ago, unreachable, cause) in [
            (999, None, false, None),
            (1_000, None, false, Some(Cause::Stalled)),
            (1_000, Some(ms(900)), false, None),
            (4_999, Some(ms(100)), false, None),
            (5_000, Some(ms(100)), false, Some(Cause::Stalled)),
            (4_999, Some(ms(9_999)), false, None),
            (1_000, Some(MOVING), false, Some(Cause::Stalled)),
            (200, Some(ms(100)), true, Some(Cause::Unreachable)),
        ] {
            let sight = Sight { unreachable, moved_ago, ..known(stalled_ms) };
            assert_eq!(sight.stalled(Limits::default()), cause, "{sight:?}");
        }
    }

    #[test]
    fn the_longer_one_of_two_limits_holds() {
        let limits = Limits { stall: 20 * SECOND, ..Limits::default() };
        let moving = |ms| Sight { moved_ago: Some(SECOND), ..known(ms) };
        assert_eq!([19_999, 20_000].map(|ms| moving(ms).stalled(limits)), [None, Some(Cause::Stalled)]);
        let new = Sight { stall: Stall { known: Duration::ZERO, new: 5 * SECOND }, ..moving(0) };
        let longer = Limits { stall_moving: 6 * SECOND, ..Limits::default() };
        assert_eq!([Limits::default(), longer].map(|limits| new.stalled(limits)), [Some(Cause::Stalled), None]);
    }

    #[test]
    fn whether_leaders_change_is_asked_well_before_the_limit() {
        let doubtful = [199, 200, 1_000].map(|ms| known(ms).is_doubtful(Limits::default()));
        assert_eq!(doubtful, [false, true, true]);
    }
}
