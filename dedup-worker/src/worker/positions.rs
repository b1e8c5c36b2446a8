//! How far each input log has been read, by the log's full identity.

use kafka::TopicFacts;
use wire::changelog::Position;
use wire::limits::POSITIONS_MAX;

/// The positions of every input that was ever read, as far as a changelog record holds them. Those of an input that
/// cannot be read now are carried along; the log that was read longest ago makes room for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(Vec<Position>);

impl Positions {
    /// As a changelog record has them, the log that was read last standing last.
    pub fn from_record(positions: &[Position]) -> Self {
        Self(positions.to_vec())
    }

    /// As a changelog record has them.
    pub fn as_slice(&self) -> &[Position] {
        &self.0
    }

    /// The place at which to go on in that log; `None` where it has never been read: another cluster's, or a topic of
    /// the same name that was made anew.
    pub fn of(&self, facts: &TopicFacts) -> Option<&Position> {
        self.0.iter().find(|position| is_of(position, facts))
    }

    /// Enters how far that log has been read.
    pub fn advance(&mut self, facts: &TopicFacts, leader_epoch: i32, next_offset: u64) {
        if let Some(position) = self.0.iter_mut().find(|position| is_of(position, facts)) {
            (position.leader_epoch, position.next_offset) = (leader_epoch, next_offset);
            return;
        }
        if self.0.len() == POSITIONS_MAX {
            self.0.remove(0);
        }
        let cluster_id = facts.cluster_id.as_bytes().to_vec();
        self.0.push(Position { cluster_id, topic_id: facts.topic_id, leader_epoch, next_offset });
    }

    /// Forgets that log, so that it is read from its earliest record.
    pub fn forget(&mut self, facts: &TopicFacts) {
        self.0.retain(|position| !is_of(position, facts));
    }
}

fn is_of(position: &Position, facts: &TopicFacts) -> bool {
    position.topic_id == facts.topic_id && position.cluster_id == facts.cluster_id.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(cluster: &str, topic: u8) -> TopicFacts {
        TopicFacts { cluster_id: cluster.into(), topic_id: [topic; 16], partition_count: 8, replicas_min: 1 }
    }

    fn next_offset(positions: &Positions, facts: &TopicFacts) -> Option<u64> {
        positions.of(facts).map(|position| position.next_offset)
    }

    #[test]
    fn a_recreated_topic_and_another_cluster_are_other_logs() {
        let mut positions = Positions::default();
        positions.advance(&facts("one", 1), 0, 50);
        positions.advance(&facts("one", 1), 3, 60);
        assert_eq!(next_offset(&positions, &facts("one", 1)), Some(60));
        assert_eq!(next_offset(&positions, &facts("one", 2)), None);
        assert_eq!(next_offset(&positions, &facts("two", 1)), None);
        assert_eq!(Positions::from_record(positions.as_slice()), positions);
        positions.forget(&facts("one", 1));
        assert_eq!(positions, Positions::default());
    }

    #[test]
    fn more_logs_than_a_record_holds_push_the_oldest_out() {
        let mut positions = Positions::default();
        for topic in 0..=POSITIONS_MAX as u8 {
            positions.advance(&facts("one", topic), -1, 1);
        }
        assert_eq!(positions.as_slice().len(), POSITIONS_MAX);
        assert_eq!(next_offset(&positions, &facts("one", 0)), None);
        assert_eq!(next_offset(&positions, &facts("one", POSITIONS_MAX as u8)), Some(1));
    }
}
