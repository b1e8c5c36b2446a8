//! The ledger as a log that an index is made from.

use std::ops::{ControlFlow, Range};

use changelog::{Log, LogId, Placed, Start};
use wire::changelog::checksum_of;

use super::file::{LedgerFile, offsets, records};
use super::{Ledger, LedgerError, point};

impl Log for Ledger {
    type Error = LedgerError;

    fn id(&self) -> LogId {
        self.id()
    }

    fn bounds(&mut self) -> Result<Range<u64>, LedgerError> {
        Ok(self.start()?..self.end.next_offset)
    }

    fn read(
        &mut self,
        start: Start,
        each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let bases = offsets(&self.dir)?;
        // A record that ends where a file begins lies in the file before it.
        let (end_min, first) = match start {
            Start::First => (0, 0),
            Start::Before(end) => (end, bases.partition_point(|&base| base < end).saturating_sub(1)),
        };
        let mut expected = None;
        for &base in &bases[first..] {
            if let Some(from) = expected.filter(|&from| from != base) {
                return Err(LedgerError::Gap { from, to: base });
            }
            let file = LedgerFile::open(&self.dir, base)?;
            let bytes = file.read()?;
            for (at, encoded, record) in records(&bytes, &file.path) {
                record?;
                let offset = base + at;
                let next = point(offset + encoded.len() as u64, checksum_of(encoded));
                if next.next_offset < end_min {
                    continue;
                }
                if each(Placed { offset, next, appended_ms: None }, encoded).is_break() {
                    return Ok(());
                }
            }
            expected = Some(base + file.length);
        }
        Ok(())
    }
}
