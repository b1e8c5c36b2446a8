//! A lane that is held: what a worker keeps in memory between its restore and its end.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use changelog::{Clock, Cursor, Now, Point, Positions, Restored, State as _};
use wire::changelog::{
    Chain, Checkpoint, Genesis, Link, LogPositions, Moved, Output, Position, encode_batch, encode_checkpoint,
};
use wire::{Bucket, Digest};

use crate::index::Index;
use crate::input::{Cluster, Event};
use crate::mutant::Mutant;
use crate::place::Place;
use crate::rules::{Rules, bucket};

/// Batches decided and not committed: one on its way, and the next.
const DECIDED_MAX: usize = 2;
/// There is one lane.
pub(crate) const LANE: u32 = 0;

/// What one transaction writes.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Transaction {
    /// The fence that it was begun under.
    pub(crate) epoch: u8,
    pub(crate) record: Rc<[u8]>,
    pub(crate) published: Vec<Event>,
}

/// A transaction on its way.
#[derive(Debug, Clone, Hash)]
struct Flight {
    transaction: Transaction,
    is_checkpoint: bool,
    has_all_positions: bool,
}

/// A batch that is decided.
#[derive(Debug, Clone)]
struct Batch {
    clock_ms: i64,
    entries: Vec<(Digest, Bucket)>,
    published: Vec<Event>,
    positions: Vec<LogPositions>,
    is_all: bool,
}

/// What is held.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    rules: Rules,
    pub(crate) epoch: u8,
    pub(crate) index: Index,
    /// Partitions of each cluster that this worker has heard of.
    seen: Vec<usize>,
    genesis: Genesis,
    chain: Chain,
    positions: Positions,
    /// As the last record has them that was handed over.
    told: Positions,
    /// Batches since a record had every position.
    since_all: u32,
    clock: Clock,
    /// Where the clock stood when that was committed last.
    entered_ms: i64,
    /// Nothing is known of the time before the first stamp.
    is_stamped: bool,
    places: Vec<Place>,
    /// The one that is on its way among them.
    decided: VecDeque<Batch>,
    flight: Option<Flight>,
}

impl Lane {
    /// Behind the fence; its checkpoint is on its way.
    pub(crate) fn new(rules: Rules, epoch: u8, genesis: Genesis, restored: Restored<Index>, seen: Vec<usize>) -> Self {
        let clock = restored.clock(bucket(), rules.input_retention());
        let Restored { state: index, positions, chain, .. } = restored;
        let mut lane = Self {
            rules,
            epoch,
            index,
            seen,
            genesis,
            chain,
            told: positions.clone(),
            positions,
            since_all: 0,
            entered_ms: clock.now_ms(),
            clock,
            is_stamped: false,
            places: Vec::new(),
            decided: VecDeque::new(),
            flight: None,
        };
        lane.checkpoint();
        lane
    }

    /// The transaction that is on its way.
    pub(crate) fn in_flight(&self) -> Option<&Transaction> {
        self.flight.as_ref().map(|flight| &flight.transaction)
    }

    /// Whether another batch may be gathered: one beside the one that is on its way, and none beside a checkpoint.
    pub(crate) fn may_gather(&self) -> bool {
        self.decided.len() < DECIDED_MAX && self.flight.as_ref().is_none_or(|flight| !flight.is_checkpoint)
    }

    /// Whether it has not heard of a partition.
    pub(crate) fn is_stale(&self, inputs: &[Cluster]) -> bool {
        self.seen.iter().zip(inputs).any(|(seen, cluster)| *seen < cluster.partitions.len())
    }

    /// Hears of every partition.
    pub(crate) fn learn(&mut self, inputs: &[Cluster]) {
        self.seen = inputs.iter().map(|cluster| cluster.partitions.len()).collect();
    }

    /// Housekeeping of the index.
    pub(crate) fn maintain(&mut self) {
        self.index.maintain(self.clock.now_ms());
    }

    /// Reads records of the inputs, the partition at place `first` before the others, and decides them; or finds that the
    /// clock has entered a step, which is to be committed before. Whether there was anything to do.
    pub(crate) fn gather(&mut self, inputs: &[Cluster], first: usize, now_ms: i64) -> bool {
        let was = (self.clock.now_ms(), self.places.clone());
        self.open(inputs);
        let mut fronts: Vec<_> = self.places.iter_mut().map(|place| place.fetch(inputs, &mut self.positions)).collect();
        let reached: Vec<_> = self.places.iter().zip(&fronts).map(|(place, front)| place.reached(*front)).collect();
        let now = Now { wall_ms: now_ms, stamped_ms: self.is_stamped.then_some(now_ms), since: Duration::ZERO };
        let has_records = fronts.iter().any(Option::is_some);
        self.clock.advance(reached, now);
        if self.clock.wants_commit() {
            let may_commit = self.flight.is_none();
            if may_commit {
                self.checkpoint();
            }
            return may_commit || was != (self.clock.now_ms(), self.places.clone());
        }
        if !has_records {
            return was.1 != self.places;
        }
        let mut events = Vec::new();
        let count = self.places.len();
        for place in (0..count).map(|place| (first + place) % count) {
            while let Some(event) = fronts[place].take().filter(|_| events.len() < self.rules.batch_max) {
                self.places[place].read(event);
                events.push(event);
                fronts[place] = self.places[place].fetch(inputs, &mut self.positions);
            }
        }
        self.decide(&events, now.newest_ms());
        true
    }

    /// Opens the partitions that this worker has heard of, and those that were ever read.
    fn open(&mut self, inputs: &[Cluster]) {
        self.places.retain(|place| place.making == inputs[place.cluster].making);
        for (number, cluster) in inputs.iter().enumerate() {
            let (cluster_id, topic_id) = (cluster.cluster_id(), cluster.topic_id());
            let known: Vec<_> = self.positions.partitions(&cluster_id, topic_id).collect();
            for partition in (0..self.seen[number] as u32).chain(known) {
                if self.places.iter().any(|place| (place.cluster, place.partition) == (number, partition)) {
                    continue;
                }
                let mut position = self.positions.of(&cluster_id, topic_id, partition).copied();
                if let Some(position) = position.as_mut().filter(|_| self.rules.is(Mutant::ProofWithoutTime)) {
                    position.appended_ms = -1;
                }
                let cursor = Cursor::new(position.as_ref(), self.clock.now_ms());
                self.places.push(Place::new(number, cluster, partition, cursor));
            }
        }
    }

    fn decide(&mut self, events: &[Event], newest_ms: i64) {
        let clock_ms = self.clock.now_ms();
        let candidates: Vec<_> = events.iter().map(|event| (self.digest(event.id), event.received_ms)).collect();
        let (verdicts, entries) = self.index.decide(&candidates, (clock_ms, newest_ms));
        let published = events.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_published());
        let published = published.map(|(event, _)| *event).collect();
        let is_all = self.since_all >= self.rules.all_every;
        let positions = self.address(is_all);
        self.decided.push_back(Batch { clock_ms, entries, published, positions, is_all });
        if self.flight.is_none() {
            self.send();
        }
    }

    /// An id under the genesis' seed.
    fn digest(&self, id: u8) -> Digest {
        digest(&self.genesis, id)
    }

    /// What a batch says of the positions.
    fn address(&mut self, is_all: bool) -> Vec<LogPositions> {
        self.places.iter().for_each(|place| place.enter(&mut self.positions));
        let positions = if is_all {
            self.since_all = 0;
            self.positions.as_slice().to_vec()
        } else {
            self.since_all += 1;
            self.positions.moved_since(&self.told)
        };
        self.told.clone_from(&self.positions);
        positions
    }

    /// Sends the oldest batch.
    fn send(&mut self) {
        let Some(Batch { clock_ms, entries, published, positions, is_all }) = self.decided.front() else { return };
        let mut record = Vec::new();
        let moved = Moved { positions, is_all: *is_all };
        encode_batch(&mut record, (LANE, self.chain), *clock_ms, moved, Output::Partition(0), entries);
        let transaction = Transaction { epoch: self.epoch, record: record.into(), published: published.clone() };
        self.flight = Some(Flight { transaction, is_checkpoint: false, has_all_positions: *is_all });
    }

    fn checkpoint(&mut self) {
        let mut record = Vec::new();
        let (genesis, clock_ms) = (self.genesis, self.clock.now_ms());
        let mut positions = self.told.as_slice().to_vec();
        if self.rules.is(Mutant::CheckpointOfWhatIsSeen) {
            let seen = self.seen.iter().copied().max().unwrap_or(0) as u32;
            for LogPositions { partitions, .. } in &mut positions {
                partitions.retain(|position| position.partition < seen);
            }
        }
        self.since_all = 0;
        encode_checkpoint(&mut record, LANE, self.chain, &Checkpoint { genesis, positions, clock_ms });
        let transaction = Transaction { epoch: self.epoch, record: record.into(), published: Vec::new() };
        self.flight = Some(Flight { transaction, is_checkpoint: true, has_all_positions: true });
    }

    /// What was on its way is committed, and the log stands at `point`.
    pub(crate) fn committed(&mut self, point: Point) {
        let Some(flight) = self.flight.take() else { return };
        self.chain.before = Some(Link { end: point.next_offset, checksum: point.checksum });
        if flight.has_all_positions {
            self.chain.checkpoint = Some(point.next_offset);
        }
        self.is_stamped = true;
        if flight.is_checkpoint {
            self.index.advance(point, self.clock.now_ms());
            self.clock.entered();
            self.entered_ms = self.clock.now_ms();
        } else {
            self.index.commit(point);
            self.decided.pop_front();
            self.send();
        }
    }

    /// What was on its way was aborted, and nothing follows but what a mutant does. Whether it goes on all the same.
    pub(crate) fn goes_on_after_abort(&mut self) -> bool {
        if self.rules.is(Mutant::PositionsStay) {
            self.index.discard();
            self.decided.clear();
            self.flight = None;
            return true;
        }
        if self.rules.is(Mutant::NextIsKept) && self.decided.len() == DECIDED_MAX {
            self.index.discard_oldest();
            self.decided.pop_front();
            self.send();
            return true;
        }
        false
    }
}

/// An id under a genesis: those of another seed are strangers.
pub(crate) fn digest(genesis: &Genesis, id: u8) -> Digest {
    Digest(u128::from(genesis.seed.0) << 64 | u128::from(id))
}

impl Hash for Batch {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.clock_ms, &self.entries, &self.published, self.is_all).hash(hasher);
        hash_positions(&self.positions, hasher);
    }
}

/// The clock's own belief in inputs that do not answer is left out: here all of them do.
impl Hash for Lane {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let link = self.chain.before.map(|link| (link.end, link.checksum));
        (self.epoch, &self.index, &self.seen, self.genesis.seed.0, link, self.chain.checkpoint).hash(hasher);
        (self.since_all, self.clock.now_ms(), self.entered_ms, self.is_stamped).hash(hasher);
        (&self.places, &self.decided, &self.flight).hash(hasher);
        hash_positions(self.positions.as_slice(), hasher);
        hash_positions(self.told.as_slice(), hasher);
    }
}

fn hash_positions<H: Hasher>(positions: &[LogPositions], hasher: &mut H) {
    positions.len().hash(hasher);
    for LogPositions { cluster_id, topic_id, partitions } in positions {
        (cluster_id, topic_id, partitions.len()).hash(hasher);
        for Position { partition, leader_epoch, next_offset, appended_ms } in partitions {
            (partition, leader_epoch, next_offset, appended_ms).hash(hasher);
        }
    }
}
