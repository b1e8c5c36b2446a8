//! Requests a second of one source: the generic cell rate algorithm, one word a source, the time passed in.
//!
//! The word is the time at which the source will have used up nothing: each request moves it one interval on, and a
//! request is refused when it would lie more than one second ahead. So a source may send one second's worth at once.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};

use crate::sources::Sources;

/// Counters that the sources of open mode share by their hash; two of a hundred sources meet in one case of fourteen.
const OPEN_SLOTS: usize = 65_536;
/// What a source may have used ahead of time.
const BURST_US: i64 = 1_000_000;
/// A word further ahead than this was written by a clock that has since been set back.
const STALE_US: i64 = 60_000_000;

/// The counters of every source.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Microseconds between two requests at the limit.
    interval_us: i64,
    slots: Slots,
}

#[derive(Debug)]
enum Slots {
    Open(RandomState, Box<[AtomicI64]>),
    Configured(HashMap<Vec<u8>, AtomicI64>),
}

impl Limiter {
    /// `None` where there is no limit.
    pub(crate) fn new(per_second: u64, sources: &Sources) -> Option<Self> {
        let interval_us = 1_000_000 / i64::try_from(per_second).ok().filter(|rate| *rate > 0)?;
        let slots = match sources {
            Sources::Open => Slots::Open(RandomState::new(), (0..OPEN_SLOTS).map(|_| AtomicI64::new(0)).collect()),
            Sources::Configured(keys) => {
                Slots::Configured(keys.ids().map(|id| (id.to_vec(), AtomicI64::new(0))).collect())
            }
        };
        Some(Self { interval_us: interval_us.max(1), slots })
    }

    /// Counts a request of the source; where it is one too many, the whole seconds to wait (at least 1).
    pub(crate) fn admit(&self, source: &[u8], now_us: i64) -> Result<(), u32> {
        let slot = match &self.slots {
            Slots::Open(hasher, slots) => &slots[hasher.hash_one(source) as usize % OPEN_SLOTS],
            Slots::Configured(by_source) => match by_source.get(source) {
                Some(slot) => slot,
                None => return Ok(()),
            },
        };
        let next = |used_until: i64| {
            let used_until = if used_until > now_us + STALE_US { now_us } else { used_until.max(now_us) };
            Some(used_until + self.interval_us).filter(|next| *next <= now_us + BURST_US)
        };
        match slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(()),
            Err(used_until) => {
                let wait_us = used_until + self.interval_us - now_us - BURST_US;
                Err((wait_us as u64).div_ceil(1_000_000).max(1) as u32)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        for sources in [Sources::Open, Sources::configured([(&b"k"[..], &b"web"[..])])] {
            let limiter = Limiter::new(10, &sources).unwrap();
            let mut now_us = 1_000_000_000;
            assert!((0..10).all(|_| limiter.admit(b"web", now_us).is_ok()));
            assert_eq!(limiter.admit(b"web", now_us), Err(1));
            now_us += 100_000;
            assert_eq!(limiter.admit(b"web", now_us), Ok(()));
            assert_eq!(limiter.admit(b"web", now_us), Err(1));
            now_us += 1_000_000;
            assert_eq!((0..20).filter(|_| limiter.admit(b"web", now_us).is_ok()).count(), 10);
        }
    }

    #[test]
    fn sources_do_not_share_a_limit() {
        let sources = Sources::configured([(&b"a"[..], &b"web"[..]), (b"b", b"app")]);
        let limiter = Limiter::new(1, &sources).unwrap();
        assert_eq!(limiter.admit(b"web", 0), Ok(()));
        assert_eq!(limiter.admit(b"web", 0), Err(1));
        assert_eq!(limiter.admit(b"app", 0), Ok(()));
    }

    #[test]
    fn a_clock_set_back_does_not_lock_a_source_out() {
        let limiter = Limiter::new(1, &Sources::Open).unwrap();
        assert_eq!(limiter.admit(b"web", 1_000_000_000_000), Ok(()));
        assert_eq!(limiter.admit(b"web", 1_000_000), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        assert!(Limiter::new(0, &Sources::Open).is_none());
    }
}
