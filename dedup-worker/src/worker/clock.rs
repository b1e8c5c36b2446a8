//! The window's clock: how far the inputs have been read, not what time it is.
//!
//! The clock is the append time of the next record of the slower input. An input that is read to its end stands at now.
//! A batch is decided at the clock of its oldest record, and holds none that was appended more than a bucket later: a
//! batch that reached over days would judge its first events by a window that has moved on, and one read far ahead of
//! the clock would enter its events too early. So a worker that was away, or whose output cluster was, comes back with a clock that stands where it was, and
//! the events that waited meet the window that they would have met.
//!
//! An input that cannot be read at all holds the clock too, because it may hold repeats; but not for longer than one
//! bucket. An event is never entered more than a bucket ahead of the clock, so a clock further behind would enter the
//! events of the other input too early, and expire them too early once it has caught up.

/// How far one input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// To its end: nothing is waiting.
    End,
    /// The next record was appended then, milliseconds since the Unix epoch, or not before.
    Behind(i64),
    /// It cannot be asked. It was last known to be read to what was appended then.
    Away(i64),
}

/// The window's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    now_ms: i64,
    hold_ms_max: i64,
}

impl Clock {
    /// The clock as it stood at the newest record of the changelog, in a window of buckets of `bucket_ms`.
    pub fn resume(clock_ms: i64, bucket_ms: u64) -> Self {
        Self { now_ms: clock_ms, hold_ms_max: bucket_ms as i64 }
    }

    /// Where it stands, milliseconds since the Unix epoch.
    pub fn now_ms(self) -> i64 {
        self.now_ms
    }

    /// Moves it to what the inputs have reached, where the wall clock says `wall_ms`. It never goes back, nor ahead of
    /// the wall clock. Without any input it stands.
    pub fn advance(&mut self, inputs: impl IntoIterator<Item = Reached>, wall_ms: i64) -> i64 {
        let times = inputs.into_iter().map(|reached| match reached {
            Reached::End => wall_ms,
            Reached::Behind(time_ms) => time_ms.min(wall_ms),
            Reached::Away(time_ms) => time_ms.clamp(wall_ms.saturating_sub(self.hold_ms_max), wall_ms),
        });
        self.now_ms = self.now_ms.max(times.min().unwrap_or(self.now_ms));
        self.now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_input_is_the_clock() {
        let mut clock = Clock::resume(10, 100);
        assert_eq!(clock.advance([], 1_000), 10, "nothing read, nothing known");
        assert_eq!(clock.advance([Reached::Behind(50), Reached::End], 1_000), 50);
        assert_eq!(clock.advance([Reached::Behind(40), Reached::Behind(70)], 1_000), 50, "never back");
        assert_eq!(clock.advance([Reached::Behind(5_000), Reached::End], 1_000), 1_000, "never ahead of the wall");
        assert_eq!(clock.advance([Reached::End, Reached::End], 2_000), 2_000);
    }

    #[test]
    fn an_input_that_is_away_holds_it_for_a_bucket_at_most() {
        let mut clock = Clock::resume(0, 100);
        assert_eq!(clock.advance([Reached::End, Reached::Away(950)], 1_000), 950);
        assert_eq!(clock.advance([Reached::End, Reached::Away(950)], 1_040), 950);
        assert_eq!(clock.advance([Reached::End, Reached::Away(950)], 1_500), 1_400);
        assert_eq!(clock.advance([Reached::End, Reached::Away(9_000)], 1_600), 1_600);
    }
}
