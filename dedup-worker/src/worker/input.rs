//! One input of a lane: its partitions of the topic `events` on one cluster.
//!
//! It is opened without waiting for anybody, and each partition looks after itself: one whose leader is away, or whose log
//! was cut, holds up no other.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use changelog::{Begin, Cursor, Met, Positions, Reached};
use kafka::{At, Failure, Item, Message, TopicFacts};
use tracing::{error, info, warn};
use wire::LaneCount;

use super::early::Early;
use super::readers::{Readers, Shelf};

/// Records that are taken off the queue before any of them is read. What is on the queue is bounded by its bytes, these are not.
const WAITING_MAX: usize = 2_048;

/// How long nothing is decided for want of a word from an input that was just opened. Whether its end is where it was read
/// to says where the window's clock stands, and what is decided by a clock that stands far back is soon forgotten.
const FIRST_WORD: Duration = Duration::from_secs(2);

/// Partitions of one log.
#[derive(Debug)]
pub struct Input {
    opened: Instant,
    facts: TopicFacts,
    cluster: &'static str,
    lane: u32,
    shelf: Shelf,
    places: Vec<Place>,
    waiting: usize,
    items: Vec<Item>,
    /// The place that was found last: records come many of a partition in a row.
    found: usize,
    /// The place that is read first the next time, so that a hot partition does not starve the others.
    turn: usize,
}

/// One partition.
#[derive(Debug)]
struct Place {
    partition: u32,
    /// Where its reader stands.
    fetched: Cursor,
    /// How far it counts as read.
    read: Cursor,
    /// Fetched, not read.
    records: VecDeque<Message>,
    /// What there is to do about where its reader was begun.
    early: Early,
    /// What was said of its trouble; `None` while there is none.
    trouble: Option<String>,
    /// Whether anything has come of it since it was opened.
    is_heard: bool,
}

impl Input {
    /// None of its partitions is read yet. `wake` is called when there is something to read.
    ///
    /// # Errors
    /// Where librdkafka takes no client.
    pub fn open(
        readers: &Readers,
        cluster: &'static str,
        facts: TopicFacts,
        (lanes, lane): (LaneCount, u32),
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let partitions = lanes.partitions(lane, facts.partition_count).count();
        let shelf = readers.queue(&facts, partitions, wake)?;
        let (opened, places, items) = (Instant::now(), Vec::new(), Vec::new());
        Ok(Self { opened, facts, cluster, lane, shelf, places, waiting: 0, items, found: 0, turn: 0 })
    }

    /// Begins to read what is not read yet of the lane's partitions of the log, where `positions` has them, or at their
    /// earliest records; and partitions that were ever read, whether or not the broker that told has heard of them.
    ///
    /// # Errors
    /// Where librdkafka takes no partition.
    pub fn grow(
        &mut self,
        facts: TopicFacts,
        lanes: LaneCount,
        positions: &Positions,
        clock_ms: i64,
    ) -> Result<(), Failure> {
        self.facts = facts;
        let (cluster_id, topic_id) = (self.facts.cluster_id.as_bytes(), self.facts.topic_id);
        let known = positions.partitions(cluster_id, topic_id);
        for partition in lanes.partitions(self.lane, self.facts.partition_count).chain(known) {
            if self.places.iter().any(|place| place.partition == partition) {
                continue;
            }
            let cursor = Cursor::new(positions.of(cluster_id, topic_id, partition), clock_ms);
            self.shelf.queue.add(partition, at(cursor.begin()))?;
            let (records, early, trouble) = (VecDeque::new(), Early::Right, None);
            let (fetched, read, is_heard) = (cursor, cursor, false);
            self.places.push(Place { partition, fetched, read, records, early, trouble, is_heard });
        }
        Ok(())
    }

    /// Nothing was taken in yet. It is read from `positions` on, wherever it was begun.
    ///
    /// # Errors
    /// As [`grow`](Self::grow).
    pub(crate) fn go_to(&mut self, lanes: LaneCount, positions: &Positions, clock_ms: i64) -> Result<(), Failure> {
        self.opened = Instant::now();
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            let position = positions.of(self.facts.cluster_id.as_bytes(), self.facts.topic_id, place.partition);
            let (was, cursor) = (place.fetched.begin(), Cursor::new(position, clock_ms));
            (place.fetched, place.read) = (cursor, cursor);
            place.early = Early::of(was, cursor.begin());
            if place.early == Early::Wrong {
                self.begin(index, cursor.begin());
            }
        }
        self.grow(self.facts.clone(), lanes, positions, clock_ms)
    }

    /// Which log this is.
    pub fn facts(&self) -> &TopicFacts {
        &self.facts
    }

    /// What its cluster is called.
    pub fn cluster(&self) -> &'static str {
        self.cluster
    }

    /// Takes in what has come, and forgets in `positions` the log of a partition that turned out to be another one.
    pub fn fetch(&mut self, positions: &mut Positions) {
        while self.waiting < WAITING_MAX {
            let mut items = std::mem::take(&mut self.items);
            let may_be_more = self.shelf.queue.take(WAITING_MAX - self.waiting, &mut items);
            // What was taken off the queue with an item that made a partition begin anew was read where that was before.
            let mut begun_anew = Vec::new();
            for item in items.drain(..) {
                let partition = item.partition();
                if !begun_anew.contains(&partition) && self.enter(item, partition, positions) {
                    begun_anew.push(partition);
                }
            }
            self.items = items;
            if !may_be_more {
                return;
            }
        }
    }

    /// Takes in an item of a partition; whether that is read from another place now.
    fn enter(&mut self, item: Item, partition: u32, positions: &mut Positions) -> bool {
        let cluster = self.cluster;
        let Some(index) = self.place_of(partition) else { return false };
        if !self.is_reached(index, &item) {
            let Place { early, fetched, .. } = &self.places[index];
            let (is_wrong, begin) = (*early == Early::Wrong, fetched.begin());
            if is_wrong {
                self.begin(index, begin);
            }
            return is_wrong;
        }
        let place = &mut self.places[index];
        place.is_heard = true;
        if let Some(trouble) = &place.trouble
            && !matches!(item, Item::Trouble { .. })
        {
            info!(cluster, partition, trouble, "the partition can be read again");
            place.trouble = None;
        }
        match item {
            Item::Record(record) => {
                match place.fetched.meet(record.offset(), record.leader_epoch(), record.appended_ms()) {
                    Met::Next { missing } => {
                        if missing > 0 {
                            let before = record.offset();
                            error!(cluster, partition, missing, before, "records of the input are missing");
                        }
                        place.records.push_back(record);
                        self.waiting += 1;
                    }
                    Met::Proof => {}
                    Met::Other => {
                        self.is_another_log(index, positions);
                        return true;
                    }
                }
            }
            Item::End { offset, .. } => {
                if !place.fetched.ends(offset) {
                    self.is_another_log(index, positions);
                    return true;
                }
            }
            Item::OutOfRange { .. } => {
                let begin = place.fetched.is_out_of_range();
                if let Begin::Earliest { lost_from: Some(position) } = begin {
                    error!(
                        cluster,
                        partition,
                        position,
                        "the input no longer reaches the stored position; it is read from its earliest record, and what lay \
                         between is gone"
                    );
                    self.forget(index, positions);
                }
                self.begin(index, begin);
                return true;
            }
            Item::Trouble { failure, .. } => {
                let said = failure.to_string();
                if place.trouble.as_ref() != Some(&said) {
                    warn!(cluster, partition, %failure, "the partition cannot be read now");
                    place.trouble = Some(said);
                }
            }
        }
        false
    }

    /// Whether an item counts of a partition that may have been begun too early. Where it says that this was too early to
    /// know anything, the partition is to be begun anew.
    fn is_reached(&mut self, index: usize, item: &Item) -> bool {
        let Place { partition, early, .. } = &mut self.places[index];
        if *early == Early::Right {
            return true;
        }
        *early = match item {
            Item::Record(record) if early.passes_over(record.offset()) => return false,
            Item::Record(_) => Early::Right,
            Item::End { offset, .. } => early.ends(*offset, self.shelf.queue.known_end(*partition)),
            Item::OutOfRange { .. } => Early::Wrong,
            Item::Trouble { .. } => return true,
        };
        *early == Early::Right
    }

    fn place_of(&mut self, partition: u32) -> Option<usize> {
        if self.places.get(self.found).is_none_or(|place| place.partition != partition) {
            self.found = self.places.iter().position(|place| place.partition == partition)?;
        }
        Some(self.found)
    }

    /// The log was cut, so that where it was read to means nothing any more.
    fn is_another_log(&mut self, index: usize, positions: &mut Positions) {
        let (cluster, partition, read_to) =
            (self.cluster, self.places[index].partition, self.places[index].read.next_offset);
        error!(
            partition,
            cluster,
            read_to,
            "the input was cut, and no longer holds what was read from it; it is read from its earliest record"
        );
        let clock_ms = self.places[index].read.reached_ms;
        self.places[index].fetched = Cursor::new(None, clock_ms);
        self.forget(index, positions);
        self.begin(index, Begin::Earliest { lost_from: None });
    }

    fn forget(&mut self, index: usize, positions: &mut Positions) {
        let place = &mut self.places[index];
        positions.forget(self.facts.cluster_id.as_bytes(), self.facts.topic_id, place.partition);
        self.waiting -= place.records.len();
        place.records.clear();
        place.read = place.fetched;
    }

    /// A partition that has nothing to hand out is not moved; it is stopped and started.
    fn begin(&mut self, index: usize, begin: Begin) {
        let partition = self.places[index].partition;
        self.places[index].early = Early::Right;
        self.shelf.queue.remove(partition);
        if let Err(failure) = self.shelf.queue.add(partition, at(begin)) {
            let cluster = self.cluster;
            error!(cluster, partition, %failure, "the partition is not read any more");
            self.places[index].trouble = Some(failure.to_string());
        }
    }

    /// Whether each partition has had its first word, or the time for it.
    pub(crate) fn is_settled(&self) -> bool {
        self.opened.elapsed() > FIRST_WORD || self.places.iter().all(|place| place.is_heard)
    }

    /// Whether any record waits to be read.
    pub(crate) fn has_records(&self) -> bool {
        self.waiting > 0
    }

    /// Reads the next record of the partition at this place among the input's.
    #[inline]
    pub fn take(&mut self, index: usize) -> Option<Message> {
        let place = &mut self.places[index];
        let record = place.records.pop_front()?;
        self.waiting -= 1;
        place.read.meet(record.offset(), record.leader_epoch(), record.appended_ms());
        Some(record)
    }

    /// The places of its partitions, another one first each time.
    pub fn places(&mut self) -> impl Iterator<Item = usize> + use<> {
        let (count, first) = (self.places.len(), self.turn);
        self.turn = (first + 1) % count.max(1);
        (0..count).map(move |offset| (first + offset) % count)
    }

    /// What the clock is to know of each partition, when the cluster `answers` or not.
    pub fn reached(&self, answers: bool) -> impl Iterator<Item = Reached> {
        self.places.iter().map(move |place| match place.records.front() {
            Some(record) => Reached::Behind { appended_ms: record.appended_ms() },
            None => place.fetched.reached(answers),
        })
    }

    /// Enters how far each partition is read.
    pub(crate) fn enter_positions(&self, positions: &mut Positions) {
        let (cluster_id, topic_id) = (self.facts.cluster_id.as_bytes(), self.facts.topic_id);
        for Place { partition, read, .. } in self.places.iter().filter(|place| place.read.is_begun()) {
            positions.advance(cluster_id, topic_id, read.position(*partition));
        }
    }

    /// Records that are not read, and since when the first of them waits, milliseconds since the Unix epoch; `None` where
    /// everything is read.
    pub fn lag(&self) -> (u64, Option<i64>) {
        let (mut records, mut since_ms) = (0, None::<i64>);
        for Place { partition, read, records: waiting, fetched, .. } in &self.places {
            let end = self.shelf.queue.known_end(*partition).unwrap_or(read.next_offset);
            records += end.saturating_sub(read.next_offset);
            if !waiting.is_empty() || !fetched.is_at_end {
                since_ms = Some(since_ms.map_or(read.reached_ms, |since_ms| since_ms.min(read.reached_ms)));
            }
        }
        (records, since_ms)
    }

    /// Takes what librdkafka tells of the client.
    pub fn serve(&self) {
        self.shelf.reader.serve();
    }
}

fn at(begin: Begin) -> At {
    match begin {
        Begin::At(offset) => At::Offset(offset),
        Begin::Earliest { .. } => At::Earliest,
    }
}
