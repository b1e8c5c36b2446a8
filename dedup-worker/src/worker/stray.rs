//! How many records of an input are other lanes'. Pure.

use std::fmt;

use super::decode::Undecodable;

/// Fewer records say nothing.
const RECORDS_MIN: u32 = 100;
/// More than one of so many is no accident.
const SHARE: u32 = 10;

/// Records of one input since it was judged, and those of them that are other lanes'. Batches may be of a record each, so it
/// is judged at the end of each batch, and its count goes on until there are enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stray {
    records: u32,
    strays: u32,
}

impl Stray {
    /// One more record, and why it is no event of this lane, if it is none.
    pub(crate) fn count(&mut self, why: Option<Undecodable>) {
        self.records += 1;
        self.strays += u32::from(why == Some(Undecodable::Lane));
    }

    /// What was counted, if it says that whoever writes the input has another idea of where an id belongs.
    pub(crate) fn judge(&mut self) -> Option<Self> {
        if self.records < RECORDS_MIN {
            return None;
        }
        let judged = std::mem::take(self);
        (judged.strays > judged.records / SHARE).then_some(judged)
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {} records", self.strays, self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: u32, strays: u32) -> Stray {
        let mut stray = Stray::default();
        (0..strays).for_each(|_| stray.count(Some(Undecodable::Lane)));
        (strays..records).for_each(|number| stray.count((number % 2 == 0).then_some(Undecodable::Value)));
        stray
    }

    #[test]
    fn more_than_a_tenth_of_a_hundred_is_too_much() {
        let is_too_much = |(records, strays)| of(records, strays).judge().is_some();
        assert_eq!([(99, 99), (100, 10), (100, 11), (20_000, 2_001)].map(is_too_much), [false, false, true, true]);
        assert_eq!(of(100, 11).to_string(), "11 of 100 records");
    }

    #[test]
    fn small_batches_count_together() {
        let mut stray = Stray::default();
        for batch in 1..=100 {
            stray.count((batch > 89).then_some(Undecodable::Lane));
            assert_eq!(stray.judge().is_some(), batch == 100, "{batch}");
        }
        assert_eq!(stray, Stray::default());
    }
}
