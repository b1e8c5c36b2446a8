//! An event's points in time: what the client said, and what is true as far as the server can tell.
//!
//! The client's clock may be wrong, but by the same amount in `timestamp` and `sentAt`; so the event happened
//! `sentAt - timestamp` before it was received. What the client said stays, as `originalTimestamp` and `sentAt`.

use super::calendar::Calendar;
use super::document::Value;
use super::envelope::{BatchEnvelope, instant};
use super::event::Event;
use super::names::Name;
use super::text::Decoder;
use super::timestamp;

/// The points in time of one event.
pub(super) struct Times {
    /// When it happened by the server's clock, milliseconds since the Unix epoch.
    pub(super) timestamp_ms: i64,
    /// When it happened by the client's, as the client wrote it, and the member that says so.
    pub(super) original: Option<(Name, Value)>,
    /// Whether the client said something of time that cannot be read, here or in `sentAt`.
    pub(super) is_unreadable: bool,
}

impl Times {
    pub(super) fn of(
        event: Event<'_>,
        envelope: &BatchEnvelope,
        received_at_ms: i64,
        calendar: &mut Calendar,
        decoder: &mut Decoder,
    ) -> Self {
        let original = [Name::Timestamp, Name::OriginalTimestamp]
            .into_iter()
            .find_map(|name| event.filled(name).map(|value| (name, value)));
        let original_ms = original.and_then(|(_, value)| instant(event.document, value, calendar, decoder));
        let (sent_at_ms, has_sent_at) = match event.filled(Name::SentAt) {
            Some(value) => (instant(event.document, value, calendar, decoder), true),
            None => (envelope.sent_at_ms, !envelope.sent_at.is_empty()),
        };
        let is_unreadable = (original.is_some() && original_ms.is_none()) || (has_sent_at && sent_at_ms.is_none());
        Self { timestamp_ms: corrected(original_ms, sent_at_ms, received_at_ms), original, is_unreadable }
    }
}

/// Events of one request with an unreadable point in time, by source.
#[derive(Default)]
pub(super) struct UnreadableTimes {
    /// The sources, back to back.
    sources: Vec<u8>,
    /// Where each of them ends, and how many events it has.
    rows: Vec<(usize, usize)>,
}

/// Sources of one request that are told apart; the events of further ones count for the last.
const SOURCES_MAX: usize = 16;

impl UnreadableTimes {
    pub(super) fn clear(&mut self) {
        self.sources.clear();
        self.rows.clear();
    }

    pub(super) fn count(&mut self, source: &[u8]) {
        let is_last = self.iter().last().is_some_and(|(last, _)| last == source);
        if !is_last && self.rows.len() < SOURCES_MAX {
            self.sources.extend_from_slice(source);
            self.rows.push((self.sources.len(), 0));
        }
        if let Some((_, events)) = self.rows.last_mut() {
            *events += 1;
        }
    }

    /// Each source and its number of events; one source may come more than once.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.rows.iter().enumerate().map(|(index, &(end, events))| {
            let start = index.checked_sub(1).map_or(0, |before| self.rows[before].0);
            (&self.sources[start..end], events)
        })
    }
}

/// When an event happened by the server's clock.
fn corrected(original_ms: Option<i64>, sent_at_ms: Option<i64>, received_at_ms: i64) -> i64 {
    let timestamp_ms = match (original_ms, sent_at_ms) {
        (None, _) => received_at_ms,
        (Some(original), None) => original,
        (Some(original), Some(sent_at)) => received_at_ms.saturating_sub(sent_at.saturating_sub(original)),
    };
    if timestamp::is_writable(timestamp_ms) { timestamp_ms } else { received_at_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_clock_is_taken_out() {
        assert_eq!(corrected(Some(100), Some(150), 1_000), 950);
        assert_eq!(corrected(Some(200), Some(150), 1_000), 1_050, "an event from the client's future");
        assert_eq!(corrected(Some(100), None, 1_000), 100);
        assert_eq!(corrected(None, Some(150), 1_000), 1_000);
        assert_eq!(corrected(None, None, 1_000), 1_000);
    }

    #[test]
    fn unreadable_times_are_counted_by_source() {
        let mut times = UnreadableTimes::default();
        for source in ["web", "web", "ios", "web"] {
            times.count(source.as_bytes());
        }
        assert_eq!(times.iter().collect::<Vec<_>>(), [(&b"web"[..], 2), (b"ios", 1), (b"web", 1)]);
        (0..2 * SOURCES_MAX).for_each(|index| times.count(&[index as u8]));
        assert_eq!(times.iter().count(), SOURCES_MAX);
        assert_eq!(times.iter().map(|(_, events)| events).sum::<usize>(), 4 + 2 * SOURCES_MAX);
        times.clear();
        assert_eq!(times.iter().count(), 0);
    }

    #[test]
    fn absurd_years_fall_back_to_the_time_of_receipt() {
        let year = |text: &[u8]| timestamp::parse(text);
        let received = 1_795_235_136_126;
        assert_eq!(corrected(year(b"0001-01-01"), year(b"9999-12-31"), received), received);
        assert_eq!(corrected(year(b"9999-12-31"), year(b"0001-01-01"), received), received);
        assert_eq!(corrected(Some(i64::MIN), Some(i64::MAX), received), received);
    }
}
