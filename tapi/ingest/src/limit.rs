//! How many events a source may send: a rate with a burst, by the generic cell rate algorithm, and a quota a day.
//!
//! The rate is one word: the time at which everything that the source has sent will be paid for, one interval an event.
//! While that lies less than the burst ahead the source may send, and a batch is charged as a whole, even beyond the
//! burst: then the source is in debt, and waits until it is paid. So a batch larger than the burst gets through, too, and
//! on average the rate holds. The number of events is known only behind the parser, and debt before it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use wire::limits::BATCH_EVENTS_MAX;

const NS_PER_S: i64 = 1_000_000_000;
const US_PER_DAY: i64 = 86_400_000_000;
/// Bits of the day's word that count events; the others are the day.
const COUNT_BITS: u32 = 40;
/// The longest wait between events that a clock set back may leave behind; what lies further ahead was written before.
const CHARGES_AHEAD_MAX: i64 = 64;

/// The most events a second that can be told apart from no limit.
pub(crate) const EVENTS_PER_SECOND_MAX: u64 = 10_000_000;
/// The most events of a burst and of a day.
pub(crate) const EVENTS_MAX: u64 = 1_000_000_000;

/// The limits of a tier; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    interval_ns: i64,
    burst: i64,
    per_day: u64,
    /// Whether events beyond it are refused, and not only counted.
    pub(crate) is_enforced: bool,
}

/// What a source has used up.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// When all is paid for, nanoseconds since the Unix epoch.
    paid_at_ns: AtomicI64,
    /// The day since the epoch, and the events of that day.
    day: AtomicU64,
    charged: AtomicU64,
    over: AtomicU64,
}

/// What a source may still send, as its SDK is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// Events that may be sent at once, or in a day: of the two limits the one that has less left.
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// Seconds until all of it is there again.
    pub(crate) reset_s: u64,
}

impl Limit {
    /// `burst` 0 is one second's worth.
    pub(crate) fn new(per_second: u64, burst: u64, per_day: u64, is_enforced: bool) -> Self {
        let interval_ns = if per_second == 0 { 0 } else { NS_PER_S / per_second.min(EVENTS_PER_SECOND_MAX) as i64 };
        let burst = if burst == 0 { per_second.max(1) } else { burst };
        Self { interval_ns, burst: burst.min(EVENTS_MAX) as i64, per_day, is_enforced }
    }

    /// Whether a day has a bound.
    pub(crate) fn has_quota(&self) -> bool {
        self.per_day > 0
    }

    /// What is left; where that is nothing an `Err`, whose `reset_s` is the time until something is.
    pub(crate) fn allowance(&self, usage: &Usage, now_us: i64) -> Result<Allowance, Allowance> {
        let mut tightest = Allowance { limit: 0, remaining: u64::MAX, reset_s: 0 };
        if self.interval_ns > 0 {
            let ahead_ns = self.ahead_ns(usage.paid_at_ns.load(Ordering::Relaxed), now_us * 1000);
            let room_ns = self.burst * self.interval_ns - ahead_ns;
            let limit = self.burst as u64;
            if room_ns < self.interval_ns {
                return Err(Allowance { limit, remaining: 0, reset_s: seconds(self.interval_ns - room_ns) });
            }
            let remaining = (room_ns / self.interval_ns) as u64;
            tightest = Allowance { limit, remaining, reset_s: seconds(ahead_ns) };
        }
        if self.per_day > 0 {
            let remaining = self.per_day.saturating_sub(count_of(usage.day.load(Ordering::Relaxed), now_us));
            let reset_s = seconds((US_PER_DAY - now_us.rem_euclid(US_PER_DAY)) * 1000);
            let of_day = Allowance { limit: self.per_day, remaining, reset_s };
            if remaining == 0 {
                return Err(of_day);
            }
            if remaining < tightest.remaining {
                tightest = of_day;
            }
        }
        Ok(tightest)
    }

    /// Charges the events of a request where anything is left, and says what is left then; otherwise counts them as too
    /// many. More than a batch may have are not charged.
    pub(crate) fn charge(&self, usage: &Usage, events: usize, now_us: i64) -> Result<Allowance, Allowance> {
        let events = events.min(BATCH_EVENTS_MAX);
        let count = events as u64;
        if let Err(spent) = self.allowance(usage, now_us) {
            usage.over.fetch_add(count, Ordering::Relaxed);
            return Err(spent);
        }
        usage.charged.fetch_add(count, Ordering::Relaxed);
        if self.interval_ns > 0 {
            let now_ns = now_us * 1000;
            let paid = |at_ns: i64| Some(now_ns + self.ahead_ns(at_ns, now_ns) + events as i64 * self.interval_ns);
            let _ = usage.paid_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid);
        }
        if self.per_day > 0 {
            let add = |word| Some(day_of(now_us) << COUNT_BITS | (count_of(word, now_us) + count).min(EVENTS_MAX * 2));
            let _ = usage.day.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
        Ok(self.allowance(usage, now_us).unwrap_or_else(|spent| spent))
    }

    /// How far ahead of now the time is at which all is paid for.
    fn ahead_ns(&self, paid_at_ns: i64, now_ns: i64) -> i64 {
        let most_ns = (self.burst + CHARGES_AHEAD_MAX * BATCH_EVENTS_MAX as i64).saturating_mul(self.interval_ns);
        let ahead_ns = paid_at_ns.saturating_sub(now_ns).max(0);
        // A clock that has since been set back wrote it.
        if ahead_ns > most_ns { 0 } else { ahead_ns }
    }
}

impl Usage {
    /// Counts a request that was refused before its events were: they are one at least.
    pub(crate) fn refused(&self) {
        self.over.fetch_add(1, Ordering::Relaxed);
    }

    /// Events of that day.
    pub(crate) fn of_day(&self, day: u64) -> u64 {
        let word = self.day.load(Ordering::Relaxed);
        if word >> COUNT_BITS == day { word & ((1 << COUNT_BITS) - 1) } else { 0 }
    }

    /// So many events of that day were counted before; where more are known that stays.
    pub(crate) fn restore(&self, day: u64, events: u64) {
        self.day.fetch_max(day << COUNT_BITS | events.min(EVENTS_MAX * 2), Ordering::Relaxed);
    }

    /// Events within the limits, and those beyond them, since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.charged.load(Ordering::Relaxed), self.over.load(Ordering::Relaxed))
    }
}

/// Days since 1970-01-01 in UTC.
pub(crate) fn day_of(now_us: i64) -> u64 {
    (now_us / US_PER_DAY).max(0) as u64
}

fn count_of(word: u64, now_us: i64) -> u64 {
    if word >> COUNT_BITS == day_of(now_us) { word & ((1 << COUNT_BITS) - 1) } else { 0 }
}

fn seconds(ns: i64) -> u64 {
    (ns.max(0) as u64).div_ceil(NS_PER_S as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second before a day ends.
    const NOW_US: i64 = 20_000 * US_PER_DAY - 1_000_000;

    fn wait_s(refused: Result<Allowance, Allowance>) -> u64 {
        refused.expect_err("too many").reset_s
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (limit, usage) = (Limit::new(10, 20, 0, true), Usage::default());
        for left in (0..20).rev() {
            assert_eq!(limit.charge(&usage, 1, NOW_US).unwrap().remaining, left);
        }
        assert_eq!(wait_s(limit.charge(&usage, 1, NOW_US)), 1);
        assert_eq!(wait_s(limit.charge(&usage, 1, NOW_US + 99_999)), 1);
        assert_eq!(limit.charge(&usage, 1, NOW_US + 100_000).unwrap().remaining, 0);
        let later = NOW_US + 3_000_000;
        assert_eq!((0..100).filter(|_| limit.charge(&usage, 1, later).is_ok()).count(), 20, "the burst, not more");
        assert_eq!(usage.counts(), (41, 82));
    }

    #[test]
    fn a_batch_is_charged_by_its_events_and_leaves_a_debt() {
        let (limit, usage) = (Limit::new(100, 200, 0, true), Usage::default());
        let told = limit.charge(&usage, 150, NOW_US).unwrap();
        assert_eq!(told, Allowance { limit: 200, remaining: 50, reset_s: 2 });
        assert_eq!(limit.charge(&usage, 650, NOW_US).unwrap().remaining, 0, "larger than all that is left");
        assert_eq!(wait_s(limit.allowance(&usage, NOW_US)), 7, "600 events of debt and one to send");
        assert_eq!(wait_s(limit.charge(&usage, 1, NOW_US + 6_000_000)), 1);
        assert!(limit.charge(&usage, 1, NOW_US + 6_010_000).is_ok());
    }

    #[test]
    fn a_days_quota_comes_back_at_midnight() {
        let (limit, usage) = (Limit::new(0, 0, 100, true), Usage::default());
        assert_eq!(limit.charge(&usage, 60, NOW_US), Ok(Allowance { limit: 100, remaining: 40, reset_s: 1 }));
        assert_eq!(limit.charge(&usage, 60, NOW_US).unwrap().remaining, 0);
        assert_eq!(wait_s(limit.charge(&usage, 1, NOW_US)), 1);
        assert_eq!(limit.charge(&usage, 1, NOW_US + 1_000_000).unwrap().remaining, 99);
        assert_eq!(limit.charge(&usage, 1, NOW_US + 1_000_000).unwrap().reset_s, 86_400);
    }

    #[test]
    fn of_two_limits_the_tighter_one_is_told() {
        let usage = Usage::default();
        let limit = Limit::new(100, 0, 150, true);
        assert_eq!(limit.charge(&usage, 60, NOW_US).unwrap(), Allowance { limit: 100, remaining: 40, reset_s: 1 });
        let later = NOW_US + 900_000;
        assert_eq!(limit.charge(&usage, 60, later).unwrap(), Allowance { limit: 150, remaining: 30, reset_s: 1 });
    }

    #[test]
    fn more_events_than_a_batch_may_have_are_not_charged() {
        let (limit, usage) = (Limit::new(0, 0, EVENTS_MAX, true), Usage::default());
        let told = limit.charge(&usage, 500_000, NOW_US).unwrap();
        assert_eq!(told.remaining, EVENTS_MAX - BATCH_EVENTS_MAX as u64);
    }

    #[test]
    fn a_clock_set_back_does_not_lock_a_source_out() {
        let (limit, usage) = (Limit::new(1, 0, 10, true), Usage::default());
        assert!(limit.charge(&usage, 1, NOW_US).is_ok());
        assert!(limit.charge(&usage, 1, NOW_US - 40 * US_PER_DAY).is_ok());
    }
}
