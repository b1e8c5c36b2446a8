//! How long topics keep their records, and have to.

use std::time::Duration;

use super::rules::RETENTION_MS;
use crate::Window;
use crate::window::DAY_MS;

/// How long `events` keeps an event, unless an installation decides otherwise: the longest that all workers, or the
/// output, may be away.
pub const EVENTS_RETENTION_MIN: Duration = Duration::from_millis(INPUT_DAYS * DAY_MS);

const INPUT_DAYS: u64 = 7;
/// Days in which a rebuild that has just begun comes to what is the next to be deleted.
const REBUILD_DAYS: u64 = 2;

/// What a record has to outlast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The time that an event may wait in `events`.
    Input,
    /// The window and its margin, the time that an event may wait in `events`, and that of a rebuild.
    Window,
}

/// How long these are in one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    input_ms: u64,
    window_ms: u64,
}

impl Default for Retention {
    /// 7 and 39 days.
    fn default() -> Self {
        Self::new(Window::default(), EVENTS_RETENTION_MIN)
    }
}

impl Retention {
    /// Those of a changelog with this window, where `events` has to keep an event for `events_min`.
    pub fn new(window: Window, events_min: Duration) -> Self {
        let kept_buckets = u64::from(window.promised_buckets() + window.margin_buckets());
        let kept_ms = kept_buckets.saturating_mul(window.bucket_ms());
        Self {
            input_ms: u64::try_from(events_min.as_millis()).unwrap_or(u64::MAX),
            window_ms: kept_ms.saturating_add((INPUT_DAYS + REBUILD_DAYS) * DAY_MS),
        }
    }

    /// Milliseconds that a record is kept at least.
    pub fn least_ms(self, span: Span) -> u64 {
        match span {
            Span::Input => self.input_ms,
            Span::Window => self.window_ms,
        }
    }
}

/// How long a topic with these settings keeps a record; `None` where that is for ever, or where the broker does not tell.
pub fn kept_for(found: &[(&str, &str)]) -> Option<Duration> {
    let (_, value) = found.iter().find(|(setting, _)| *setting == RETENTION_MS)?;
    value.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changelog_outlives_the_window_and_what_an_input_can_still_bring() {
        let least_ms = |window| Retention::new(window, Duration::ZERO).least_ms(Span::Window);
        assert_eq!(least_ms(Window::default()), 39 * DAY_MS);
        assert_eq!(least_ms(Window::try_new(60_000, 5, 1).unwrap()), 6 * 60_000 + 9 * DAY_MS);
        assert_eq!(least_ms(Window::try_new(u64::MAX, 1, 1).unwrap()), u64::MAX);
    }

    #[test]
    fn how_long_a_topic_keeps_a_record() {
        assert_eq!(kept_for(&[("cleanup.policy", "delete"), ("retention.ms", "1000")]), Some(Duration::from_secs(1)));
        assert_eq!(kept_for(&[("retention.ms", "-1")]), None, "for ever");
        assert_eq!(kept_for(&[]), None);
    }
}
