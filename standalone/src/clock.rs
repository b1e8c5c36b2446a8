//! The window's clock: how far the input has been read, not what time it is.
//!
//! Behind a backlog the clock stands at the newest event read, so time spent catching up expires nothing. Read to the
//! end, it is now. It never goes back.

/// The window's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowClock(i64);

impl WindowClock {
    /// The clock as it stood at the newest batch of the ledger.
    pub fn resume(clock_ms: i64) -> Self {
        Self(clock_ms)
    }

    /// Moves it: to `now_ms` where the input has been read to its end, else to when the newest event read was received.
    /// Both in milliseconds since the Unix epoch.
    pub fn advance(&mut self, newest_received_at_ms: Option<i64>, read_to_end: bool, now_ms: i64) -> i64 {
        let reached = if read_to_end { Some(now_ms) } else { newest_received_at_ms.map(|newest| newest.min(now_ms)) };
        self.0 = self.0.max(reached.unwrap_or(self.0));
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_holds_the_clock_and_its_end_lets_it_go() {
        let mut clock = WindowClock::resume(10);
        assert_eq!(clock.advance(Some(50), false, 1_000), 50);
        assert_eq!(clock.advance(Some(40), false, 1_000), 50, "never back");
        assert_eq!(clock.advance(Some(5_000), false, 1_000), 1_000, "never ahead of now");
        assert_eq!(clock.advance(None, false, 2_000), 1_000, "nothing read, nothing known");
        assert_eq!(clock.advance(None, true, 2_000), 2_000);
    }
}
