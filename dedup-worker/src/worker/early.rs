//! A partition that was begun before it was known where it is to be read from: an owner that takes a lane over opens its
//! inputs where the changelog stood before the fence, and hears behind the fence how far the owner before has read
//! meanwhile. Pure.

use changelog::Begin;

/// What is to be done about a partition that was begun somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Early {
    /// It was begun in the right place.
    Right,
    /// What comes before this offset is passed over.
    Until(u64),
    /// It is to be begun anew.
    Wrong,
}

impl Early {
    /// Of one that was begun at `was` and should have been at `is`.
    pub(crate) fn of(was: Begin, is: Begin) -> Self {
        match (was, is) {
            (Begin::Earliest { .. }, Begin::Earliest { .. }) => Self::Right,
            (Begin::Earliest { .. }, Begin::At(offset)) => Self::Until(offset),
            (Begin::At(was), Begin::At(is)) if was == is => Self::Right,
            (Begin::At(was), Begin::At(is)) if was < is => Self::Until(is),
            (Begin::At(_), _) => Self::Wrong,
        }
    }

    /// Whether a record at `offset` is passed over.
    pub(crate) fn passes_over(self, offset: u64) -> bool {
        matches!(self, Self::Until(until) if offset < until)
    }

    /// What the word that the log ends before `offset` means, where its broker has said since that it ends before `known`: it
    /// was so before the rest came. A log that still ends there has been cut, or its broker was not asked since; who begins
    /// anew is told.
    pub(crate) fn ends(self, offset: u64, known: Option<u64>) -> Self {
        match self {
            Self::Until(until) if offset <= until && known.is_none_or(|known| known <= until) => Self::Wrong,
            Self::Until(until) if offset <= until => self,
            _ => Self::Right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIEST: Begin = Begin::Earliest { lost_from: None };

    #[test]
    fn what_the_owner_before_has_read_meanwhile_is_passed_over() {
        assert_eq!(Early::of(Begin::At(7), Begin::At(7)), Early::Right);
        assert_eq!(Early::of(EARLIEST, EARLIEST), Early::Right);
        for was in [EARLIEST, Begin::At(3)] {
            let early = Early::of(was, Begin::At(7));
            assert_eq!(early, Early::Until(7));
            assert_eq!([0, 6, 7, 8].map(|offset| early.passes_over(offset)), [true, true, false, false]);
        }
        assert!(!Early::Right.passes_over(0));
    }

    #[test]
    fn a_position_that_went_back_is_read_from_anew() {
        assert_eq!([Begin::At(6), EARLIEST].map(|is| Early::of(Begin::At(7), is)), [Early::Wrong; 2]);
    }

    #[test]
    fn an_end_before_the_position_is_an_old_one_or_has_to_be_told_again() {
        let early = Early::Until(7);
        assert_eq!(early.ends(5, Some(8)), early, "the rest came behind it");
        assert_eq!([Some(5), Some(7), None].map(|known| early.ends(5, known)), [Early::Wrong; 3]);
        assert_eq!(early.ends(8, Some(8)), Early::Right);
        assert_eq!(Early::Right.ends(5, None), Early::Right);
    }
}
