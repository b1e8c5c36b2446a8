//! Which partition a record goes to. Pure.
//!
//! The lane of a record is what its repeats have in common, and a lane has every L-th partition. So any of those is right,
//! and the record goes to the one whose [turn](super::turns) it is while that takes records, else to the next of its lane.

use wire::{LaneCount, PartitionCount};

/// What a partition is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It takes records.
    Good,
    /// It makes no progress, or nobody leads it: it gets records only where its lane has no other.
    Slow,
    /// The producing client does not know it yet, or any more: it cannot get any.
    Unknown,
}

/// The partitions of `events` on one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    lanes: LaneCount,
    partitions: PartitionCount,
}

impl Choice {
    /// Of a topic with so many partitions; `None` where it has fewer than there are lanes.
    pub(crate) fn new(lanes: LaneCount, partitions: u32) -> Option<Self> {
        Some(Self { lanes, partitions: lanes.usable(partitions)? })
    }

    /// The lanes that they are of.
    pub(crate) fn lanes(self) -> LaneCount {
        self.lanes
    }

    /// The partitions that are written to.
    pub(crate) fn partitions(self) -> PartitionCount {
        self.partitions
    }

    /// The partition for a record of `lane`: the first good one of the lane, from the one on whose `turn` it is, or else the
    /// first slow one; `None` where the record has to wait.
    pub(crate) fn choose(self, lane: u32, turn: u32, health: impl Fn(u32) -> Health) -> Option<u32> {
        let (lanes, count) = (self.lanes.get(), self.partitions.get());
        let first = lane + turn % (count / lanes) * lanes;
        let siblings = (0..count / lanes).map(|step| (first + step * lanes) % count);
        let mut slow = None;
        for partition in siblings {
            match health(partition) {
                Health::Good => return Some(partition),
                Health::Slow => slow = slow.or(Some(partition)),
                Health::Unknown => {}
            }
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::Health::{Good, Slow, Unknown};
    use super::*;

    fn choice(lanes: u32, partitions: u32) -> Option<Choice> {
        Choice::new(LaneCount::try_new(lanes).unwrap(), partitions)
    }

    #[test]
    fn each_turn_is_a_partition_of_the_lane() {
        let choice = choice(4, 16).unwrap();
        let chosen = |turn| choice.choose(3, turn, |_| Good).unwrap();
        assert_eq!([0, 1, 2, 3, 4, 1 << 31].map(chosen), [3, 7, 11, 15, 3, 3]);
    }

    #[test]
    fn siblings_are_of_the_same_lane_in_a_circle() {
        let choice = choice(4, 16).unwrap();
        for (lane, turn) in (0..4).flat_map(|lane| (0..9).map(move |turn| (lane, turn))) {
            let first = choice.choose(lane, turn, |_| Good).unwrap();
            let slow = |partition| if partition == first { Slow } else { Good };
            assert_eq!(choice.choose(lane, turn, slow), Some((first + 4) % 16));
            let last = (first + 12) % 16;
            let unknown = |partition| if partition == last { Good } else { Unknown };
            assert_eq!(choice.choose(lane, turn, unknown), Some(last));
        }
    }

    #[test]
    fn a_slow_lane_goes_on_with_its_own_and_an_unknown_one_waits() {
        let choice = choice(4, 8).unwrap();
        assert_eq!(choice.choose(1, 0, |_| Slow), Some(1));
        assert_eq!(choice.choose(1, 0, |_| Unknown), None);
        assert_eq!(choice.choose(1, 0, |partition| if partition == 1 { Unknown } else { Slow }), Some(5));
    }

    #[test]
    fn a_topic_that_grew_before_the_client_has_heard_of_it_is_written_to_as_it_was() {
        let grown = choice(4, 16).unwrap();
        for turn in 0..4 {
            let stale = |partition| if partition < 8 { Good } else { Unknown };
            let partition = grown.choose(2, turn, stale).unwrap();
            assert!(partition == 2 || partition == 6, "{partition}");
        }
    }

    #[test]
    fn what_is_no_multiple_of_the_lanes_is_used_as_far_as_it_is() {
        assert_eq!(choice(4, 3), None);
        assert_eq!([4, 7, 18].map(|count| choice(4, count).unwrap().partitions().get()), [4, 4, 16]);
    }
}
