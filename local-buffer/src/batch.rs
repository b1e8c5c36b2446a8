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
