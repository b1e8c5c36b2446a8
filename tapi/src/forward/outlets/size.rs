//! How many bytes are sent to one partition at once. Pure.
//!
//! A broker refuses a batch that is larger than its topic takes, whole, whatever its records are. Each of them then goes out
//! alone, so that the one that is at fault is found, at a tenth of the speed. So batches are fitted to what the topic's settings
//! say. Where those are not told, or are older than the topic's newest ones, a batch that is refused halves the next ones.

use kafka::BATCH_BYTES;

/// What is left to what Kafka adds to a batch.
const ADDED_BYTES: usize = 512;
/// Batches are not made smaller than this by being refused: an event of the ingest may have twice as much.
const HALVED_MIN: usize = 16 << 10;

/// How many bytes are sent to one partition of a cluster at once.
#[derive(Debug)]
pub(super) struct Size {
    bytes: usize,
    /// What the settings said.
    told: Option<usize>,
    /// The track of the record that was refused for its size last, and how many of the same came before it.
    refused: Option<(usize, u32)>,
}

impl Size {
    /// Nothing is known of the topic.
    pub(super) fn new() -> Self {
        Self { bytes: BATCH_BYTES, told: None, refused: None }
    }

    /// Bytes of a batch, at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The topic takes so many bytes at once, by its settings; `None` where they are not told.
    pub(super) fn told(&mut self, bytes: Option<usize>) {
        if let Some(bytes) = bytes.filter(|bytes| self.told.replace(*bytes) != Some(*bytes)) {
            self.bytes = bytes.saturating_sub(ADDED_BYTES).clamp(1, BATCH_BYTES);
        }
    }

    /// What comes back from here on is of other batches.
    pub(super) fn begin(&mut self) {
        self.refused = None;
    }

    /// A record of so many bytes was refused for its size, or for that of its batch. One that is larger than a batch may be was
    /// sent alone and says nothing of batches; nor does one alone of the others, which may be larger than it seems.
    pub(super) fn refused(&mut self, track: usize, bytes: usize) {
        if bytes + ADDED_BYTES > self.bytes {
            return;
        }
        let before = self.refused.filter(|(of, _)| *of == track).map_or(0, |(_, count)| count);
        self.refused = Some((track, before + 1));
        // Once for all that come back together.
        if before == 1 {
            self.bytes = (self.bytes / 2).max(HALVED_MIN.min(self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_fitted_to_what_the_settings_say() {
        let mut size = Size::new();
        assert_eq!(size.bytes(), BATCH_BYTES);
        size.told(None);
        size.told(Some(1_048_588));
        assert_eq!(size.bytes(), BATCH_BYTES);
        size.told(Some(4_000));
        assert_eq!(size.bytes(), 3_488);
        size.told(Some(100));
        assert_eq!(size.bytes(), 1, "each record alone");
    }

    #[test]
    fn a_batch_that_is_refused_halves_the_next_ones_until_settings_say_otherwise() {
        let mut size = Size::new();
        (0..9).for_each(|_| size.refused(3, 700));
        assert_eq!(size.bytes(), 500_000);
        size.begin();
        (0..2).for_each(|_| size.refused(3, 700));
        assert_eq!(size.bytes(), 250_000);
        for _ in 0..20 {
            size.begin();
            (0..2).for_each(|_| size.refused(3, 700));
        }
        assert_eq!(size.bytes(), HALVED_MIN);
        size.told(Some(900_000));
        assert_eq!(size.bytes(), 899_488);
        size.begin();
        (0..2).for_each(|_| size.refused(3, 700));
        size.told(Some(900_000));
        assert_eq!(size.bytes(), 449_744, "they were no help");
    }

    #[test]
    fn a_record_that_is_too_large_itself_says_nothing_of_batches() {
        let mut size = Size::new();
        (0..9).for_each(|track| size.refused(track, 700));
        (0..9).for_each(|_| size.refused(3, BATCH_BYTES));
        assert_eq!(size.bytes(), BATCH_BYTES);
    }
}
