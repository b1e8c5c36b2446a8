//! Pauses between attempts that fail. Pure: chance comes in.
//!
//! They grow exponentially and are drawn from their whole range ("full jitter"), so that many hosts do not come back in
//! step.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Doublings after which the pause has reached any cap.
const DOUBLINGS_MAX: u32 = 16;

/// A number between 0 and 1, different each time: the standard library seeds its hash maps with random numbers.
pub fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Pauses between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Backoff {
    /// Pauses of up to `first`, then twice that, and so on, up to `last`.
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: 0 }
    }

    /// The pause after one more failure; `chance` lies between 0 and 1.
    pub fn next(&mut self, chance: f64) -> Duration {
        let longest = self.first.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(self.last);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(chance.clamp(0.0, 1.0))
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_last_and_are_drawn_from_their_whole_range() {
        let mut backoff = Backoff::new(FIRST, LAST);
        let longest: Vec<_> = (0..6).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), LAST / 2);
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST);
        for _ in 0..100 {
            assert!(backoff.next(1.0) <= LAST);
        }
    }

    #[test]
    fn chances_lie_between_0_and_1_and_differ() {
        let chances: Vec<_> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance < 0.5) && chances.iter().any(|chance| *chance > 0.5));
    }
}
