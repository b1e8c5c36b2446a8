//! How far an input has been read, and which input that is.

use crate::codec::{DecodeError, Fields};
use crate::limits::POSITIONS_MAX;

/// Bytes of a cluster id; Kafka's own are 22.
pub const CLUSTER_ID_BYTES_MAX: usize = 64;

/// A place in one input log. It names that log fully, because a recreated topic that has grown past a stored offset
/// gives no error of its own: every record before the offset would be skipped in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The cluster's id; standalone: the local buffer's instance id. 1 to [`CLUSTER_ID_BYTES_MAX`] bytes.
    pub cluster_id: Vec<u8>,
    /// The topic's id; standalone: zero.
    pub topic_id: [u8; 16],
    /// Leader epoch of the record before the offset; -1 where unknown.
    pub leader_epoch: i32,
    /// Offset of the next record to read; standalone: the buffer's next record id.
    pub next_offset: u64,
}

pub(super) fn write_positions(out: &mut Vec<u8>, positions: &[Position]) {
    assert!(positions.len() <= POSITIONS_MAX, "a record names at most {POSITIONS_MAX} inputs");
    out.push(positions.len() as u8);
    for position in positions {
        let cluster_id = &position.cluster_id;
        assert!((1..=CLUSTER_ID_BYTES_MAX).contains(&cluster_id.len()), "cluster ids have 1 to 64 bytes");
        out.push(cluster_id.len() as u8);
        out.extend_from_slice(cluster_id);
        out.extend_from_slice(&position.topic_id);
        out.extend_from_slice(&position.leader_epoch.to_le_bytes());
        out.extend_from_slice(&position.next_offset.to_le_bytes());
    }
}

pub(super) fn read_positions(fields: &mut Fields<'_>) -> Result<Vec<Position>, DecodeError> {
    let count = usize::from(fields.u8()?);
    if count > POSITIONS_MAX {
        return Err(DecodeError::Field("positions"));
    }
    (0..count)
        .map(|_| {
            let cluster_id_bytes = usize::from(fields.u8()?);
            if !(1..=CLUSTER_ID_BYTES_MAX).contains(&cluster_id_bytes) {
                return Err(DecodeError::Field("cluster id"));
            }
            Ok(Position {
                cluster_id: fields.bytes(cluster_id_bytes)?.to_vec(),
                topic_id: fields.array()?,
                leader_epoch: fields.i32()?,
                next_offset: fields.u64()?,
            })
        })
        .collect()
}
