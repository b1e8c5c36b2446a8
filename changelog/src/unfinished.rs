//! The mark of a log that is being made again from something else.
//!
//! Every record of such a log names, in place of positions of the inputs, a log that there cannot be; the checkpoint that
//! ends the work names none. So the newest record says whether the work was finished, however much of the log a state has
//! taken in meanwhile.

use wire::changelog::Position;

/// No cluster has this id: Kafka's have 22 characters.
const CLUSTER_ID: &[u8] = b"rebuild --from events.deduped";

/// What stands in place of positions meanwhile.
pub fn mark() -> Position {
    Position { cluster_id: CLUSTER_ID.to_vec(), topic_id: [0; 16], leader_epoch: -1, next_offset: 0 }
}

/// Whether positions have the mark.
pub fn is_marked(positions: &[Position]) -> bool {
    positions.iter().any(|position| position.cluster_id == CLUSTER_ID)
}

#[cfg(test)]
mod tests {
    use wire::changelog::{OutputRange, Record, encode_batch};

    use super::*;

    #[test]
    fn the_mark_is_read_back_from_a_record() {
        let mut bytes = Vec::new();
        encode_batch(&mut bytes, 3, 0, &[mark()], OutputRange::default(), &[]);
        let (_, Record::Batch(batch)) = Record::decode(&bytes).unwrap() else { panic!("a batch") };
        assert!(is_marked(&batch.positions));
        let real = Position { cluster_id: b"ZkDmUNxKQeCWgnWzW2RzJg".to_vec(), ..mark() };
        assert!(!is_marked(&[real]) && !is_marked(&[]));
    }
}
