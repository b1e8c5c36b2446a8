//! What an attempt's end means: for the request (again or done), and for what the server may have kept.

use std::time::Duration;

/// First wait before a request is sent again.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
/// Longest wait of our own choosing: short, so that a server that is back sees its clients at once.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// How one sending of a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// An answer came.
    Answered {
        /// Its status.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No connection: the server has seen nothing of it.
    NotSent,
    /// Sent at least in part, and no answer came: the connection broke, or the answer made no sense.
    Broken,
    /// Sent, and no answer came in time.
    TimedOut,
}

/// What became of a request for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// 200: each of its events must come out once.
    Acknowledged = 1,
    /// Every answer was a 4xx: none of its events may come out.
    Refused = 2,
    /// The last answer was something else, or an earlier sending stayed without one: each event may come out once.
    Uncertain = 3,
    /// The last sending had no answer: each event may come out once.
    Unanswered = 4,
    /// No connection was ever made: none of its events may come out.
    NeverSent = 5,
}

impl Outcome {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Acknowledged, Self::Refused, Self::Uncertain, Self::Unanswered, Self::NeverSent]
            .into_iter()
            .find(|&outcome| outcome as u8 == byte)
    }
}

/// The story of one request so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attempts {
    /// Sendings so far.
    pub(crate) made: u32,
    /// Sendings that the server may have kept.
    pub(crate) perhaps_kept: u32,
    /// Of the last answer; 0 before one came.
    pub(crate) status: u16,
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send the same bytes again after this long.
    Again(Duration),
    /// It is over.
    Done(Outcome),
}

impl Attempts {
    /// Takes in how a sending ended. `time_left` is how long the client is still willing to try, `jitter` a number
    /// between 0 and 1, `retry_after_max` the longest `Retry-After` it honours.
    pub(crate) fn take_in(
        &mut self,
        attempt: Attempt,
        time_left: Duration,
        jitter: f64,
        retry_after_max: Duration,
    ) -> Next {
        self.made += 1;
        let may_be_kept = match attempt {
            Attempt::Answered { status, .. } => !(400..500).contains(&status),
            Attempt::Broken | Attempt::TimedOut => true,
            Attempt::NotSent => false,
        };
        self.perhaps_kept += u32::from(may_be_kept);
        let outcome = match attempt {
            Attempt::Answered { status, .. } => {
                self.status = status;
                match status {
                    200 => return Next::Done(Outcome::Acknowledged),
                    400..500 if self.perhaps_kept == 0 => Outcome::Refused,
                    _ => Outcome::Uncertain,
                }
            }
            Attempt::NotSent if self.perhaps_kept == 0 && self.status == 0 => Outcome::NeverSent,
            Attempt::NotSent if self.perhaps_kept == 0 => Outcome::Refused,
            Attempt::NotSent | Attempt::Broken | Attempt::TimedOut => Outcome::Unanswered,
        };
        let retry_after = match attempt {
            Attempt::Answered { status: 429 | 500.., retry_after } => retry_after,
            Attempt::Answered { .. } => return Next::Done(outcome),
            _ => None,
        };
        let wait = match retry_after {
            Some(asked) => asked.min(retry_after_max),
            None => self.backoff().mul_f64(0.5 + jitter / 2.0),
        };
        if wait < time_left { Next::Again(wait) } else { Next::Done(outcome) }
    }

    fn backoff(&self) -> Duration {
        BACKOFF_FIRST.saturating_mul(1 << (self.made - 1).min(8)).min(BACKOFF_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const MAX: Duration = Duration::from_secs(1);

    fn status(status: u16) -> Attempt {
        Attempt::Answered { status, retry_after: None }
    }

    /// What the last of these attempts leads to, with no time left for another.
    fn outcome(story: &[Attempt]) -> Outcome {
        let mut attempts = Attempts::default();
        for attempt in &story[..story.len() - 1] {
            assert!(matches!(attempts.take_in(*attempt, LONG, 0.5, MAX), Next::Again(_)), "{attempt:?}");
        }
        match attempts.take_in(story[story.len() - 1], Duration::ZERO, 0.5, MAX) {
            Next::Done(outcome) => outcome,
            Next::Again(_) => panic!("no time was left"),
        }
    }

    #[test]
    fn every_story_has_its_outcome() {
        use Attempt::{Broken, NotSent, TimedOut};
        for (story, expected) in [
            (&[status(200)][..], Outcome::Acknowledged),
            (&[status(400)], Outcome::Refused),
            (&[status(429), status(400)], Outcome::Refused),
            (&[status(503)], Outcome::Uncertain),
            (&[status(302)], Outcome::Uncertain),
            (&[Broken, status(400)], Outcome::Uncertain),
            (&[Broken], Outcome::Unanswered),
            (&[TimedOut, NotSent], Outcome::Unanswered),
            (&[NotSent, NotSent], Outcome::NeverSent),
            (&[status(429), NotSent], Outcome::Refused),
            (&[NotSent, Broken, status(429), status(503), status(200)], Outcome::Acknowledged),
        ] {
            assert_eq!(outcome(story), expected, "{story:?}");
        }
    }

    #[test]
    fn only_sendings_that_may_be_kept_are_counted() {
        let mut attempts = Attempts::default();
        for attempt in [Attempt::NotSent, status(429), Attempt::Broken, status(503), status(200)] {
            attempts.take_in(attempt, LONG, 0.0, MAX);
        }
        assert_eq!((attempts.made, attempts.perhaps_kept, attempts.status), (5, 3, 200));
    }

    #[test]
    fn waits_grow_to_their_bound_and_heed_the_server_up_to_its_own() {
        let mut attempts = Attempts::default();
        let mut waits = Vec::new();
        for _ in 0..40 {
            match attempts.take_in(Attempt::NotSent, LONG, 1.0, MAX) {
                Next::Again(wait) => waits.push(wait),
                Next::Done(_) => panic!("time was left"),
            }
        }
        assert_eq!(waits[0], BACKOFF_FIRST);
        assert!(waits.is_sorted());
        assert_eq!(waits[39], BACKOFF_MAX);
        let busy = Attempt::Answered { status: 503, retry_after: Some(Duration::from_secs(30)) };
        assert_eq!(attempts.take_in(busy, LONG, 1.0, MAX), Next::Again(MAX));
    }
}
