//! Which of a lane's partitions its records go to now. Pure.
//!
//! Any partition of a lane is right for a record of it, because whoever owns the lane reads them all. librdkafka sends the
//! records of each partition in requests of their own, so those of a lane stay with one partition until that has had what
//! some requests hold, and then go to the next. What a record costs so depends on the lanes alone: with 8 lanes and 256
//! partitions, where each record went to the partition that its hash names, the drain had 0.30 of its rate with 8
//! partitions; with turns of one request 0.69, with these 1.12 (`make bench`, rows `drain` and `drain_p256`).

use kafka::BATCH_BYTES;

/// Bytes of values after which it is the next partition's turn.
const TURN_BYTES: usize = 8 * BATCH_BYTES;

/// The turns of all lanes of one cluster.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Where the turns begin. Many hosts that begin at the same partition would be a crowd there.
    first: u32,
    of_lanes: Vec<Turn>,
}

/// How many turns of a lane are over, and the bytes of this one.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    over: u32,
    bytes: usize,
}

impl Turns {
    /// Beginning at `first`, any number.
    pub(crate) fn new(first: u32) -> Self {
        Self { first, of_lanes: Vec::new() }
    }

    /// Which of a lane's partitions it is the turn of, counted on and on.
    pub(crate) fn of(&self, lane: u32) -> u32 {
        // Each lane at another one: their first partitions may all lie on one broker.
        let over = self.of_lanes.get(lane as usize).map_or(0, |turn| turn.over);
        self.first.wrapping_add(lane).wrapping_add(over)
    }

    /// A record of so many bytes went to a partition of a lane.
    pub(crate) fn went(&mut self, lane: u32, bytes: usize) {
        let place = lane as usize;
        if place >= self.of_lanes.len() {
            self.of_lanes.resize(place + 1, Turn::default());
        }
        let turn = &mut self.of_lanes[place];
        turn.bytes += bytes;
        if turn.bytes >= TURN_BYTES {
            *turn = Turn { over: turn.over.wrapping_add(1), bytes: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_stays_with_a_partition_for_a_turn() {
        let mut turns = Turns::new(u32::MAX);
        let first = turns.of(3);
        turns.went(3, TURN_BYTES - 1);
        assert_eq!(turns.of(3), first);
        turns.went(3, 1);
        assert_eq!(turns.of(3), first.wrapping_add(1));
        turns.went(3, 1);
        assert_eq!(turns.of(3), first.wrapping_add(1), "it began anew");
    }

    #[test]
    fn lanes_take_turns_by_themselves_and_begin_apart() {
        let mut turns = Turns::new(7);
        turns.went(1, TURN_BYTES);
        assert_eq!([0, 1, 2].map(|lane| turns.of(lane)), [7, 9, 9]);
    }
}
