//! The mark of a changelog that is being made again from the output.
//!
//! Every record of such a changelog names, in place of positions of the inputs, a log that there cannot be; the
//! checkpoint that ends the work names none. So the newest record says whether the work was finished, however much of
//! the changelog an index has taken in meanwhile.

use wire::changelog::Position;
use wire::topic::EVENTS_INDEX;

use super::fault::Fault;

/// No cluster has this id: Kafka's have 22 characters.
const CLUSTER_ID: &[u8] = b"rebuild --from events.deduped";

/// What stands in place of positions meanwhile.
pub fn mark() -> Position {
    Position { cluster_id: CLUSTER_ID.to_vec(), topic_id: [0; 16], leader_epoch: -1, next_offset: 0 }
}

/// Refuses a changelog whose newest record has the mark.
///
/// # Errors
/// [`Fault::Refused`].
pub fn refuse_unfinished(partition: u32, positions: &[Position]) -> Result<(), Fault> {
    if positions.iter().any(|position| position.cluster_id == CLUSTER_ID) {
        return Err(Fault::Refused(format!(
            "a rebuild of {EVENTS_INDEX} {partition} was interrupted; run `dedup-worker rebuild --from events.deduped` again"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use wire::changelog::{OutputRange, Record, encode_batch};

    use super::*;

    #[test]
    fn the_mark_is_read_back_from_a_record_and_refused() {
        let mut bytes = Vec::new();
        encode_batch(&mut bytes, 3, 0, &[mark()], OutputRange::default(), &[]);
        let (_, Record::Batch(batch)) = Record::decode(&bytes).unwrap() else { panic!("a batch") };
        let refusal = refuse_unfinished(3, &batch.positions).unwrap_err();
        assert!(matches!(refusal, Fault::Refused(reason) if reason.contains("events.index 3 was interrupted")));
        let real = Position { cluster_id: b"ZkDmUNxKQeCWgnWzW2RzJg".to_vec(), ..mark() };
        assert!(refuse_unfinished(3, &[real]).is_ok() && refuse_unfinished(3, &[]).is_ok());
    }
}
