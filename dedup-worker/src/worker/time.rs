//! What one lane's owner knows of the time, and what it says where two clocks contradict each other.

use std::time::{Duration, Instant};

use changelog::{Contradiction, Moved, News, Now};
use ownership::Stamp;
use tracing::{error, info};

/// While clocks disagree, the broker's is asked so often, by a checkpoint: it may be the one that was set right.
const ASKED_AGAIN: Duration = Duration::from_mins(1);

/// The clocks of one lane's owner.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    wall_ms: fn() -> i64,
    /// `None` before the takeover's checkpoint is committed.
    stamp: Option<Stamp>,
    contradiction: Contradiction,
}

impl Time {
    /// Before anything is committed. `wall_ms` is this host's clock, milliseconds since the Unix epoch.
    pub fn new(wall_ms: fn() -> i64) -> Self {
        Self { wall_ms, stamp: None, contradiction: Contradiction::default() }
    }

    /// A record was committed.
    pub fn stamped(&mut self, stamp: Stamp) {
        self.stamp = Some(stamp);
    }

    /// This host's clock, milliseconds since the Unix epoch.
    pub fn wall_ms(&self) -> i64 {
        (self.wall_ms)()
    }

    /// What is known now. A broker that gives no stamps leaves nothing to compare the wall with.
    pub fn now(&self) -> Now {
        let wall_ms = self.wall_ms();
        match self.stamp {
            None => Now { wall_ms, stamped_ms: None, since: Duration::ZERO },
            Some(Stamp { appended_ms: None, .. }) => Now { wall_ms, stamped_ms: Some(wall_ms), since: Duration::ZERO },
            Some(Stamp { appended_ms, heard }) => Now { wall_ms, stamped_ms: appended_ms, since: heard.elapsed() },
        }
    }

    /// What became of the window's clock.
    pub fn moved(&mut self, moved: Moved, lane: u32) {
        match self.contradiction.moved(moved, Instant::now()) {
            None => {}
            Some(News::Agree) => {
                info!(lane, "this host's clock and the output cluster's agree again; the window moves on");
            }
            Some(News::Contradict { wall_ms, stamped_ms }) => error!(
                lane,
                wall_ms,
                stamped_ms,
                "this host's clock and the output cluster's differ by more than an hour; work goes on and nothing expires \
                 until one of them is set right"
            ),
        }
    }

    /// For how long the clocks have contradicted each other; `None` where they do not.
    pub(crate) fn contradicted_for(&self) -> Option<Duration> {
        self.contradiction.lasts(Instant::now())
    }

    /// Whether the broker's clock is to be asked again.
    pub fn wants_stamp(&self) -> bool {
        self.contradicted_for().is_some() && self.stamp.is_some_and(|stamp| stamp.heard.elapsed() >= ASKED_AGAIN)
    }
}
