//! The decision, as a function of values: what the index knows, when the event was received, what the clock says.
//!
//! | known in a bucket that is kept | received before the oldest kept bucket | verdict |
//! |---|---|---|
//! | yes | no | duplicate |
//! | yes | yes | duplicate: what is known wins over what is old |
//! | no | no | new |
//! | no | yes | expired: published and counted, and recorded in the oldest kept bucket |
//!
//! An identity known only in a bucket that is no longer kept is not known: whether its run has been dropped yet is a
//! matter of housekeeping and must not show in a verdict.

use wire::{Bucket, Window};

/// What becomes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Not seen within the window: published.
    New,
    /// Seen within the window: dropped.
    Duplicate,
    /// Older than the window and not known, so that nobody can say: published and counted.
    Expired,
}

impl Verdict {
    /// Whether the event goes to the output and its identity to the changelog.
    pub fn is_published(self) -> bool {
        self != Self::Duplicate
    }
}

/// The verdict on an event that was received at `received_at_ms`, its identity `known` in a bucket or not at all,
/// at `clock_ms` (both milliseconds since the Unix epoch).
pub fn verdict(window: Window, known: Option<Bucket>, received_at_ms: i64, clock_ms: i64) -> Verdict {
    if known.is_some_and(|bucket| bucket >= window.oldest(clock_ms)) {
        Verdict::Duplicate
    } else if window.is_expired(received_at_ms, clock_ms) {
        Verdict::Expired
    } else {
        Verdict::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 3 buckets promised, 1 of margin: at the start of bucket 10 the oldest kept one is 6.
    const NOW: i64 = 10_000;

    #[test]
    fn truth_table() {
        let window = Window::try_new(1000, 3, 1).unwrap();
        let kept = Some(Bucket(6));
        let gone = Some(Bucket(5));
        for (known, received_at_ms, expected) in [
            (kept, 10_000, Verdict::Duplicate),
            (kept, 5_999, Verdict::Duplicate),
            (None, 10_000, Verdict::New),
            (None, 6_000, Verdict::New),
            (None, 5_999, Verdict::Expired),
            (None, -1, Verdict::Expired),
            (gone, 10_000, Verdict::New),
            (gone, 5_999, Verdict::Expired),
            (Some(Bucket(11)), 10_000, Verdict::Duplicate),
        ] {
            assert_eq!(verdict(window, known, received_at_ms, NOW), expected, "{known:?} {received_at_ms}");
        }
    }

    #[test]
    fn the_windows_edge_is_the_start_of_a_bucket() {
        let window = Window::try_new(1000, 3, 1).unwrap();
        let known = Some(Bucket(6));
        assert_eq!(verdict(window, known, 10_999, 10_999), Verdict::Duplicate);
        assert_eq!(verdict(window, known, 11_000, 11_000), Verdict::New);
    }

    #[test]
    fn only_duplicates_are_held_back() {
        assert_eq!(
            [Verdict::New, Verdict::Duplicate, Verdict::Expired].map(Verdict::is_published),
            [true, false, true]
        );
    }
}
