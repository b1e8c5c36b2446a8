//! Two clocks that contradict each other, and when a person is told.

use std::time::{Duration, Instant};

use crate::Moved;

/// A contradiction of this length is said: a clock that is set right while a host starts is none.
const SAID_AFTER: Duration = Duration::from_mins(10);

/// For how long wall and stamp have contradicted each other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contradiction {
    since: Option<Instant>,
    is_said: bool,
}

/// What is to be said, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// They have contradicted each other for ten minutes.
    Contradict {
        /// This host's clock, milliseconds since the Unix epoch.
        wall_ms: i64,
        /// What it should be, by the stamp.
        stamped_ms: i64,
    },
    /// They agree again, after that was said.
    Agree,
}

impl Contradiction {
    /// What became of the window's clock at `at`.
    pub fn moved(&mut self, moved: Moved, at: Instant) -> Option<News> {
        let Moved::Disagree { wall_ms, stamped_ms } = moved else {
            let was_said = std::mem::take(self).is_said;
            return was_said.then_some(News::Agree);
        };
        let since = *self.since.get_or_insert(at);
        if self.is_said || at.duration_since(since) < SAID_AFTER {
            return None;
        }
        self.is_said = true;
        Some(News::Contradict { wall_ms, stamped_ms })
    }

    /// For how long they have contradicted each other at `at`; `None` where they do not.
    pub fn lasts(&self, at: Instant) -> Option<Duration> {
        self.since.map(|since| at.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contradiction_is_said_once_after_a_while_and_so_is_its_end() {
        let begun = Instant::now();
        let disagree = Moved::Disagree { wall_ms: 2, stamped_ms: 1 };
        let mut contradiction = Contradiction::default();
        assert_eq!(contradiction.moved(disagree, begun), None);
        assert_eq!(contradiction.moved(Moved::To(1), begun + SAID_AFTER), None, "nothing was said");
        assert_eq!(contradiction.moved(disagree, begun + SAID_AFTER), None, "it begins again");
        let said = contradiction.moved(disagree, begun + SAID_AFTER * 2);
        assert_eq!(said, Some(News::Contradict { wall_ms: 2, stamped_ms: 1 }));
        assert_eq!(contradiction.moved(disagree, begun + SAID_AFTER * 3), None);
        assert_eq!(contradiction.lasts(begun + SAID_AFTER * 3), Some(SAID_AFTER * 2));
        assert_eq!(contradiction.moved(Moved::To(1), begun + SAID_AFTER * 3), Some(News::Agree));
        assert_eq!(contradiction.lasts(begun + SAID_AFTER * 3), None);
    }
}
