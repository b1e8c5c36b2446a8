//! How far the inputs have been read, and which logs those are.

use crate::codec::{DecodeError, Fields};
use crate::limits::{POSITION_LOGS_MAX, POSITION_PARTITIONS_MAX};

/// Bytes of a cluster id; Kafka's own are 22.
pub const CLUSTER_ID_BYTES_MAX: usize = 64;

/// One input log, and how far partitions of it have been read. It is named fully, because a recreated topic that has grown
/// past a stored offset gives no error of its own: every record before the offset would be skipped in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPositions {
    /// The cluster's id; standalone: the local buffer's instance id. 1 to [`CLUSTER_ID_BYTES_MAX`] bytes.
    pub cluster_id: Vec<u8>,
    /// The topic's id; standalone: zero.
    pub topic_id: [u8; 16],
    /// Of some of its partitions, each once.
    pub partitions: Vec<Position>,
}

/// A place in one partition of an input log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition; standalone: 0.
    pub partition: u32,
    /// Leader epoch of the record before the offset; -1 where unknown.
    pub leader_epoch: i32,
    /// Offset of the next record to read; standalone: the buffer's next record id.
    pub next_offset: u64,
    /// When the record before the offset was appended, milliseconds since the Unix epoch; -1 where unknown. Two logs of one
    /// name both begin with leader epoch 0, so that alone does not tell them apart.
    pub appended_ms: i64,
}

pub(super) fn write_positions(out: &mut Vec<u8>, logs: &[LogPositions]) {
    assert!(logs.len() <= POSITION_LOGS_MAX, "a record names at most {POSITION_LOGS_MAX} input logs");
    out.push(logs.len() as u8);
    for LogPositions { cluster_id, topic_id, partitions } in logs {
        assert!((1..=CLUSTER_ID_BYTES_MAX).contains(&cluster_id.len()), "cluster ids have 1 to 64 bytes");
        assert!(partitions.len() <= POSITION_PARTITIONS_MAX, "of a log at most {POSITION_PARTITIONS_MAX} partitions");
        out.push(cluster_id.len() as u8);
        out.extend_from_slice(cluster_id);
        out.extend_from_slice(topic_id);
        out.extend_from_slice(&(partitions.len() as u16).to_le_bytes());
        for Position { partition, leader_epoch, next_offset, appended_ms } in partitions {
            out.extend_from_slice(&partition.to_le_bytes());
            out.extend_from_slice(&leader_epoch.to_le_bytes());
            out.extend_from_slice(&next_offset.to_le_bytes());
            out.extend_from_slice(&appended_ms.to_le_bytes());
        }
    }
}

pub(super) fn read_positions(fields: &mut Fields<'_>) -> Result<Vec<LogPositions>, DecodeError> {
    let count = usize::from(fields.u8()?);
    if count > POSITION_LOGS_MAX {
        return Err(DecodeError::Field("positions"));
    }
    (0..count).map(|_| LogPositions::read(fields)).collect()
}

impl LogPositions {
    fn read(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let cluster_id_bytes = usize::from(fields.u8()?);
        if !(1..=CLUSTER_ID_BYTES_MAX).contains(&cluster_id_bytes) {
            return Err(DecodeError::Field("cluster id"));
        }
        let cluster_id = fields.bytes(cluster_id_bytes)?.to_vec();
        let topic_id = fields.array()?;
        let count = usize::from(fields.u16()?);
        if count > POSITION_PARTITIONS_MAX {
            return Err(DecodeError::Field("partitions"));
        }
        let position = |_| {
            Ok(Position {
                partition: fields.u32()?,
                leader_epoch: fields.i32()?,
                next_offset: fields.u64()?,
                appended_ms: fields.i64()?,
            })
        };
        let partitions = (0..count).map(position).collect::<Result<_, _>>()?;
        Ok(Self { cluster_id, topic_id, partitions })
    }
}
