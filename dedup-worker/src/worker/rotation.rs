//! Which partition of the output the next batch goes to. Pure.

use wire::LaneCount;

/// The partitions of a lane, in turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    lanes: LaneCount,
    lane: u32,
    last: u32,
}

impl Rotation {
    /// Of this lane, beginning at its first partition.
    pub(crate) fn new(lanes: LaneCount, lane: u32) -> Self {
        Self { lanes, lane, last: u32::MAX }
    }

    /// The next one of an output that has so many partitions, but for those that are left out, as one without a leader; one of
    /// them all the same where there is no other. `None` where the output has fewer partitions than there are lanes.
    ///
    /// Those behind the last multiple of the lanes are not written to: whoever reads the output by key finds a lane's
    /// records by the same rule.
    pub(crate) fn next(&mut self, partitions: u32, is_left_out: impl Fn(u32) -> bool) -> Option<u32> {
        let usable = self.lanes.usable(partitions)?.get();
        let all = || self.lanes.partitions(self.lane, usable);
        let (last, behind) = (self.last, |partition: &u32| *partition > self.last || self.last == u32::MAX);
        let is_right = |partition: &u32| !is_left_out(*partition);
        let next = all().filter(behind).find(is_right).or_else(|| all().find(is_right));
        let next = next.or_else(|| all().find(behind)).or_else(|| all().next())?;
        debug_assert!(next != last || usable <= self.lanes.get() || all().filter(is_right).count() <= 1);
        self.last = next;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns<const N: usize>(partitions: u32, left_out: &[u32]) -> [Option<u32>; N] {
        let mut rotation = Rotation::new(LaneCount::try_new(4).unwrap(), 1);
        [(); N].map(|()| rotation.next(partitions, |partition| left_out.contains(&partition)))
    }

    #[test]
    fn each_batch_goes_to_the_next_partition_of_the_lane() {
        assert_eq!(turns(12, &[]), [1, 5, 9, 1].map(Some));
        assert_eq!(turns(14, &[]), [1, 5, 9, 1].map(Some), "13 is of the lane, and behind the last multiple");
        assert_eq!(turns(4, &[]), [1, 1].map(Some));
        assert_eq!(turns(3, &[]), [None]);
    }

    #[test]
    fn what_is_left_out_is_passed_over_where_there_is_another_one() {
        assert_eq!(turns(12, &[5]), [1, 9, 1, 9].map(Some));
        assert_eq!(turns(12, &[1, 5, 9]), [1, 5, 9, 1].map(Some));
        assert_eq!(turns(4, &[1]), [1].map(Some));
    }
}
