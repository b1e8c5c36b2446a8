//! What the one process knows of the time. No broker gives it stamps: what stands against the wall is the newest time
//! that the ledger holds, and the time that has passed since, by a clock that nobody sets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use changelog::{Contradiction, Moved, News, Now};
use rustix::time::{ClockId, clock_gettime};
use tracing::{error, info, warn};
use wire::window::{DAY_MS, INPUT_RETENTION};

/// A step that is believed at a start is so much longer: a clock at the beginning of a ledger stands that far back.
const ALLOWANCE_MS: i64 = 3_600_000;

/// Clocks as they are read; tests have their own.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// This host's clock, milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
    /// Time since the host was started, sleep included.
    pub since_boot: fn() -> Duration,
}

/// The clocks of this process.
pub const HOST: Clocks = Clocks { wall_ms: now_ms, since_boot };

/// What is known of the time since the process began.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    clocks: Clocks,
    stamped_ms: i64,
    stamped_at: Duration,
    contradiction: Contradiction,
}

impl Time {
    /// At a start. `persisted_ms` is the newest time that the ledger knows has been. The wall is believed where it is no
    /// more than seven days later, or where `believes_wall`; else the window stands until it comes back to that.
    pub fn start(clocks: Clocks, persisted_ms: i64, believes_wall: bool) -> Self {
        let wall_ms = (clocks.wall_ms)();
        let step_max_ms = INPUT_RETENTION.as_millis() as i64 + ALLOWANCE_MS;
        let is_believed = believes_wall || (persisted_ms..=persisted_ms.saturating_add(step_max_ms)).contains(&wall_ms);
        let stamped_ms = if is_believed { wall_ms } else { persisted_ms };
        if !is_believed && wall_ms > persisted_ms {
            let days = (wall_ms - persisted_ms) / DAY_MS as i64;
            warn!(
                days,
                "this host's clock is that many days after the ledger's newest record; events are taken, and nothing \
                 expires until it is set right or `turnstile run --believe-clock` says that it is right"
            );
        }
        Self { clocks, stamped_ms, stamped_at: (clocks.since_boot)(), contradiction: Contradiction::default() }
    }

    /// What is known now.
    pub fn now(&self) -> Now {
        let since = (self.clocks.since_boot)().saturating_sub(self.stamped_at);
        Now { wall_ms: (self.clocks.wall_ms)(), stamped_ms: Some(self.stamped_ms), since }
    }

    /// What became of the window's clock.
    pub fn moved(&mut self, moved: Moved) {
        match self.contradiction.moved(moved, Instant::now()) {
            None => {}
            Some(News::Agree) => info!("this host's clock agrees with the ledger again; the window moves on"),
            Some(News::Contradict { wall_ms, stamped_ms }) => error!(
                wall_ms,
                stamped_ms,
                "this host's clock and the time that has passed differ by more than an hour; events are taken, and nothing \
                 expires until the clock is set right or `turnstile run --believe-clock` says that it is right"
            ),
        }
    }
}

/// The wall clock, milliseconds since the Unix epoch; a clock before 1970 counts as 1970.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_795_248_000_000;
    const DAY: i64 = DAY_MS as i64;
    const CLOCKS: Clocks = Clocks { wall_ms: || NOW_MS, since_boot: || Duration::from_secs(5) };

    fn stamped_ms(persisted_ms: i64, believes_wall: bool) -> Option<i64> {
        Time::start(CLOCKS, persisted_ms, believes_wall).now().stamped_ms
    }

    #[test]
    fn a_week_is_believed_at_a_start_and_more_only_when_told() {
        assert_eq!(stamped_ms(NOW_MS - 7 * DAY, false), Some(NOW_MS));
        let long_ago = NOW_MS - 9 * DAY;
        assert_eq!(stamped_ms(long_ago, false), Some(long_ago));
        assert_eq!(stamped_ms(long_ago, true), Some(NOW_MS));
        assert_eq!(stamped_ms(NOW_MS + DAY, false), Some(NOW_MS + DAY), "a wall that went back");
        assert!(since_boot() > Duration::ZERO);
    }
}
