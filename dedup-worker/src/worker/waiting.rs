//! An index that cannot decide for the moment: what to do before it is asked again.

use dedup::IndexError;

/// Reads of a sealed run that fail one behind the other, after which its bytes count as lost: one that failed for want of a
/// file handle, or on a disk that comes back, does not fail so often with a pause between.
const READS_MAX: u32 = 3;

/// What has failed while one batch was to be decided.
#[derive(Debug, Default)]
pub struct Waiting {
    tries: u32,
    unread: u32,
    has_waited: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Housekeeping may have made room: it is asked again.
    AtOnce,
    /// It is asked again after a pause, the first of which is said.
    Wait {
        /// Whether this is the first.
        is_first: bool,
    },
    /// What is stored can no longer be read, and is to be made again.
    Damaged,
}

impl Waiting {
    /// The index could not decide, with this error, one of those that pass. `made_room`: whether its housekeeping worked.
    pub fn failed(&mut self, error: &IndexError, made_room: bool) -> Next {
        self.tries += 1;
        self.unread = if matches!(error, IndexError::Unread { .. }) { self.unread + 1 } else { 0 };
        if self.unread >= READS_MAX {
            Next::Damaged
        } else if self.tries == 1 && made_room && self.unread == 0 {
            Next::AtOnce
        } else {
            Next::Wait { is_first: !std::mem::replace(&mut self.has_waited, true) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> IndexError {
        IndexError::Full { what: "x", count: 2, count_max: 1 }
    }

    fn unread() -> IndexError {
        IndexError::Unread { detail: "x".into() }
    }

    #[test]
    fn an_index_without_room_is_never_asked_in_a_loop() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.failed(&full(), true), Next::AtOnce);
        assert_eq!(waiting.failed(&full(), true), Next::Wait { is_first: true });
        for _ in 0..100 {
            assert_eq!(waiting.failed(&full(), true), Next::Wait { is_first: false });
        }
        assert_eq!(Waiting::default().failed(&full(), false), Next::Wait { is_first: true });
    }

    #[test]
    fn a_run_that_cannot_be_read_three_times_running_is_damaged() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.failed(&unread(), true), Next::Wait { is_first: true });
        assert_eq!(waiting.failed(&unread(), true), Next::Wait { is_first: false });
        assert_eq!(waiting.failed(&full(), true), Next::Wait { is_first: false }, "another error between");
        assert_eq!(waiting.failed(&unread(), true), Next::Wait { is_first: false });
        assert_eq!(waiting.failed(&unread(), true), Next::Wait { is_first: false });
        assert_eq!(waiting.failed(&unread(), true), Next::Damaged);
    }
}
