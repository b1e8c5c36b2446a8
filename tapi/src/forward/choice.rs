//! Which partition a record goes to. Pure.
//!
//! The lane of a record is what its repeats have in common, and a lane has every L-th partition. So any of those is right,
//! and the record goes to the one that its hash names while that takes records, else to the next of its lane.

use wire::partition::partition_of;
use wire::{LaneCount, MessageId, PartitionCount};

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

    /// The partition for a record: the first good one of its lane, from the one on that its hash names, or else the first
    /// slow one; `None` where the record has to wait.
    pub(crate) fn choose(self, id: MessageId<'_>, health: impl Fn(u32) -> Health) -> Option<u32> {
        let first = partition_of(id, self.partitions);
        let (lanes, count) = (self.lanes.get(), self.partitions.get());
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

    fn id(number: u32) -> String {
        format!("id-{number}")
    }

    fn chosen(choice: Choice, id: &str, health: impl Fn(u32) -> Health) -> Option<u32> {
        choice.choose(MessageId::try_new(id.as_bytes()).unwrap(), health)
    }

    #[test]
    fn a_good_partition_is_the_one_that_the_hash_names() {
        let choice = choice(4, 16).unwrap();
        for number in 0..100 {
            let id = id(number);
            let named = partition_of(MessageId::try_new(id.as_bytes()).unwrap(), choice.partitions());
            assert_eq!(chosen(choice, &id, |_| Good), Some(named));
        }
    }

    #[test]
    fn siblings_are_of_the_same_lane_in_a_circle() {
        let choice = choice(4, 16).unwrap();
        for number in 0..100 {
            let id = id(number);
            let first = chosen(choice, &id, |_| Good).unwrap();
            let next = chosen(choice, &id, |partition| if partition == first { Slow } else { Good }).unwrap();
            assert_eq!(next, (first + 4) % 16);
            let last = (first + 12) % 16;
            assert_eq!(chosen(choice, &id, |partition| if partition == last { Good } else { Unknown }), Some(last));
        }
    }

    #[test]
    fn a_slow_lane_goes_on_with_its_own_and_an_unknown_one_waits() {
        let choice = choice(4, 8).unwrap();
        let first = chosen(choice, "id", |_| Good).unwrap();
        assert_eq!(chosen(choice, "id", |_| Slow), Some(first));
        assert_eq!(chosen(choice, "id", |_| Unknown), None);
        let other = |partition| if partition == first { Unknown } else { Slow };
        assert_eq!(chosen(choice, "id", other), Some((first + 4) % 8));
    }

    #[test]
    fn a_topic_that_grew_before_the_client_has_heard_of_it_is_written_to_as_it_was() {
        let grown = choice(4, 16).unwrap();
        for number in 0..100 {
            let id = id(number);
            let stale = |partition| if partition < 8 { Good } else { Unknown };
            let partition = chosen(grown, &id, stale).unwrap();
            let lanes = LaneCount::try_new(4).unwrap();
            assert!(partition < 8);
            assert_eq!(lanes.lane_of_partition(partition), lanes.lane_of(MessageId::try_new(id.as_bytes()).unwrap()));
        }
    }

    #[test]
    fn what_is_no_multiple_of_the_lanes_is_used_as_far_as_it_is() {
        assert_eq!(choice(4, 3), None);
        assert_eq!([4, 7, 18].map(|count| choice(4, count).unwrap().partitions().get()), [4, 4, 16]);
    }
}
