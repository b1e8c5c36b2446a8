//! What lies before a record.

use crate::codec::{DecodeError, Fields};

/// Stands in place of an end that there is none of.
const NONE: u64 = u64::MAX;

/// One record, as a later one names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its end: its offset and one; standalone: the byte behind it.
    pub end: u64,
    /// The checksum that it ends with.
    pub checksum: u64,
}

/// What lies before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// The record before it; `None` of the first one, and of a [mark](super::Mark).
    pub before: Option<Link>,
    /// End of the newest record before it that has every position, a checkpoint or a batch.
    pub checkpoint: Option<u64>,
}

impl Chain {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let (end, checksum) = self.before.map_or((NONE, 0), |link| (link.end, link.checksum));
        for field in [end, checksum, self.checkpoint.unwrap_or(NONE)] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let (end, checksum, checkpoint) = (fields.u64()?, fields.u64()?, fields.u64()?);
        if end == NONE && checksum != 0 {
            return Err(DecodeError::Field("the record before it"));
        }
        let before = (end != NONE).then_some(Link { end, checksum });
        Ok(Self { before, checkpoint: (checkpoint != NONE).then_some(checkpoint) })
    }
}
