//! What never changes for a partition, written first and again in every checkpoint.

use super::position::{Position, read_positions, write_positions};
use super::{CHECKPOINT, GENESIS, frame};
use crate::codec::{DecodeError, Fields};
use crate::{DigestSeed, PartitionCount, Window};

/// The first record of a partition's changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// Partitions of the topics, on every cluster.
    pub partition_count: PartitionCount,
    /// Seed of every digest.
    pub seed: DigestSeed,
    /// Lengths of the window; a bucket's number means nothing without its span.
    pub window: Window,
    /// When this was made, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// Genesis and positions, written at takeover and once a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The genesis, unchanged.
    pub genesis: Genesis,
    /// How far each input has been read.
    pub positions: Vec<Position>,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
}

/// Appends a genesis record to `out`.
pub fn encode_genesis(out: &mut Vec<u8>, partition: u32, genesis: &Genesis) {
    frame(out, GENESIS, partition, |out| genesis.write(out));
}

/// Appends a checkpoint record to `out`.
///
/// # Panics
/// Where there are more positions than [`crate::limits::POSITIONS_MAX`] or a cluster id is empty or too long.
pub fn encode_checkpoint(out: &mut Vec<u8>, partition: u32, checkpoint: &Checkpoint) {
    frame(out, CHECKPOINT, partition, |out| {
        checkpoint.genesis.write(out);
        out.extend_from_slice(&checkpoint.clock_ms.to_le_bytes());
        write_positions(out, &checkpoint.positions);
    });
}

impl Genesis {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.partition_count.get().to_le_bytes());
        out.extend_from_slice(&self.seed.0.to_le_bytes());
        out.extend_from_slice(&self.window.bucket_ms().to_le_bytes());
        out.extend_from_slice(&self.window.promised_buckets().to_le_bytes());
        out.extend_from_slice(&self.window.margin_buckets().to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let partition_count = PartitionCount::try_new(fields.u32()?).ok_or(DecodeError::Field("partition count"))?;
        let seed = DigestSeed(fields.u64()?);
        let window =
            Window::try_new(fields.u64()?, fields.u32()?, fields.u32()?).ok_or(DecodeError::Field("window"))?;
        Ok(Self { partition_count, seed, window, created_ms: fields.i64()? })
    }
}

impl Checkpoint {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let genesis = Genesis::read(fields)?;
        let clock_ms = fields.i64()?;
        Ok(Self { genesis, positions: read_positions(fields)?, clock_ms })
    }
}
