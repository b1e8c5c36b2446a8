//! The window's clock: how far the inputs have been read, not what time it is. Pure: every time comes in as a value.
//!
//! It moves by this and nothing else, so that an outage expires nothing, and no single wrong clock does:
//!
//! ```text
//! stamp  = stamp of the newest record of the log, by a clock that is not ours, and the monotonic time since then
//! agree  = the wall and the stamp differ by an hour at most
//! now    = agree ? the earlier of the two : the clock itself, which so stands
//! reach of each configured input, seen or not =
//!    read to its end and answering                -> now
//!    the next record was appended at a, a <= now + 1 h -> a, from now - H to now
//!    away, silent, never seen, or a in the future -> what was last believed of it, from now - H to now
//! clock  = the later of itself and the least reach, but no further than the next step begins
//! ```
//!
//! H is how long the inputs keep a record: what is older was read or is lost. A *step* is a bucket; the clock enters one,
//! that is committed to the log, and only then may it enter the next. So a clock that is wrong for a moment moves the
//! window by one bucket at most, and every bucket that expires has expired for whoever reads the log.
//!
//! An event goes into the bucket of its own time, from the oldest that is kept at the clock to the one after the later of
//! wall and stamp: a clock that stands does not push events into older buckets. A batch may reach over any time: it is
//! decided at the clock of its first record, and a clock that is behind expires nothing too early.

use std::collections::BTreeMap;
use std::time::Duration;

/// Wall and stamp that differ by more contradict each other. Hosts with a time service differ by milliseconds; an hour is
/// a zone, a bad battery, or a mistake.
const AGREEMENT_MS: i64 = 3_600_000;
/// Steps that a clock takes from the beginning of a new log to now at most: where buckets are so short that more would
/// fit, a step is several buckets. (Each is a commit.)
const STEPS_MAX: i64 = 7;

/// One input: the caller's own number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputId(pub u32);

/// What is known of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// This host's clock, milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// The newest stamp of a clock that is not this host's, milliseconds since the Unix epoch; `None` before the first.
    pub stamped_ms: Option<i64>,
    /// Monotonic time since that stamp was read.
    pub since: Duration,
}

/// How far one input has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// To its end, and it answers: nothing is waiting.
    End,
    /// The next record was appended then, milliseconds since the Unix epoch.
    Behind {
        /// By the clock of the input.
        appended_ms: i64,
    },
    /// It does not answer, or has never been seen.
    Away,
}

/// What became of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It stands there, milliseconds since the Unix epoch.
    To(i64),
    /// Wall and stamp contradict each other. The clock stands, and work goes on.
    Disagree {
        /// This host's clock.
        wall_ms: i64,
        /// What it should be, by the stamp.
        stamped_ms: i64,
    },
}

/// The window's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    now_ms: i64,
    /// Where it stood when that was last committed.
    entered_ms: i64,
    step_ms: i64,
    /// How long the inputs keep a record.
    kept_ms: i64,
    believed: BTreeMap<InputId, i64>,
}

impl Now {
    /// The stamp as it would be by now.
    fn stamp_ms(&self) -> Option<i64> {
        self.stamped_ms.map(|ms| ms.saturating_add(i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The later of wall and stamp, milliseconds since the Unix epoch: events of the day after it are believed.
    pub fn newest_ms(&self) -> i64 {
        self.stamp_ms().map_or(self.wall_ms, |stamp_ms| stamp_ms.max(self.wall_ms))
    }
}

impl Clock {
    /// The clock as it stood at the newest record of the log, in a window of buckets of `bucket`, over inputs that keep a
    /// record for `input_retention`.
    pub fn resume(clock_ms: i64, bucket: Duration, input_retention: Duration) -> Self {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
        let step_ms = ms(bucket).max(ms(input_retention) / STEPS_MAX);
        let kept_ms = ms(input_retention);
        Self { now_ms: clock_ms, entered_ms: clock_ms, step_ms, kept_ms, believed: BTreeMap::new() }
    }

    /// The clock of a log that holds a genesis and nothing else: the inputs may reach back before it.
    pub fn begin(genesis_ms: i64, bucket: Duration, input_retention: Duration) -> Self {
        let clock = Self::resume(genesis_ms, bucket, input_retention);
        let now_ms = genesis_ms.saturating_sub(clock.kept_ms);
        Self { now_ms, entered_ms: now_ms, ..clock }
    }

    /// Where it stands, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Moves it to what the inputs have reached, every configured one among them. It never goes back, and never further
    /// than the step behind the one that was [entered](Self::entered) last. Without any input, and before the first stamp,
    /// it stands.
    pub fn advance(&mut self, inputs: impl IntoIterator<Item = (InputId, Reached)>, now: Now) -> Moved {
        let Some(stamp_ms) = now.stamp_ms() else { return Moved::To(self.now_ms) };
        let agree = now.wall_ms.abs_diff(stamp_ms) <= AGREEMENT_MS as u64;
        let now_ms = if agree { now.wall_ms.min(stamp_ms) } else { self.now_ms };
        let earliest_ms = now_ms.saturating_sub(self.kept_ms);
        let mut reach_ms = None::<i64>;
        for (id, reached) in inputs {
            let believed = self.believed.entry(id).or_insert(self.now_ms);
            *believed = match reached {
                Reached::End => now_ms,
                Reached::Behind { appended_ms } if appended_ms <= now_ms.saturating_add(AGREEMENT_MS) => appended_ms,
                Reached::Behind { .. } | Reached::Away => *believed,
            }
            .clamp(earliest_ms, now_ms);
            reach_ms = Some(reach_ms.map_or(*believed, |least| least.min(*believed)));
        }
        let next_step_ms = self.entered_ms.div_euclid(self.step_ms).saturating_add(1).saturating_mul(self.step_ms);
        self.now_ms = self.now_ms.max(reach_ms.unwrap_or(self.now_ms).min(next_step_ms));
        if agree { Moved::To(self.now_ms) } else { Moved::Disagree { wall_ms: now.wall_ms, stamped_ms: stamp_ms } }
    }

    /// Whether it has entered a step that is not committed: it goes no further before that is.
    pub fn wants_commit(&self) -> bool {
        self.now_ms.div_euclid(self.step_ms) > self.entered_ms.div_euclid(self.step_ms)
    }

    /// Where it stands is committed to the log.
    pub fn entered(&mut self) {
        self.entered_ms = self.now_ms;
    }
}

#[cfg(test)]
mod tests;
