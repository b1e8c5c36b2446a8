//! What never changes for a lane, written first and again in every checkpoint; and the mark of a rebuild.

use super::position::{LogPositions, read_positions, write_positions};
use super::{CHECKPOINT, Chain, GENESIS, MARK, frame};
use crate::codec::{DecodeError, Fields};
use crate::{DigestSeed, LaneCount, Window};

/// The first record of a lane's changelog, but for the mark of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genesis {
    /// How many lanes there are. The format has room for lanes that were split: `base` lanes at first, and the lane of
    /// before as a `parent`. This version knows none and writes `lanes` again, and no parent.
    pub lanes: LaneCount,
    /// Seed of every digest.
    pub seed: DigestSeed,
    /// Lengths of the window; a bucket's number means nothing without its span.
    pub window: Window,
    /// When this was made, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// Genesis and every position, written at takeover and now and then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The genesis, unchanged.
    pub genesis: Genesis,
    /// How far each input has been read: every position that the changelog has.
    pub positions: Vec<LogPositions>,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
}

/// The beginning of a changelog that is made again from the output: what lies before it counts no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// A random number of that rebuild.
    pub rebuild: [u8; 16],
    /// When it was begun, milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// Appends a genesis record to `out`.
pub fn encode_genesis(out: &mut Vec<u8>, lane: u32, chain: Chain, genesis: &Genesis) {
    frame(out, GENESIS, lane, chain, |out| genesis.write(out));
}

/// Appends a checkpoint record to `out`.
///
/// # Panics
/// Where the positions are out of bounds.
pub fn encode_checkpoint(out: &mut Vec<u8>, lane: u32, chain: Chain, checkpoint: &Checkpoint) {
    frame(out, CHECKPOINT, lane, chain, |out| {
        checkpoint.genesis.write(out);
        out.extend_from_slice(&checkpoint.clock_ms.to_le_bytes());
        write_positions(out, &checkpoint.positions);
    });
}

/// Appends a mark to `out`. It has no record before it.
pub fn encode_mark(out: &mut Vec<u8>, lane: u32, mark: &Mark) {
    frame(out, MARK, lane, Chain::default(), |out| {
        out.extend_from_slice(&mark.rebuild);
        out.extend_from_slice(&mark.created_ms.to_le_bytes());
    });
}

impl Genesis {
    fn write(&self, out: &mut Vec<u8>) {
        let base = self.lanes;
        out.extend_from_slice(&self.lanes.get().to_le_bytes());
        out.extend_from_slice(&base.get().to_le_bytes());
        out.push(NO_PARENT);
        out.extend_from_slice(&self.seed.0.to_le_bytes());
        out.extend_from_slice(&self.window.bucket_ms().to_le_bytes());
        out.extend_from_slice(&self.window.promised_buckets().to_le_bytes());
        out.extend_from_slice(&self.window.margin_buckets().to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let lanes = LaneCount::try_new(fields.u32()?).ok_or(DecodeError::Field("lanes"))?;
        if (fields.u32()?, fields.u8()?) != (lanes.get(), NO_PARENT) {
            return Err(DecodeError::Split);
        }
        let seed = DigestSeed(fields.u64()?);
        let window =
            Window::try_new(fields.u64()?, fields.u32()?, fields.u32()?).ok_or(DecodeError::Field("window"))?;
        Ok(Self { lanes, seed, window, created_ms: fields.i64()? })
    }
}

/// What stands in place of a parent where there is none.
const NO_PARENT: u8 = 0;

impl Checkpoint {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let genesis = Genesis::read(fields)?;
        let clock_ms = fields.i64()?;
        Ok(Self { genesis, positions: read_positions(fields)?, clock_ms })
    }
}

impl Mark {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self { rebuild: fields.array()?, created_ms: fields.i64()? })
    }
}
