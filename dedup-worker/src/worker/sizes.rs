//! How large batches and records may be. Pure.
//!
//! What the topics take is read with their settings; but a broker has the last word, and says of a whole batch only that
//! something in it was too large. So a batch that was refused for its size is halved the next time, down to one record, and
//! that record is then set aside. Batches grow again while they are taken.

use kafka::TopicSettings;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};

/// Bytes of one record, key, value and headers together, that can be written again where nothing else is known: what Kafka
/// takes by default is 1,000,000, less what a reason adds. An event of the ingest has a thirtieth of it.
pub(crate) const RECORD_BYTES_MAX: usize = 900_000;
/// What Kafka adds to a record's own bytes at most: its batch's head, lengths, and a header of ours.
const ADDED_BYTES: usize = 512;
/// Bytes of an entry of the changelog's record: a digest, and its bucket where no two neighbours share one.
const ENTRY_BYTES: usize = 24;
/// Bytes of that record beside its entries, positions of a few hundred partitions among them.
const REST_BYTES: usize = 16 << 10;
/// Batches that have to be taken one after the other before they are made twice as large again.
const TAKEN_MIN: u32 = 64;

/// What the topics take, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes of one record of the output.
    pub(crate) record_bytes: usize,
    /// Records of a batch, by what the changelog takes.
    pub(crate) batch_records: usize,
}

impl Default for Taken {
    fn default() -> Self {
        Self { record_bytes: RECORD_BYTES_MAX, batch_records: usize::MAX }
    }
}

impl Taken {
    /// By the settings of the topics; what is not told is as it is by default.
    pub(crate) fn of<'s>(settings_of: impl Fn(&'static str) -> Option<&'s TopicSettings>) -> Self {
        let bytes = |topic| settings_of(topic).and_then(TopicSettings::record_bytes_max);
        let record = bytes(EVENTS_DEDUPED).map(|bytes| bytes.saturating_sub(ADDED_BYTES));
        let batch = bytes(EVENTS_INDEX).map(|bytes| (bytes.saturating_sub(REST_BYTES) / ENTRY_BYTES).max(1));
        Self {
            record_bytes: record.unwrap_or(usize::MAX).min(RECORD_BYTES_MAX),
            batch_records: batch.unwrap_or(usize::MAX),
        }
    }
}

/// A record of an input: the place of its cluster, its partition and its offset.
pub(crate) type Origin = (usize, u32, u64);

/// How many records the next batch of a lane may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    records_max: usize,
    records: usize,
    taken: u32,
    /// A record that was refused alone.
    too_large: Option<Origin>,
}

impl Size {
    /// As large as batches may ever be.
    pub(crate) fn new(records_max: usize) -> Self {
        Self { records_max, records: records_max, taken: 0, too_large: None }
    }

    /// Records of the next batch at most.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Whether this record is the one that is to be set aside.
    pub(crate) fn is_too_large(&self, origin: Origin) -> bool {
        self.too_large == Some(origin)
    }

    /// A batch of so many records, the first of which was this one, was refused for its size.
    pub(crate) fn refused(&mut self, records: usize, first: Origin) {
        (self.records, self.taken) = ((records / 2).clamp(1, self.records_max), 0);
        if records == 1 {
            self.too_large = Some(first);
        }
    }

    /// A batch was committed.
    pub(crate) fn committed(&mut self) {
        self.taken = if self.records < self.records_max { self.taken + 1 } else { 0 };
        if self.taken >= TAKEN_MIN {
            (self.records, self.taken) = ((self.records * 2).min(self.records_max), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_refused_is_halved_until_one_record_is_left_and_that_is_set_aside() {
        let mut size = Size::new(20_000);
        let (first, mut halvings) = ((1, 7, 42), 0);
        while size.records() > 1 {
            let records = size.records();
            size.refused(records, first);
            assert_eq!(size.records(), records / 2);
            halvings += 1;
        }
        assert_eq!((halvings, size.is_too_large(first)), (14, false));
        size.refused(1, first);
        assert_eq!([first, (0, 7, 42), (1, 7, 43)].map(|origin| size.is_too_large(origin)), [true, false, false]);
        assert_eq!(size.records(), 1);
    }

    #[test]
    fn batches_grow_again_while_they_are_taken() {
        let mut size = Size::new(100);
        size.refused(100, (0, 0, 0));
        (1..TAKEN_MIN).for_each(|_| size.committed());
        assert_eq!(size.records(), 50);
        size.committed();
        assert_eq!(size.records(), 100);
        size.refused(3, (0, 0, 0));
        assert_eq!(size.records(), 1, "a small one tells more than a large one");
    }

    #[test]
    fn what_topics_take_is_read_off_their_settings() {
        let settings = |bytes: &str| TopicSettings::from_iter([("max.message.bytes".to_owned(), bytes.to_owned())]);
        let (deduped, index) = (settings("10512"), settings("40384"));
        let known = |topic: &'static str| match topic {
            EVENTS_DEDUPED => Some(&deduped),
            EVENTS_INDEX => Some(&index),
            _ => None,
        };
        assert_eq!(Taken::of(known), Taken { record_bytes: 10_000, batch_records: 1_000 });
        assert_eq!(Taken::of(|_| None), Taken::default());
        let large = settings("99999999");
        assert_eq!(Taken::of(|_| Some(&large)).record_bytes, RECORD_BYTES_MAX);
    }
}
