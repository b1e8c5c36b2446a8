//! Records that say what they are: appender, number, and bytes that follow from both.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Who appended a record, and its number among those of that appender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) appender: u64,
    pub(crate) number: u64,
}

impl Name {
    /// The record.
    pub(crate) fn record(self) -> Vec<u8> {
        let mut random = SmallRng::seed_from_u64(self.appender.wrapping_mul(0x9e37_79b9).wrapping_add(self.number));
        let bytes = match random.random_range(0..20) {
            0 => random.random_range(0..20_000),
            1..4 => random.random_range(0..4_000),
            _ => random.random_range(0..700),
        };
        let mut record = vec![0; 16 + bytes];
        random.fill(&mut record[16..]);
        record[..8].copy_from_slice(&self.appender.to_le_bytes());
        record[8..16].copy_from_slice(&self.number.to_le_bytes());
        record
    }

    /// The name that a record says it has, if all of its bytes follow from that.
    pub(crate) fn of(record: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
        let name = Self { appender: word(0)?, number: word(8)? };
        (name.record() == record).then_some(name)
    }
}
