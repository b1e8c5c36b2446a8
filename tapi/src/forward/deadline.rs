//! Time that begins to run when it is first asked for. Pure: the time comes in.

use std::time::{Duration, Instant};

/// The end of a time that begins to run when it is first asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    within: Duration,
    until: Option<Instant>,
}

impl Deadline {
    /// So long after the first question.
    pub(crate) fn new(within: Duration) -> Self {
        Self { within, until: None }
    }

    /// Whether it has passed.
    pub(crate) fn is_over(&mut self, now: Instant) -> bool {
        now >= *self.until.get_or_insert(now + self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_from_the_first_question_on() {
        let (second, now) = (Duration::from_secs(1), Instant::now() + Duration::from_mins(1));
        let mut deadline = Deadline::new(second);
        assert!(!deadline.is_over(now) && !deadline.is_over(now + second / 2));
        assert!(deadline.is_over(now + second));
    }
}
