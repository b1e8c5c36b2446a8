//! How far one partition of an input has been read, and whether it still is the log that was read. Pure.
//!
//! A topic's name and a partition's number are no identity of its records: a log that was cut and has grown again reaches a
//! stored position and holds other records before it. So the last record that was read is read once more, where it is still
//! there: two logs with a record of the same leader epoch and append time at the same offset are one log up to it. (Every log
//! begins with leader epoch 0, so that alone would not tell a topic from one that was made anew under the same id.)

use wire::changelog::Position;

use crate::Reached;

/// How far one partition has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Offset of the next record; 0 where none was ever read.
    pub next_offset: u64,
    /// Leader epoch of the record before it, -1 where unknown.
    pub leader_epoch: i32,
    /// When that was appended, milliseconds since the Unix epoch, -1 where unknown.
    pub appended_ms: i64,
    /// Append time of the newest record read, milliseconds since the Unix epoch.
    pub reached_ms: i64,
    /// Whether nothing was there after it.
    pub is_at_end: bool,
    proof: Proof,
}

/// Whether the log is known to be the one that was read up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Proof {
    /// It is.
    Given,
    /// Nothing was ever read of it: whatever comes first is its beginning.
    NotNeeded,
    /// The record before is read again.
    Wanted,
    /// That is gone, as retention takes it. The next one must be there.
    Gone,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this offset.
    At(u64),
    /// At the earliest record. What lay before, from this offset on, is lost, where something is.
    Earliest {
        /// `None` where nothing was ever read.
        lost_from: Option<u64>,
    },
}

/// What a record is to a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// The next one, with so many before it that are not there any more.
    Next {
        /// How many.
        missing: u64,
    },
    /// The last one that was read, read again: this is the same log.
    Proof,
    /// A record of another log.
    Other,
}

impl Cursor {
    /// At a stored position, or at the beginning of a log that has never been read. `clock_ms` is the window's clock,
    /// milliseconds since the Unix epoch.
    pub fn new(position: Option<&Position>, clock_ms: i64) -> Self {
        let (next_offset, leader_epoch, appended_ms, proof) = match position {
            None => (0, -1, -1, Proof::NotNeeded),
            Some(Position { next_offset, leader_epoch, appended_ms, .. }) => {
                let is_known = *next_offset > 0 && *leader_epoch >= 0;
                let proof = if is_known { Proof::Wanted } else { Proof::Gone };
                (*next_offset, *leader_epoch, *appended_ms, proof)
            }
        };
        Self { next_offset, leader_epoch, appended_ms, reached_ms: clock_ms, is_at_end: false, proof }
    }

    /// Where reading begins.
    pub fn begin(&self) -> Begin {
        match self.proof {
            Proof::NotNeeded => Begin::Earliest { lost_from: None },
            Proof::Wanted => Begin::At(self.next_offset - 1),
            Proof::Gone | Proof::Given => Begin::At(self.next_offset),
        }
    }

    /// The log does not reach to where reading began, or no longer holds it: where it begins now.
    pub fn is_out_of_range(&mut self) -> Begin {
        if self.proof == Proof::Wanted {
            self.proof = Proof::Gone;
            return Begin::At(self.next_offset);
        }
        let lost_from = (self.proof != Proof::NotNeeded).then_some(self.next_offset);
        *self = Self { reached_ms: self.reached_ms, ..Self::new(None, self.reached_ms) };
        Begin::Earliest { lost_from }
    }

    /// Moves to a record. The input is not transactional, so each offset follows the one before.
    pub fn meet(&mut self, offset: u64, leader_epoch: i32, appended_ms: i64) -> Met {
        let proof = std::mem::replace(&mut self.proof, Proof::Given);
        if proof == Proof::NotNeeded {
            self.next_offset = offset;
        }
        if proof == Proof::Wanted && offset + 1 == self.next_offset {
            let is_same_time = self.appended_ms < 0 || appended_ms == self.appended_ms;
            return if leader_epoch == self.leader_epoch && is_same_time { Met::Proof } else { Met::Other };
        }
        let Some(missing) = offset.checked_sub(self.next_offset) else { return Met::Other };
        (self.next_offset, self.leader_epoch, self.appended_ms) = (offset + 1, leader_epoch, appended_ms);
        self.is_at_end = false;
        self.reached_ms = self.reached_ms.max(appended_ms);
        Met::Next { missing }
    }

    /// The log ends before `offset`, as it is now. Whether it can be the one that was read: that one was longer otherwise.
    pub fn ends(&mut self, offset: u64) -> bool {
        self.is_at_end = true;
        self.proof == Proof::NotNeeded || offset >= self.next_offset
    }

    /// Whether anything was ever read of it.
    pub fn is_begun(&self) -> bool {
        self.proof != Proof::NotNeeded
    }

    /// What is remembered of it.
    pub fn position(&self, partition: u32) -> Position {
        let Self { leader_epoch, next_offset, appended_ms, .. } = *self;
        Position { partition, leader_epoch, next_offset, appended_ms }
    }

    /// What that means to the window's clock while no further record is there, when the cluster `answers` or not.
    pub fn reached(&self, answers: bool) -> Reached {
        if answers && self.is_at_end { Reached::End } else { Reached::Away }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        let position = Position { partition: 7, leader_epoch: 4, next_offset: 30, appended_ms: 1 };
        Cursor::new(Some(&position), 0)
    }

    #[test]
    fn a_log_is_the_same_if_the_last_record_that_was_read_is() {
        let mut same = cursor();
        assert_eq!(same.begin(), Begin::At(29));
        assert_eq!([same.meet(29, 4, 1), same.meet(30, 4, 2)], [Met::Proof, Met::Next { missing: 0 }]);
        assert_eq!((same.next_offset, same.leader_epoch, same.reached_ms), (31, 4, 2));
        assert_eq!(same.meet(33, 5, 1), Met::Next { missing: 2 });
        assert_eq!((same.meet(33, 5, 1), same.reached_ms), (Met::Other, 2), "a log does not go back");
        assert_eq!(cursor().meet(29, 5, 1), Met::Other, "cut, and grown again under another leader");
        assert_eq!(cursor().meet(29, 4, 2), Met::Other, "made anew, and grown as far");
        assert_eq!(same.position(7), Position { partition: 7, leader_epoch: 5, next_offset: 34, appended_ms: 1 });
        assert_eq!(cursor().meet(31, 9, 1), Met::Next { missing: 1 }, "the proof itself is gone, as retention does it");
        assert_eq!(cursor().meet(28, 4, 1), Met::Other);
    }

    #[test]
    fn a_log_that_does_not_reach_a_position_is_read_from_its_earliest_record() {
        let mut cursor = cursor();
        assert_eq!(cursor.is_out_of_range(), Begin::At(30), "retention may have taken the proof");
        assert_eq!(cursor.is_out_of_range(), Begin::Earliest { lost_from: Some(30) });
        assert_eq!((cursor.begin(), cursor.is_begun()), (Begin::Earliest { lost_from: None }, false));
        assert_eq!(cursor.meet(77, 2, 1), Met::Next { missing: 0 });
        assert_eq!((cursor.next_offset, cursor.is_begun()), (78, true));
        assert_eq!(cursor.is_out_of_range(), Begin::Earliest { lost_from: Some(78) }, "cut under its reader");
    }

    #[test]
    fn a_log_that_was_read_to_its_end_was_longer_than_one_that_ends_before() {
        assert!(!cursor().ends(29) && cursor().ends(30) && cursor().ends(31));
        assert!(Cursor::new(None, 0).ends(0));
    }

    #[test]
    fn a_cursor_at_the_end_counts_as_now_only_while_the_cluster_answers() {
        let mut cursor = cursor();
        assert_eq!(cursor.reached(true), Reached::Away, "nobody knows what comes next");
        cursor.ends(30);
        assert_eq!((cursor.reached(true), cursor.reached(false)), (Reached::End, Reached::Away));
        cursor.meet(30, 4, 1);
        assert_eq!(cursor.reached(true), Reached::Away);
    }
}
