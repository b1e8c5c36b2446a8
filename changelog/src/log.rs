//! A log: records in an order that never changes, each behind the one before.

use std::ops::{ControlFlow, Range};

/// 16 bytes that no other log has: of a partition of a topic, or of one ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

/// A place between two records, and what tells whether it still is the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Offset behind the record before it: where the next one begins, or a later one.
    pub next_offset: u64,
    /// Leader epoch of the record before it; -1 where there is none, as in a log on disk.
    pub leader_epoch: i32,
    /// Checksum that the record before it ends with.
    pub checksum: u64,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its offset.
    pub offset: u64,
    /// The place behind it.
    pub next: Point,
    /// When it was appended, by the log's own clock, milliseconds since the Unix epoch; `None` where it has none.
    pub appended_ms: Option<i64>,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The first record that is there.
    First,
    /// The record that ends at this offset, so that it can be seen to be the same as before; the first one behind it
    /// where no record ends there.
    Before(u64),
}

/// A log that can be read. Its records end with eight bytes of checksum.
pub trait Log {
    /// Why it cannot be read now; passes by itself, and the caller tries again.
    type Error;

    /// Names it.
    fn id(&self) -> LogId;

    /// First offset that is there and the offset behind the last, as it was when its end was measured, behind the fence.
    ///
    /// # Errors
    /// Where the log cannot be asked.
    fn bounds(&mut self) -> Result<Range<u64>, Self::Error>;

    /// Hands each record from `start` to the measured end to `each`, with its place, until that breaks off.
    ///
    /// # Errors
    /// Where the measured end is not reached: it is never short.
    fn read(&mut self, start: Start, each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>)
    -> Result<(), Self::Error>;
}
