//! The changelog in memory, as real bytes.

use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use changelog::{Log, LogId, Placed, Point, Start};
use wire::changelog::checksum_of;

/// The changelog; a copy of it is what a reader measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    bounds: Range<u64>,
    records: Vec<(Placed, Rc<[u8]>)>,
}

impl Truth {
    /// Commits a record, at the time of the broker. It takes an offset, and so does the mark of its transaction.
    pub(crate) fn append(&mut self, record: &Rc<[u8]>, now_ms: i64) -> Point {
        let offset = self.bounds.end;
        let next = Point { next_offset: offset + 1, leader_epoch: -1, checksum: checksum_of(record) };
        self.records.push((Placed { offset, next, appended_ms: Some(now_ms) }, Rc::clone(record)));
        self.bounds.end += 2;
        next
    }

    /// A record that was aborted takes its offsets all the same.
    pub(crate) fn abort(&mut self) {
        self.bounds.end += 2;
    }

    /// First offset that is there.
    pub(crate) fn begin(&self) -> u64 {
        self.bounds.start
    }

    /// Offset behind everything.
    pub(crate) fn end(&self) -> u64 {
        self.bounds.end
    }

    /// Deletes what lies before an offset.
    pub(crate) fn delete_before(&mut self, offset: u64) {
        self.records.retain(|(placed, _)| placed.offset >= offset);
        self.bounds.start = self.bounds.start.max(offset);
    }

    /// Each record, the oldest first.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Placed, &[u8])> {
        self.records.iter().map(|(placed, bytes)| (*placed, &**bytes))
    }
}

impl Log for Truth {
    type Error = Infallible;

    fn id(&self) -> LogId {
        LogId([7; 16])
    }

    fn bounds(&mut self) -> Result<Range<u64>, Infallible> {
        Ok(self.bounds.clone())
    }

    fn read(&mut self, start: Start, each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>) -> Result<(), Infallible> {
        let end_min = match start {
            Start::First => 0,
            Start::Before(end) => end,
        };
        for (placed, bytes) in self.records().filter(|(placed, _)| placed.next.next_offset >= end_min) {
            if each(placed, bytes).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Hash for Truth {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.bounds.hash(hasher);
        for (placed, _) in &self.records {
            (placed.offset, placed.next.checksum).hash(hasher);
        }
    }
}
