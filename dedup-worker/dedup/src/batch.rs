//! Batches that are decided and not yet committed.

use wire::{Bucket, Digest};

use crate::fingerprint::Entry;
use crate::open::table::{Inserted, OpenTable};

/// A decided batch, to be written to the changelog and then committed. Dropping it changes nothing: what it decided
/// stays until [`Index::commit`](crate::Index::commit) or [`Index::discard`](crate::Index::discard).
#[derive(Debug)]
#[must_use = "a decided batch is either committed or discarded"]
pub struct DecidedBatch {
    pub(crate) number: u64,
    pub(crate) clock_ms: i64,
    pub(crate) entries: Vec<(Digest, Bucket)>,
}

impl DecidedBatch {
    /// Each published identity with its bucket, in the order of the candidates: the entries of the changelog record.
    pub fn entries(&self) -> &[(Digest, Bucket)] {
        &self.entries
    }

    /// The window's clock it was decided at, milliseconds since the Unix epoch.
    pub fn clock_ms(&self) -> i64 {
        self.clock_ms
    }
}

/// What the index remembers of it: enough to take it back.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) number: u64,
    pub(crate) clock_ms: i64,
    entries: Vec<Entry>,
    /// Expired entries that a new one took the place of.
    replaced: Vec<Entry>,
}

impl Pending {
    /// Begins a batch in buffers that may have served another.
    pub(crate) fn begin(&mut self, number: u64, clock_ms: i64) {
        self.entries.clear();
        self.replaced.clear();
        (self.number, self.clock_ms) = (number, clock_ms);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.replaced.len()
    }

    /// Enters `entry` into the open table, where it counts at once: for repeats in the same batch and in the next.
    pub(crate) fn insert(&mut self, open: &mut OpenTable, entry: Entry) {
        match open.insert(entry) {
            Inserted::New => {}
            Inserted::Raised { from } => self.replaced.push(Entry::new(entry.fingerprint(), from)),
            // Cannot be: what is as new as that was a duplicate.
            Inserted::Kept => return,
        }
        self.entries.push(entry);
    }

    /// Takes everything back.
    pub(crate) fn undo(&self, open: &mut OpenTable) {
        for entry in &self.entries {
            open.remove(entry.fingerprint());
        }
        for entry in &self.replaced {
            open.insert(*entry);
        }
    }

    /// Enters everything again after an [`undo`](Self::undo). What it had replaced may since have been sealed.
    pub(crate) fn redo(&mut self, open: &mut OpenTable) {
        self.replaced.clear();
        for entry in &self.entries {
            if let Inserted::Raised { from } = open.insert(*entry) {
                self.replaced.push(Entry::new(entry.fingerprint(), from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprint;
    use crate::open::Ascending as _;

    fn entry(number: u128, bucket: u32) -> Entry {
        Entry::new(Fingerprint::from_bits(number << 40), Bucket(bucket))
    }

    #[test]
    fn what_is_undone_leaves_what_was_there_before() {
        let mut open = OpenTable::new(1);
        open.insert(entry(1, 5));
        let before: Vec<_> = open.iter().collect();

        let mut pending = Pending::default();
        pending.begin(1, 0);
        for new in [entry(1, 40), entry(2, 40)] {
            pending.insert(&mut open, new);
        }
        let after: Vec<_> = open.iter().collect();
        assert_eq!((pending.len(), after.len()), (1, 2));

        pending.undo(&mut open);
        assert!(open.iter().eq(before));
        pending.redo(&mut open);
        assert!(open.iter().eq(after));

        // Sealed in between: nothing is left to be replaced.
        pending.undo(&mut open);
        open.clear();
        pending.redo(&mut open);
        assert_eq!((pending.len(), open.len()), (2, 2));
        pending.undo(&mut open);
        assert_eq!(open.len(), 0);
    }
}
