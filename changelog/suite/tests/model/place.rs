//! One partition of an input, as it is read: the cursor that says where, and the client that stands there.

use changelog::{Begin, Cursor, InputId, Met, Positions, Reached};

use crate::input::{Cluster, Event, Partition};

/// A partition that is read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The place of its cluster.
    pub(crate) cluster: usize,
    pub(crate) partition: u32,
    /// Which making of the topic it is of.
    pub(crate) making: u8,
    /// The ids of cluster and topic.
    log: (Vec<u8>, [u8; 16]),
    cursor: Cursor,
    /// Where the client stands; `None`: at the earliest record.
    at: Option<u64>,
    /// Leader epoch of the record that the client read last; `None` before the first.
    epoch: Option<i32>,
}

impl Place {
    /// Nothing of it is read yet.
    pub(crate) fn new(place: usize, cluster: &Cluster, partition: u32, cursor: Cursor) -> Self {
        Self {
            cluster: place,
            partition,
            making: cluster.making,
            log: (cluster.cluster_id(), cluster.topic_id()),
            at: at(cursor.begin()),
            epoch: None,
            cursor,
        }
    }

    /// The next record, which stays there; `None` at the end. A log that turns out to be another one is read from its earliest
    /// record, and its position is forgotten.
    pub(crate) fn fetch(&mut self, inputs: &[Cluster], positions: &mut Positions) -> Option<Event> {
        let log = &inputs[self.cluster].partitions[self.partition as usize];
        loop {
            let offset = self.at.unwrap_or(log.start);
            if self.is_out_of_range(log, offset) {
                let begin = self.cursor.is_out_of_range();
                self.seek(begin);
                if let Begin::Earliest { lost_from: Some(_) } = begin {
                    self.forget(positions);
                }
                continue;
            }
            self.at = Some(offset);
            let is_same = if offset == log.end() {
                if self.cursor.ends(offset) {
                    return None;
                }
                false
            } else {
                let (event, mut cursor) = (log.at(offset), self.cursor);
                match cursor.meet(offset, event.leader_epoch, event.appended_ms) {
                    Met::Next { .. } => return Some(event),
                    Met::Proof => {
                        (self.cursor, self.at, self.epoch) = (cursor, Some(offset + 1), Some(event.leader_epoch));
                        true
                    }
                    Met::Other => false,
                }
            };
            if !is_same {
                self.cursor = Cursor::new(None, self.cursor.reached_ms);
                self.seek(self.cursor.begin());
                self.forget(positions);
            }
        }
    }

    /// The client asks the leader where the epoch ends that it has read last, and so sees a log that was cut before its offset.
    fn is_out_of_range(&self, log: &Partition, offset: u64) -> bool {
        let is_cut = self.epoch.is_some_and(|epoch| offset > log.end_of(epoch));
        is_cut || offset < log.start || offset > log.end()
    }

    /// The client is stopped, and started at another place.
    fn seek(&mut self, begin: Begin) {
        (self.at, self.epoch) = (at(begin), None);
    }

    fn forget(&self, positions: &mut Positions) {
        positions.forget(&self.log.0, self.log.1, self.partition);
    }

    /// The record that was fetched counts as read.
    pub(crate) fn read(&mut self, event: Event) {
        let offset = self.at.expect("a record was fetched from there");
        self.cursor.meet(offset, event.leader_epoch, event.appended_ms);
        (self.at, self.epoch) = (Some(offset + 1), Some(event.leader_epoch));
    }

    /// Enters how far it is read.
    pub(crate) fn enter(&self, positions: &mut Positions) {
        if self.cursor.is_begun() {
            positions.advance(&self.log.0, self.log.1, self.cursor.position(self.partition));
        }
    }

    /// What the clock is to know of it, where `front` was fetched.
    pub(crate) fn reached(&self, front: Option<Event>) -> (InputId, Reached) {
        let behind = |event: Event| Reached::Behind { appended_ms: event.appended_ms };
        (InputId(self.cluster as u32), front.map_or_else(|| self.cursor.reached(true), behind))
    }
}

fn at(begin: Begin) -> Option<u64> {
    match begin {
        Begin::At(offset) => Some(offset),
        Begin::Earliest { .. } => None,
    }
}
