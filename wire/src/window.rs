//! The dedup window: 28 days of buckets and a margin, on a clock that is passed in.
//!
//! A bucket is a span of `receivedAt`. Whole buckets expire; nothing inside one does. An event's bucket is decided
//! once, written to the changelog and reused by every replay, so a later clock cannot change an earlier verdict.

use std::time::Duration;

/// Milliseconds of a day, a bucket's default span.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days for which the inputs keep a record: what is older was read or is lost.
pub const INPUT_DAYS: u64 = 7;

/// The same as a length of time: so far the window's clock may be behind.
pub const INPUT_RETENTION: Duration = Duration::from_millis(INPUT_DAYS * DAY_MS);

/// A bucket's number: milliseconds since the Unix epoch divided by the window's bucket span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(pub u32);

/// How long identities are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    bucket_ms: u64,
    promised_buckets: u32,
    margin_buckets: u32,
}

impl Default for Window {
    /// 28 days promised, 2 days of margin for time spent in a host's buffer and for clock skew.
    fn default() -> Self {
        Self { bucket_ms: DAY_MS, promised_buckets: 28, margin_buckets: 2 }
    }
}

impl Window {
    /// A window of other lengths, for tests and small installations. `None` where a length is zero, the margin is
    /// missing, or the buckets are more than 366.
    pub fn try_new(bucket_ms: u64, promised_buckets: u32, margin_buckets: u32) -> Option<Self> {
        let fits = bucket_ms >= 1000
            && promised_buckets >= 1
            && margin_buckets >= 1
            && promised_buckets.saturating_add(margin_buckets) <= 366;
        fits.then_some(Self { bucket_ms, promised_buckets, margin_buckets })
    }

    /// Span of one bucket, milliseconds.
    pub fn bucket_ms(self) -> u64 {
        self.bucket_ms
    }

    /// Buckets within which a repeat is always found.
    pub fn promised_buckets(self) -> u32 {
        self.promised_buckets
    }

    /// Further buckets kept for time in host buffers and for clock skew.
    pub fn margin_buckets(self) -> u32 {
        self.margin_buckets
    }

    /// The bucket a time falls into; times before 1970 count as 1970.
    pub fn at(self, time_ms: i64) -> Bucket {
        let number = u64::try_from(time_ms).unwrap_or(0) / self.bucket_ms;
        Bucket(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// The oldest bucket that is still kept at `clock_ms`.
    pub fn oldest(self, clock_ms: i64) -> Bucket {
        Bucket(self.at(clock_ms).0.saturating_sub(self.promised_buckets + self.margin_buckets))
    }

    /// The newest bucket that an event may be given when it is `newest_ms` at the latest: tomorrow's.
    pub fn newest(self, newest_ms: i64) -> Bucket {
        Bucket(self.at(newest_ms).0.saturating_add(1))
    }

    /// The bucket of an event received at `received_at_ms`: from the oldest kept at the clock, `clock_ms`, to the one after
    /// the latest that it may be now, `newest_ms`.
    pub fn bucket_of(self, received_at_ms: i64, clock_ms: i64, newest_ms: i64) -> Bucket {
        let oldest = self.oldest(clock_ms);
        self.at(received_at_ms).clamp(oldest, self.newest(newest_ms).max(oldest))
    }

    /// Whether an event is too old for the window to know about its repeats. It is published and counted all the same.
    pub fn is_expired(self, received_at_ms: i64, clock_ms: i64) -> bool {
        self.at(received_at_ms) < self.oldest(clock_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 20_000 * DAY_MS as i64 + 5;

    #[test]
    fn buckets_are_clamped_to_the_window() {
        let window = Window::default();
        let day = DAY_MS as i64;
        assert_eq!(window.bucket_of(NOW, NOW, NOW), Bucket(20_000));
        assert_eq!(window.bucket_of(NOW - 30 * day, NOW, NOW), Bucket(19_970));
        assert_eq!(window.bucket_of(NOW - 31 * day, NOW, NOW), Bucket(19_970));
        assert_eq!(window.bucket_of(NOW + 3 * day, NOW, NOW), Bucket(20_001));
        assert_eq!(window.bucket_of(-1, NOW, NOW), Bucket(19_970));
        assert_eq!(window.bucket_of(NOW, NOW - 9 * day, NOW), Bucket(20_000), "a clock that is behind");
        assert_eq!(window.bucket_of(NOW, NOW + 40 * day, NOW), Bucket(20_010), "never older than what is kept");
        assert_eq!(window.at(i64::MAX), Bucket(u32::MAX));
    }

    #[test]
    fn an_event_of_the_promised_days_never_counts_as_expired() {
        let window = Window::default();
        let day = DAY_MS as i64;
        assert!(!window.is_expired(NOW - 28 * day - 1, NOW));
        assert!(!window.is_expired(NOW - 30 * day, NOW));
        assert!(window.is_expired(NOW - 31 * day, NOW));
    }

    #[test]
    fn lengths_have_bounds() {
        assert!(Window::try_new(1000, 1, 1).is_some());
        assert_eq!(Window::try_new(999, 1, 1), None);
        assert_eq!(Window::try_new(1000, 0, 1), None);
        assert_eq!(Window::try_new(1000, 1, 0), None);
        assert_eq!(Window::try_new(1000, 365, 2), None);
    }
}
