//! One thread waits, several may wake it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A wake-up that is not lost when nobody waits yet.
#[derive(Debug, Clone, Default)]
pub struct Waker(Arc<(Mutex<bool>, Condvar)>);

impl Waker {
    /// Ends the wait, or the next one.
    pub fn wake(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_one();
    }

    /// Waits for a wake-up, no longer than `timeout`.
    pub fn wait(&self, timeout: Duration) {
        let woken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(woken, timeout, |woken| !*woken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wake_up_before_the_wait_counts_once() {
        let waker = Waker::default();
        waker.wake();
        let start = Instant::now();
        waker.wait(Duration::from_mins(1));
        assert!(start.elapsed() < Duration::from_secs(30));
        waker.wait(Duration::from_millis(1));
        assert!(start.elapsed() >= Duration::from_millis(1));
    }
}
