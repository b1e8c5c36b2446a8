//! One commit: what it published, where, and how far the inputs were read for it.

use super::position::{Position, read_positions, write_positions};
use super::{BATCH, frame};
use crate::codec::{DecodeError, Fields};
use crate::limits::CHANGELOG_ENTRIES_MAX;
use crate::{Bucket, Digest};

const RUN_HEADER_BYTES: usize = 8;

/// Where a batch's output lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputRange {
    /// Standalone: the number of the output file in which the batch ends; Kafka: 0, the partition is the batch's own.
    pub log: u64,
    /// First offset of the batch; standalone: byte offset at which it starts in that file.
    pub start: u64,
    /// Offset behind the batch.
    pub end: u64,
}

/// A decoded batch; borrows its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The window's clock when the batch was decided, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// How far each input has been read once this batch is committed.
    pub positions: Vec<Position>,
    /// Where its output lies.
    pub output: OutputRange,
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
    partition: u32,
    clock_ms: i64,
    positions: &[Position],
    output: OutputRange,
    entries: &[(Digest, Bucket)],
) {
    assert!(entries.len() <= CHANGELOG_ENTRIES_MAX, "a batch holds at most {CHANGELOG_ENTRIES_MAX} entries");
    frame(out, BATCH, partition, |out| {
        out.extend_from_slice(&clock_ms.to_le_bytes());
        write_positions(out, positions);
        for field in [output.log, output.start, output.end] {
            out.extend_from_slice(&field.to_le_bytes());
        }
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
        let positions = read_positions(fields)?;
        let output = OutputRange { log: fields.u64()?, start: fields.u64()?, end: fields.u64()? };
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
        Ok(Self { clock_ms, positions, output, entries: Entries { runs: &runs[..runs.len() - fields.0.len()], count } })
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
    use super::super::Record;
    use super::*;

    fn position() -> Position {
        Position { cluster_id: b"one".to_vec(), topic_id: [7; 16], leader_epoch: -1, next_offset: 99 }
    }

    #[test]
    fn entries_come_back_in_their_order() {
        let entries: Vec<_> = [(1, 5), (2, 5), (3, 6), (4, 5)].map(|(d, b)| (Digest(d), Bucket(b))).into();
        let output = OutputRange { log: 1, start: 10, end: 20 };
        let mut bytes = Vec::new();
        encode_batch(&mut bytes, 2, 1_000, &[position()], output, &entries);
        let (partition, Record::Batch(batch)) = Record::decode(&bytes).unwrap() else { panic!("a batch") };
        assert_eq!((partition, batch.clock_ms, batch.output), (2, 1_000, output));
        assert_eq!(batch.positions, [position()]);
        assert_eq!(batch.entries.len(), 4);
        assert_eq!(batch.entries.iter().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn a_full_batch_stays_below_kafkas_default_message_size() {
        let entries: Vec<_> = (0..CHANGELOG_ENTRIES_MAX as u128).map(|n| (Digest(n), Bucket(1))).collect();
        let mut bytes = Vec::new();
        encode_batch(&mut bytes, 0, 0, &[position()], OutputRange::default(), &entries);
        assert!(bytes.len() < 1_000_000, "{}", bytes.len());
        let (_, Record::Batch(batch)) = Record::decode(&bytes).unwrap() else { panic!("a batch") };
        assert!(batch.entries.iter().eq(entries));
    }

    #[test]
    #[should_panic(expected = "at most 40000 entries")]
    fn more_entries_than_the_limit_are_a_bug() {
        let entries = vec![(Digest(1), Bucket(1)); CHANGELOG_ENTRIES_MAX + 1];
        encode_batch(&mut Vec::new(), 0, 0, &[], OutputRange::default(), &entries);
    }
}
