//! Records on their way out, in memory that is used again and again.

use crate::id::RecordId;

/// Records that [`crate::Reader::read`] delivered. Keep one and pass it again: once it is warm nothing is allocated.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Id of each record, and where it ends in `bytes`.
    entries: Vec<(RecordId, usize)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that there is memory for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (RecordId, &[u8])> + Clone {
        self.entries.iter().enumerate().map(|(index, (id, end))| {
            let start = index.checked_sub(1).map_or(0, |before| self.entries[before].1);
            (*id, &self.bytes[start..*end])
        })
    }

    /// The id after the last record; what to acknowledge when all are done. `None` if there are none.
    pub fn end(&self) -> Option<RecordId> {
        self.entries.last().map(|(id, _)| id.next())
    }

    /// Gives back memory that it grew to for more than it holds now, if that is more than half. For whoever keeps many
    /// batches at once: they then take at most twice their bytes.
    pub fn trim(&mut self) {
        if self.bytes.capacity() / 2 > self.bytes.len() {
            self.bytes.shrink_to_fit();
        }
        if self.entries.capacity() / 2 > self.entries.len() {
            self.entries.shrink_to_fit();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    pub(crate) fn extend(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Makes one record of what was added since the last one.
    pub(crate) fn finish(&mut self, id: RecordId) {
        self.entries.push((id, self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(bytes: usize, records: u64) -> Batch {
        let mut batch = Batch::new();
        for id in 0..records {
            batch.extend(&vec![id as u8; bytes]);
            batch.finish(RecordId::from_u64(id));
        }
        batch
    }

    #[test]
    fn a_trimmed_batch_has_its_records_and_little_more_memory() {
        let mut batch = filled(1000, 1000);
        let capacity = batch.bytes.capacity();
        batch.trim();
        assert_eq!(batch.bytes.capacity(), capacity, "what is in use stays");
        batch.clear();
        batch.extend(b"one");
        batch.finish(RecordId::from_u64(7));
        batch.trim();
        assert!(batch.bytes.capacity() < 16 && batch.entries.capacity() < 4, "{}", batch.bytes.capacity());
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(RecordId::from_u64(7), &b"one"[..])]);
    }
}
