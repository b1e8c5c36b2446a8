//! How far each input log has been read, by the log's full identity.

use wire::changelog::Position;
use wire::limits::POSITIONS_MAX;

/// The positions of every input that was ever read, as far as a record of the log holds them. Those of an input that cannot
/// be read now are carried along; the log that moved longest ago, the first of them, makes room for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(Vec<Position>);

impl Positions {
    /// As a record has them.
    pub fn from_record(positions: &[Position]) -> Self {
        Self(positions.to_vec())
    }

    /// As a record has them.
    pub fn as_slice(&self) -> &[Position] {
        &self.0
    }

    /// The place at which to go on in the log of this cluster and topic; `None` where it has never been read: another
    /// cluster's, or a topic of the same name that was made anew.
    pub fn of(&self, cluster_id: &[u8], topic_id: [u8; 16]) -> Option<&Position> {
        self.0.iter().find(|position| is_of(position, cluster_id, topic_id))
    }

    /// Enters how far that log has been read: `next_offset`, and the leader epoch of the record before it, -1 where
    /// unknown.
    pub fn advance(&mut self, cluster_id: &[u8], topic_id: [u8; 16], leader_epoch: i32, next_offset: u64) {
        if let Some(place) = self.0.iter().position(|position| is_of(position, cluster_id, topic_id)) {
            let position = &mut self.0[place];
            if position.next_offset != next_offset {
                (position.leader_epoch, position.next_offset) = (leader_epoch, next_offset);
                self.0[place..].rotate_left(1);
            }
            return;
        }
        if self.0.len() == POSITIONS_MAX {
            self.0.remove(0);
        }
        self.0.push(Position { cluster_id: cluster_id.to_vec(), topic_id, leader_epoch, next_offset });
    }

    /// Forgets that log, so that it is read from its earliest record.
    pub fn forget(&mut self, cluster_id: &[u8], topic_id: [u8; 16]) {
        self.0.retain(|position| !is_of(position, cluster_id, topic_id));
    }
}

fn is_of(position: &Position, cluster_id: &[u8], topic_id: [u8; 16]) -> bool {
    position.topic_id == topic_id && position.cluster_id == cluster_id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_offset(positions: &Positions, cluster: &str, topic: u8) -> Option<u64> {
        positions.of(cluster.as_bytes(), [topic; 16]).map(|position| position.next_offset)
    }

    #[test]
    fn a_recreated_topic_and_another_cluster_are_other_logs() {
        let mut positions = Positions::default();
        positions.advance(b"one", [1; 16], 0, 50);
        positions.advance(b"one", [1; 16], 3, 60);
        assert_eq!(next_offset(&positions, "one", 1), Some(60));
        assert_eq!(next_offset(&positions, "one", 2), None);
        assert_eq!(next_offset(&positions, "two", 1), None);
        assert_eq!(Positions::from_record(positions.as_slice()), positions);
        positions.forget(b"one", [1; 16]);
        assert_eq!(positions, Positions::default());
    }

    #[test]
    fn more_logs_than_a_record_holds_push_out_the_one_that_stood_still_longest() {
        let mut positions = Positions::default();
        for topic in 0..POSITIONS_MAX as u8 {
            positions.advance(b"one", [topic; 16], -1, 1);
        }
        positions.advance(b"one", [0; 16], -1, 2);
        // Read again and not moved: it stood still.
        positions.advance(b"one", [1; 16], -1, 1);
        positions = Positions::from_record(positions.as_slice());
        positions.advance(b"one", [POSITIONS_MAX as u8; 16], -1, 1);
        assert_eq!(positions.as_slice().len(), POSITIONS_MAX);
        assert_eq!([0, 1, 2].map(|topic| next_offset(&positions, "one", topic)), [Some(2), None, Some(1)]);
        assert_eq!(next_offset(&positions, "one", POSITIONS_MAX as u8), Some(1));
    }
}
