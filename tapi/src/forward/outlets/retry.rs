//! How soon a cluster that failed gets the same records again, and how many of them. Pure: time and chance come in.
//!
//! The budget bounds the extra work: each acknowledgement earns a tenth of a resend, so that a cluster that
//! fails most of what it is given is asked only a little more than it answers.

use std::time::Instant;

use service::backoff::Backoff;

/// Resends that may be saved up: more than one failed batch of requests in flight.
const BUDGET_MAX: f64 = 1000.0;
/// What an acknowledgement earns.
const EARNED: f64 = 0.1;
/// Sending again to a cluster that failed.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    backoff: Backoff,
    not_before: Option<Instant>,
    budget: f64,
}

impl Retry {
    /// With a full budget.
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, not_before: None, budget: BUDGET_MAX }
    }

    /// Records were acknowledged.
    pub(crate) fn acknowledged(&mut self, count: u64) {
        self.budget = (self.budget + count as f64 * EARNED).min(BUDGET_MAX);
        self.backoff.reset();
        self.not_before = None;
    }

    /// Records failed. All that fail before the pause is over are one failure.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) {
        if self.not_before.is_none_or(|until| now >= until) {
            self.not_before = Some(now + self.backoff.next(chance));
        }
    }

    /// Whether records may go out now.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|until| now >= until)
    }

    /// Whether the budget has a resend. An empty one still gives one after each pause, so that things go on.
    pub(crate) fn has_resend(&self, now: Instant) -> bool {
        self.budget >= 1.0 || self.not_before.is_some_and(|until| now >= until)
    }

    /// Takes a resend that it [has](Self::has_resend).
    pub(crate) fn take(&mut self, now: Instant) {
        if self.budget >= 1.0 {
            self.budget -= 1.0;
        } else {
            self.not_before = Some(now + self.backoff.next(1.0));
        }
    }

    /// A new connection to the same cluster starts without a history.
    pub(crate) fn forgive(&mut self) {
        self.backoff.reset();
        self.not_before = None;
        self.budget = BUDGET_MAX;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_secs(1);

    fn takes(retry: &mut Retry, now: Instant) -> bool {
        let has = retry.has_resend(now);
        if has {
            retry.take(now);
        }
        has
    }

    #[test]
    fn a_failure_pauses_and_an_acknowledgement_ends_the_pause() {
        let now = Instant::now();
        let mut retry = Retry::new(Backoff::new(FIRST, LAST));
        assert!(retry.is_open(now));
        retry.failed(now, 1.0);
        retry.failed(now, 1.0);
        assert!(!retry.is_open(now) && retry.is_open(now + FIRST), "failures of one moment are one");
        retry.acknowledged(1);
        assert!(retry.is_open(now));
    }

    #[test]
    fn the_budget_ends_and_is_earned_again() {
        let now = Instant::now();
        let mut retry = Retry::new(Backoff::new(FIRST, LAST));
        assert_eq!((0..2000).filter(|_| takes(&mut retry, now)).count(), 1000);
        retry.acknowledged(20);
        assert_eq!((0..10).filter(|_| takes(&mut retry, now)).count(), 2);
        // Without any acknowledgement one goes out after each pause.
        retry.failed(now, 1.0);
        let later = now + LAST;
        assert_eq!((0..10).filter(|_| takes(&mut retry, later)).count(), 1);
        retry.forgive();
        assert!(takes(&mut retry, now));
    }
}
