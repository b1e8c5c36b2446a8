//! A log in memory.

use std::convert::Infallible;
use std::fmt::Debug;
use std::ops::{ControlFlow, Range};

use changelog::{Log, LogId, Placed, Point, Start};
use wire::changelog::checksum_of;

use crate::Bench;

/// A log in memory. A record takes one offset, and so does the mark that ends each commit, as in a topic of Kafka.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Names it.
    pub id: LogId,
    /// First offset that is there and the one behind the last.
    pub bounds: Range<u64>,
    /// Its records.
    pub records: Vec<(Placed, Vec<u8>)>,
}

impl Memory {
    /// An empty log.
    pub fn new(id: LogId) -> Self {
        Self { id, bounds: 0..0, records: Vec::new() }
    }

    /// A log with the records of another one at their places, and its id.
    ///
    /// # Panics
    /// Where that cannot be read.
    pub fn copy_of(log: &mut impl Log<Error: Debug>) -> Self {
        let mut records = Vec::new();
        log.read(Start::First, &mut |placed, bytes| {
            records.push((placed, bytes.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        Self { id: log.id(), bounds: log.bounds().unwrap(), records }
    }

    /// Commits records.
    pub fn append(&mut self, records: &[Vec<u8>]) {
        for record in records {
            let offset = self.bounds.end;
            let next = Point { next_offset: offset + 1, leader_epoch: -1, checksum: checksum_of(record) };
            self.records.push((Placed { offset, next, appended_ms: None }, record.clone()));
            self.bounds.end += 1;
        }
        self.bounds.end += 1;
    }

    /// Forgets all but the first `count` records.
    pub fn cut_behind(&mut self, count: usize) {
        self.records.truncate(count);
        self.bounds.end = self.records.last().map_or(self.bounds.start, |(placed, _)| placed.next.next_offset);
    }
}

impl Log for Memory {
    type Error = Infallible;

    fn id(&self) -> LogId {
        self.id
    }

    fn bounds(&mut self) -> Result<Range<u64>, Infallible> {
        Ok(self.bounds.clone())
    }

    fn read(&mut self, start: Start, each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>) -> Result<(), Infallible> {
        let end_min = match start {
            Start::First => 0,
            Start::Before(end) => end,
        };
        for (placed, bytes) in self.records.iter().filter(|(placed, _)| placed.next.next_offset >= end_min) {
            if each(*placed, bytes).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Makes logs in memory.
#[derive(Debug)]
pub struct MemoryBench(Memory);

impl Default for MemoryBench {
    fn default() -> Self {
        Self(Memory::new(LogId([0; 16])))
    }
}

impl Bench for MemoryBench {
    type Error = Infallible;
    type Log<'b> = Memory;

    fn begin(&mut self) -> u32 {
        let number = u128::from_le_bytes(self.0.id.0) + 1;
        self.0 = Memory::new(LogId(number.to_le_bytes()));
        0
    }

    fn append(&mut self, records: &[Vec<u8>]) {
        self.0.append(records);
    }

    fn drop_first(&mut self, count: usize) {
        if let Some((last, _)) = self.0.records.drain(..count).next_back() {
            self.0.bounds.start = last.next.next_offset;
        }
    }

    fn log(&mut self) -> Memory {
        self.0.clone()
    }
}
