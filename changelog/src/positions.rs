//! How far each partition of each input log has been read, by the log's full identity.

use wire::changelog::{LogPositions, Position};
use wire::limits::{POSITION_LOGS_MAX, POSITION_PARTITIONS_MAX};

/// The positions of every input that was ever read, as far as a record of the log holds them. Those of an input that cannot
/// be read now are carried along; the log that moved longest ago, the first of them, makes room for a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(Vec<LogPositions>);

impl Positions {
    /// As a record has them.
    pub fn from_record(positions: &[LogPositions]) -> Self {
        Self(positions.to_vec())
    }

    /// As a record has them.
    pub fn as_slice(&self) -> &[LogPositions] {
        &self.0
    }

    /// The place at which to go on in a partition of the log of this cluster and topic; `None` where it has never been read:
    /// another cluster's, or a topic of the same name that was made anew.
    pub fn of(&self, cluster_id: &[u8], topic_id: [u8; 16], partition: u32) -> Option<&Position> {
        self.log(cluster_id, topic_id)?.partitions.iter().find(|position| position.partition == partition)
    }

    /// The partitions of that log that were ever read.
    pub fn partitions(&self, cluster_id: &[u8], topic_id: [u8; 16]) -> impl Iterator<Item = u32> {
        self.log(cluster_id, topic_id)
            .into_iter()
            .flat_map(|log| log.partitions.iter().map(|position| position.partition))
    }

    /// Enters how far a partition of that log has been read. One more partition than a record can name is not entered: it
    /// is read from its earliest record by whoever comes next.
    pub fn advance(&mut self, cluster_id: &[u8], topic_id: [u8; 16], position: Position) {
        let place = self.0.iter().position(|log| is_of(log, cluster_id, topic_id)).unwrap_or_else(|| {
            if self.0.len() == POSITION_LOGS_MAX {
                self.0.remove(0);
            }
            self.0.push(LogPositions { cluster_id: cluster_id.to_vec(), topic_id, partitions: Vec::new() });
            self.0.len() - 1
        });
        let partitions = &mut self.0[place].partitions;
        match partitions.iter().position(|known| known.partition == position.partition) {
            Some(known) if partitions[known] == position => return,
            Some(known) => partitions[known] = position,
            None if partitions.len() == POSITION_PARTITIONS_MAX => return,
            None => partitions.push(position),
        }
        self.0[place..].rotate_left(1);
    }

    /// Enters what a record says has moved: of a partition the last record decides, even where that went back.
    pub fn enter(&mut self, moved: &[LogPositions]) {
        for LogPositions { cluster_id, topic_id, partitions } in moved {
            for position in partitions {
                self.advance(cluster_id, *topic_id, *position);
            }
        }
    }

    /// Those that are not as they were before.
    #[must_use]
    pub fn moved_since(&self, before: &Self) -> Vec<LogPositions> {
        let moved = |log: &LogPositions| {
            let was = before.log(&log.cluster_id, log.topic_id).map_or(&[][..], |log| &log.partitions);
            let partitions: Vec<_> =
                log.partitions.iter().filter(|position| !was.contains(position)).copied().collect();
            (!partitions.is_empty()).then(|| LogPositions { partitions, ..log.clone() })
        };
        self.0.iter().filter_map(moved).collect()
    }

    /// Forgets a partition of that log, so that it is read from its earliest record.
    pub fn forget(&mut self, cluster_id: &[u8], topic_id: [u8; 16], partition: u32) {
        if let Some(log) = self.0.iter_mut().find(|log| is_of(log, cluster_id, topic_id)) {
            log.partitions.retain(|position| position.partition != partition);
        }
    }

    fn log(&self, cluster_id: &[u8], topic_id: [u8; 16]) -> Option<&LogPositions> {
        self.0.iter().find(|log| is_of(log, cluster_id, topic_id))
    }
}

fn is_of(log: &LogPositions, cluster_id: &[u8], topic_id: [u8; 16]) -> bool {
    log.topic_id == topic_id && log.cluster_id == cluster_id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: u32, next_offset: u64) -> Position {
        Position { partition, leader_epoch: -1, next_offset, appended_ms: -1 }
    }

    fn next_offset(positions: &Positions, cluster: &str, topic: u8) -> Option<u64> {
        positions.of(cluster.as_bytes(), [topic; 16], 0).map(|position| position.next_offset)
    }

    #[test]
    fn a_recreated_topic_and_another_cluster_are_other_logs() {
        let mut positions = Positions::default();
        positions.advance(b"one", [1; 16], at(0, 50));
        positions.advance(b"one", [1; 16], at(0, 60));
        positions.advance(b"one", [1; 16], at(4, 7));
        assert_eq!(next_offset(&positions, "one", 1), Some(60));
        assert_eq!(next_offset(&positions, "one", 2), None);
        assert_eq!(next_offset(&positions, "two", 1), None);
        assert!(positions.partitions(b"one", [1; 16]).eq([0, 4]) && positions.partitions(b"two", [1; 16]).eq([]));
        assert_eq!(Positions::from_record(positions.as_slice()), positions);
        positions.forget(b"one", [1; 16], 0);
        assert_eq!((next_offset(&positions, "one", 1), positions.of(b"one", [1; 16], 4)), (None, Some(&at(4, 7))));
    }

    #[test]
    fn more_logs_than_a_record_holds_push_out_the_one_that_stood_still_longest() {
        let mut positions = Positions::default();
        for topic in 0..POSITION_LOGS_MAX as u8 {
            positions.advance(b"one", [topic; 16], at(0, 1));
        }
        positions.advance(b"one", [0; 16], at(0, 2));
        // Read again and not moved: it stood still.
        positions.advance(b"one", [1; 16], at(0, 1));
        positions = Positions::from_record(positions.as_slice());
        positions.advance(b"one", [POSITION_LOGS_MAX as u8; 16], at(0, 1));
        assert_eq!(positions.as_slice().len(), POSITION_LOGS_MAX);
        assert_eq!([0, 1, 2].map(|topic| next_offset(&positions, "one", topic)), [Some(2), None, Some(1)]);
        assert_eq!(next_offset(&positions, "one", POSITION_LOGS_MAX as u8), Some(1));
    }

    #[test]
    fn more_partitions_than_a_record_holds_are_not_entered() {
        let mut positions = Positions::default();
        (0..=POSITION_PARTITIONS_MAX as u32).for_each(|partition| positions.advance(b"one", [1; 16], at(partition, 1)));
        assert_eq!(positions.partitions(b"one", [1; 16]).count(), POSITION_PARTITIONS_MAX);
    }

    #[test]
    fn what_moved_brings_what_was_before_to_what_is_now() {
        let mut before = Positions::default();
        before.advance(b"one", [1; 16], at(0, 50));
        before.advance(b"one", [1; 16], at(4, 50));
        before.advance(b"two", [1; 16], at(0, 50));
        let mut now = before.clone();
        now.advance(b"one", [1; 16], at(4, 20));
        now.advance(b"two", [2; 16], at(8, 1));
        let moved = now.moved_since(&before);
        let names: Vec<_> = moved.iter().map(|log| (&*log.cluster_id, log.partitions.clone())).collect();
        assert_eq!(names, [(&b"one"[..], vec![at(4, 20)]), (&b"two"[..], vec![at(8, 1)])]);
        before.enter(&moved);
        assert_eq!(before.of(b"one", [1; 16], 4), Some(&at(4, 20)), "a log that was cut goes back");
        assert_eq!(now.moved_since(&before), []);
    }
}
