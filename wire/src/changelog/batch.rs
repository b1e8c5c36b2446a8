//! One commit: what it published, where, and how far the inputs were read for it.

use super::position::{LogPositions, read_positions, write_positions};
use super::{BATCH, Chain, frame};
use crate::codec::{DecodeError, Fields};
use crate::limits::CHANGELOG_ENTRIES_MAX;
use crate::{Bucket, Digest};

const RUN_HEADER_BYTES: usize = 8;

const NOWHERE: u8 = 0;
const PARTITION: u8 = 1;
const FILE: u8 = 2;

/// Where a batch's output lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// It has none.
    #[default]
    None,
    /// In this partition of the output topic.
    Partition(u32),
    /// Standalone: in a file.
    File(FileRange),
}

/// Where a batch's output lies in an output file of the standalone form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileRange {
    /// The number of the file in which the batch ends.
    pub file: u64,
    /// Byte offset at which it starts in that file.
    pub start: u64,
    /// Byte offset behind it.
    pub end: u64,
}

/// How far the inputs have been read once a batch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<'a> {
    /// The positions.
    pub positions: &'a [LogPositions],
    /// Whether these are all that the changelog has, so that reading may begin here; otherwise those that moved.
    pub is_all: bool,
}

/// A decoded batch; borrows its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The window's clock when the batch was decided, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// How far the inputs have been read once this batch is committed: the partitions that moved. The last record that names
    /// a partition has its position, even where that went back.
    pub positions: Vec<LogPositions>,
    /// Whether they are all that the changelog has.
    pub has_all_positions: bool,
    /// Where its output lies.
    pub output: Output,
    /// Each published identity with its bucket, in the order of the output.
    pub entries: Entries<'a>,
}

/// A batch's entries as they lie in the record: runs of digests that share a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entries<'a> {
    runs: &'a [u8],
    count: usize,
}

/// Appends a batch record to `out`. Neighbouring entries of one bucket share its number: 16 bytes an entry and 8 for
/// every change of bucket.
///
/// # Panics
/// Where there are more entries than [`CHANGELOG_ENTRIES_MAX`], or the positions are out of bounds.
pub fn encode_batch(
    out: &mut Vec<u8>,
    (lane, chain): (u32, Chain),
    clock_ms: i64,
    moved: Moved<'_>,
    output: Output,
    entries: &[(Digest, Bucket)],
) {
    assert!(entries.len() <= CHANGELOG_ENTRIES_MAX, "a batch holds at most {CHANGELOG_ENTRIES_MAX} entries");
    frame(out, BATCH, lane, chain, |out| {
        out.extend_from_slice(&clock_ms.to_le_bytes());
        out.push(u8::from(moved.is_all));
        write_positions(out, moved.positions);
        output.write(out);
        out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
        for run in entries.chunk_by(|one, next| one.1 == next.1) {
            out.extend_from_slice(&run[0].1.0.to_le_bytes());
            out.extend_from_slice(&(run.len() as u32).to_le_bytes());
            for (digest, _) in run {
                out.extend_from_slice(&digest.to_bytes());
            }
        }
    });
}

impl<'a> Batch<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Result<Self, DecodeError> {
        let clock_ms = fields.i64()?;
        let has_all_positions = match fields.u8()? {
            flag @ 0..=1 => flag == 1,
            _ => return Err(DecodeError::Field("all positions")),
        };
        let positions = read_positions(fields)?;
        let output = Output::read(fields)?;
        let count = fields.u32()? as usize;
        if count > CHANGELOG_ENTRIES_MAX {
            return Err(DecodeError::Field("entries"));
        }
        let runs = fields.0;
        let mut seen = 0;
        while seen < count {
            fields.u32()?;
            let length = fields.u32()? as usize;
            if length == 0 || length > count - seen {
                return Err(DecodeError::Field("run length"));
            }
            fields.bytes(length * Digest::BYTES)?;
            seen += length;
        }
        Ok(Self {
            clock_ms,
            positions,
            has_all_positions,
            output,
            entries: Entries { runs: &runs[..runs.len() - fields.0.len()], count },
        })
    }
}

impl Output {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.push(NOWHERE),
            Self::Partition(partition) => {
                out.push(PARTITION);
                out.extend_from_slice(&partition.to_le_bytes());
            }
            Self::File(FileRange { file, start, end }) => {
                out.push(FILE);
                for field in [file, start, end] {
                    out.extend_from_slice(&field.to_le_bytes());
                }
            }
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        match fields.u8()? {
            NOWHERE => Ok(Self::None),
            PARTITION => Ok(Self::Partition(fields.u32()?)),
            FILE => Ok(Self::File(FileRange { file: fields.u64()?, start: fields.u64()?, end: fields.u64()? })),
            _ => Err(DecodeError::Field("output")),
        }
    }
}

impl<'a> Entries<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the batch published nothing.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each entry, in the order of the output.
    pub fn iter(&self) -> impl Iterator<Item = (Digest, Bucket)> + use<'a> {
        let mut runs = self.runs;
        std::iter::from_fn(move || {
            let (header, rest) = runs.split_first_chunk::<RUN_HEADER_BYTES>()?;
            let [b0, b1, b2, b3, l0, l1, l2, l3] = *header;
            let bucket = Bucket(u32::from_le_bytes([b0, b1, b2, b3]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (digests, rest) = rest.split_at(length * Digest::BYTES);
            runs = rest;
            Some((bucket, digests))
        })
        .flat_map(|(bucket, digests)| {
            digests.as_chunks::<{ Digest::BYTES }>().0.iter().map(move |bytes| (Digest::from_bytes(*bytes), bucket))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Framed, Position, Record};
    use super::*;

    fn positions() -> Vec<LogPositions> {
        let partitions = vec![Position { partition: 6, leader_epoch: -1, next_offset: 99, appended_ms: 5 }];
        vec![LogPositions { cluster_id: b"one".to_vec(), topic_id: [7; 16], partitions }]
    }

    fn batch(entries: &[(Digest, Bucket)], is_all: bool, output: Output) -> Vec<u8> {
        let mut bytes = Vec::new();
        let moved = Moved { positions: &positions(), is_all };
        encode_batch(&mut bytes, (2, Chain::default()), 1_000, moved, output, entries);
        bytes
    }

    #[test]
    fn entries_come_back_in_their_order() {
        let entries: Vec<_> = [(1, 5), (2, 5), (3, 6), (4, 5)].map(|(d, b)| (Digest(d), Bucket(b))).into();
        let file = Output::File(FileRange { file: 1, start: 10, end: 20 });
        for (output, is_all) in [(Output::None, true), (Output::Partition(6), false), (file, true)] {
            let bytes = batch(&entries, is_all, output);
            let Framed { lane, record: Record::Batch(batch), .. } = Framed::decode(&bytes).unwrap() else {
                panic!("a batch")
            };
            assert_eq!((lane, batch.clock_ms, batch.output, batch.has_all_positions), (2, 1_000, output, is_all));
            assert_eq!(batch.positions, positions());
            assert_eq!(batch.entries.len(), 4);
            assert_eq!(batch.entries.iter().collect::<Vec<_>>(), entries);
        }
    }

    #[test]
    fn a_full_batch_stays_below_kafkas_default_message_size() {
        let entries: Vec<_> = (0..CHANGELOG_ENTRIES_MAX as u128).map(|n| (Digest(n), Bucket(1))).collect();
        let bytes = batch(&entries, false, Output::None);
        assert!(bytes.len() < 1_000_000, "{}", bytes.len());
        let Framed { record: Record::Batch(batch), .. } = Framed::decode(&bytes).unwrap() else { panic!("a batch") };
        assert!(batch.entries.iter().eq(entries));
    }

    #[test]
    #[should_panic(expected = "at most 40000 entries")]
    fn more_entries_than_the_limit_are_a_bug() {
        batch(&vec![(Digest(1), Bucket(1)); CHANGELOG_ENTRIES_MAX + 1], false, Output::None);
    }
}
