//! The records that were read and are not yet safe in a cluster: bounded, in order, each in one state.
//!
//! Records lie in the batches in which the buffer delivered them, and librdkafka reads them there: nothing is copied on
//! the way to it. A batch therefore stays as it is until every record that was handed over has come back, from
//! whichever cluster, and only then takes new records. The floor follows the gap-free row of finished records.

use std::collections::VecDeque;

use local_buffer::{Batch, RecordId};

use super::fault::Fault;
use super::router::Cluster;

/// Producers.
const ROUTES: usize = 4;
/// Records of one batch at most: their index is part of a token.
pub(crate) const BATCH_RECORDS_MAX: usize = 1024;
/// Bytes of one batch, unless a single record is larger.
pub(crate) const BATCH_BYTES_MAX: usize = 256 << 10;
/// Batches at most, each of which may have grown to its full size: with it the memory of the window has a bound even
/// where each batch holds one record.
const BATCHES_MAX: usize = 256;
/// Batches kept for later.
const SPARE_MAX: usize = 64;

/// What a record is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// To be handed over.
    Waiting,
    /// To be handed over once more, after a failure.
    Again,
    /// To be handed over alone: a batch that it was part of was refused.
    Suspect {
        /// Clusters that refused it alone, one bit each.
        refused: u8,
    },
    /// For an answer.
    Sent {
        /// The producer that has it.
        route: Route,
        /// Where it is tried alone: the clusters that refused it so before.
        refused: u8,
    },
    /// For nothing: acknowledged or in quarantine.
    Done,
}

/// One of the producers: each cluster has one for all records and one for those that are tried alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Whose it is.
    pub cluster: Cluster,
    /// Whether it sends each record alone.
    pub alone: bool,
}

impl Route {
    /// All of them.
    pub(crate) const ALL: [Self; ROUTES] = [
        Self { cluster: Cluster::Primary, alone: false },
        Self { cluster: Cluster::Primary, alone: true },
        Self { cluster: Cluster::Secondary, alone: false },
        Self { cluster: Cluster::Secondary, alone: true },
    ];

    fn index(self) -> usize {
        self.cluster as usize * 2 + usize::from(self.alone)
    }
}

/// Names one record of the window, and its track; what librdkafka carries and gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    batch: u32,
    index: u16,
    /// Its partition, or the track of `events.rejected` behind the last one.
    pub track: u16,
}

impl Token {
    /// The same record with its track.
    pub(crate) fn on_track(self, track: u16) -> Self {
        Self { track, ..self }
    }

    /// As a number.
    pub(crate) fn to_usize(self) -> usize {
        (self.batch as usize) << 32 | usize::from(self.index) << 16 | usize::from(self.track)
    }

    /// From its number.
    pub(crate) fn from_usize(number: usize) -> Self {
        Self { batch: (number >> 32) as u32, index: (number >> 16) as u16, track: number as u16 }
    }
}

/// One delivery of the buffer, and what became of its records.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    batch: Batch,
    states: Vec<State>,
    /// Records in a state in which they have to be handed over.
    waiting: usize,
    done: usize,
    /// Records that each producer may still read, counted once for each time they were handed over.
    borrowed: [usize; ROUTES],
}

impl Entry {
    /// The batch to read into, while nobody reads from it.
    pub(crate) fn batch_mut(&mut self) -> &mut Batch {
        assert!(self.borrowed == [0; ROUTES], "librdkafka still reads from this batch");
        &mut self.batch
    }

    fn is_over(&self) -> bool {
        self.done == self.states.len() && self.borrowed == [0; ROUTES]
    }
}

/// The window.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// Number of the first entry, modulo 2^32.
    first: u32,
    spare: Vec<Entry>,
    records: usize,
    bytes: usize,
    waiting: usize,
    /// Entry and record before which all are done.
    floor: (usize, usize),
}

impl Window {
    /// An entry to read into.
    pub(crate) fn take_spare(&mut self) -> Entry {
        self.spare.pop().unwrap_or_default()
    }

    /// Puts an entry that was read into behind all others; an empty one goes back to the spare ones.
    pub(crate) fn push(&mut self, mut entry: Entry) {
        entry.states.clear();
        entry.states.resize(entry.batch.len(), State::Waiting);
        (entry.waiting, entry.done) = (entry.states.len(), 0);
        if entry.batch.is_empty() {
            self.keep(entry);
            return;
        }
        self.records += entry.batch.len();
        self.bytes += entry.batch.bytes();
        self.waiting += entry.waiting;
        self.entries.push_back(entry);
    }

    fn keep(&mut self, entry: Entry) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entry);
        }
    }

    /// Whether another batch fits, by the number of batches.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < BATCHES_MAX
    }

    /// Records in it that are not done, or cannot be forgotten yet.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Bytes held by it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that have to be handed over.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Shows `visit` every record that has to be handed over, in order, with its state; what it gives becomes the state.
    /// It ends early where `visit` gives `None`.
    pub(crate) fn hand_over(&mut self, mut visit: impl FnMut(Token, RecordId, &[u8], State) -> Option<State>) {
        for (offset, entry) in self.entries.iter_mut().enumerate() {
            if entry.waiting == 0 {
                continue;
            }
            let batch = self.first.wrapping_add(offset as u32);
            for (index, ((id, record), state)) in entry.batch.iter().zip(&mut entry.states).enumerate() {
                if !matches!(state, State::Waiting | State::Again | State::Suspect { .. }) {
                    continue;
                }
                let token = Token { batch, index: index as u16, track: 0 };
                let Some(next) = visit(token, id, record, *state) else { return };
                match next {
                    State::Sent { route, .. } => entry.borrowed[route.index()] += 1,
                    State::Done => entry.done += 1,
                    State::Waiting | State::Again | State::Suspect { .. } => {
                        *state = next;
                        continue;
                    }
                }
                *state = next;
                entry.waiting -= 1;
                self.waiting -= 1;
                if entry.waiting == 0 {
                    break;
                }
            }
        }
    }

    /// A record came back from a producer, which no longer reads it. `next` is given its state and gives the new one.
    pub(crate) fn came_back(&mut self, token: Token, route: Route, next: impl FnOnce(State) -> State) {
        let offset = token.batch.wrapping_sub(self.first) as usize;
        let Some(entry) = self.entries.get_mut(offset) else {
            debug_assert!(false, "an entry stays while records of it are out");
            return;
        };
        let borrowed = &mut entry.borrowed[route.index()];
        *borrowed = borrowed.saturating_sub(1);
        self.change(offset, usize::from(token.index), next);
    }

    /// A producer is gone and reads nothing any more: what it had and never reported has to be handed over again.
    pub(crate) fn lost(&mut self, gone: Route) {
        for offset in 0..self.entries.len() {
            self.entries[offset].borrowed[gone.index()] = 0;
            for index in 0..self.entries[offset].states.len() {
                self.change(offset, index, |state| match state {
                    State::Sent { route, refused } if route == gone => again(route, refused),
                    other => other,
                });
            }
        }
    }

    fn change(&mut self, offset: usize, index: usize, next: impl FnOnce(State) -> State) {
        let entry = &mut self.entries[offset];
        let Some(state) = entry.states.get_mut(index) else { return };
        let is_waiting = |state| matches!(state, State::Waiting | State::Again | State::Suspect { .. });
        let before = std::mem::replace(state, next(*state));
        let (was, is) = (is_waiting(before), is_waiting(*state));
        entry.done += usize::from(*state == State::Done && before != State::Done);
        entry.waiting = entry.waiting + usize::from(is && !was) - usize::from(was && !is);
        self.waiting = self.waiting + usize::from(is && !was) - usize::from(was && !is);
    }

    /// The end of the gap-free row of finished records, if it has moved; forgets what lies wholly below it.
    pub(crate) fn advance(&mut self) -> Option<RecordId> {
        let mut end = None;
        while let Some(entry) = self.entries.get(self.floor.0) {
            let from = self.floor.1;
            let row = entry.states[from..].iter().take_while(|state| **state == State::Done).count();
            if row > 0 {
                end = entry.batch.iter().nth(from + row - 1).map(|(id, _)| id.next());
                self.floor.1 += row;
            }
            if self.floor.1 < entry.states.len() {
                break;
            }
            self.floor = (self.floor.0 + 1, 0);
        }
        while self.entries.front().is_some_and(Entry::is_over) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.first = self.first.wrapping_add(1);
            self.floor.0 = self.floor.0.saturating_sub(1);
            self.records -= entry.batch.len();
            self.bytes -= entry.batch.bytes();
            self.keep(entry);
        }
        end
    }
}

/// The state of a record that has to go out once more, as it did before.
pub(crate) fn again(route: Route, refused: u8) -> State {
    if route.alone { State::Suspect { refused } } else { State::Again }
}

/// The state of a record that came back with a fault.
pub(crate) fn after(fault: Fault, route: Route, refused: u8) -> State {
    match fault {
        Fault::Record if route.alone => State::Suspect { refused: refused | bit(route.cluster) },
        Fault::Record => State::Suspect { refused: 0 },
        Fault::TakenBack if !route.alone => State::Waiting,
        Fault::TakenBack | Fault::Cluster | Fault::Topic | Fault::Producer => again(route, refused),
    }
}

/// A cluster's bit in the set of those that refused a record.
pub(crate) fn bit(cluster: Cluster) -> u8 {
    1 << cluster as u8
}

#[cfg(test)]
mod tests {
    use local_buffer::{Options, Queue, Reader};

    use super::*;

    const PRIMARY: Route = Route::ALL[0];
    const SECONDARY: Route = Route::ALL[2];

    struct Rig {
        window: Window,
        reader: Reader,
        queue: Queue,
        _dir: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (mut queue, _) =
                Queue::open(dir.path(), Options { segment_bytes: 1 << 18, ..Options::default() }).unwrap();
            let reader = queue.take_reader().unwrap();
            Self { window: Window::default(), reader, queue, _dir: dir }
        }

        /// Reads `count` new records as one batch.
        fn fill(&mut self, count: usize) {
            let appender = self.queue.appender();
            let all: Vec<_> = (0..count).map(|n| appender.append(&[n as u8; 100]).unwrap()).collect();
            all.last().unwrap().wait(&appender).unwrap();
            let mut entry = self.window.take_spare();
            assert_eq!(self.reader.read(entry.batch_mut(), count, 1 << 20).unwrap(), count);
            self.window.push(entry);
        }

        /// Hands up to `count` records to a producer.
        fn send(&mut self, route: Route, count: usize) -> Vec<Token> {
            let mut tokens = Vec::new();
            self.window.hand_over(|token, _, _, _| {
                let token = Token { track: 3, ..token };
                (tokens.len() < count).then(|| tokens.push(token))?;
                Some(State::Sent { route, refused: 0 })
            });
            tokens
        }

        fn acknowledge(&mut self, token: Token, route: Route) {
            self.window.came_back(token, route, |_| State::Done);
        }

        fn floor(&mut self) -> Option<u64> {
            let end = self.window.advance()?;
            self.reader.acknowledge(end).unwrap();
            Some(end.get())
        }
    }

    #[test]
    fn tokens_are_numbers_and_back() {
        let token = Token { batch: u32::MAX, index: 1023, track: 65_535 };
        assert_eq!(Token::from_usize(token.to_usize()), token);
    }

    #[test]
    fn the_floor_moves_over_gap_free_records_only() {
        let mut rig = Rig::new();
        rig.fill(3);
        rig.fill(2);
        let tokens = rig.send(PRIMARY, 10);
        assert_eq!((tokens.len(), rig.window.waiting(), rig.floor()), (5, 0, None));
        rig.acknowledge(tokens[1], PRIMARY);
        rig.acknowledge(tokens[3], PRIMARY);
        assert_eq!(rig.floor(), None, "the first one is not done");
        rig.acknowledge(tokens[0], PRIMARY);
        assert_eq!(rig.floor(), Some(2));
        rig.acknowledge(tokens[2], PRIMARY);
        assert_eq!((rig.floor(), rig.window.records()), (Some(4), 2));
        rig.acknowledge(tokens[4], PRIMARY);
        assert_eq!((rig.floor(), rig.window.records(), rig.window.bytes()), (Some(5), 0, 0));
        assert!(rig.window.is_empty());
    }

    #[test]
    fn a_batch_is_kept_while_anybody_may_read_it() {
        let mut rig = Rig::new();
        rig.fill(1);
        let token = rig.send(PRIMARY, 1)[0];
        // It is given to the other cluster before the first one has given it back.
        let mut rest = Vec::new();
        rig.window.change(0, 0, |_| State::Waiting);
        rest.extend(rig.send(SECONDARY, 1));
        rig.acknowledge(rest[0], SECONDARY);
        assert_eq!(rig.floor(), Some(1), "it is safe in one of them");
        assert!(!rig.window.is_empty(), "but the other one may still read it");
        rig.window.came_back(token, PRIMARY, |state| state);
        assert_eq!(rig.floor(), None);
        assert!(rig.window.is_empty());
    }

    #[test]
    fn what_a_lost_producer_had_waits_again_and_is_free_to_be_forgotten() {
        let mut rig = Rig::new();
        rig.fill(4);
        let tokens = rig.send(PRIMARY, 2);
        let alone = Route { alone: true, ..PRIMARY };
        rig.send(alone, 1);
        rig.acknowledge(tokens[0], PRIMARY);
        rig.window.lost(PRIMARY);
        assert_eq!(rig.window.waiting(), 2, "the one it had, and the one nobody had");
        let mut seen = Vec::new();
        rig.window.hand_over(|_, id, _, state| {
            seen.push((id.get(), state));
            Some(state)
        });
        assert_eq!(seen, [(1, State::Again), (3, State::Waiting)]);
        rig.window.lost(alone);
        rig.window.hand_over(|_, _, _, _| Some(State::Done));
        assert_eq!((rig.floor(), rig.window.is_empty()), (Some(4), true));
    }

    #[test]
    fn batches_are_used_again() {
        let mut rig = Rig::new();
        for round in 1..=3 {
            rig.fill(2);
            for token in rig.send(PRIMARY, 2) {
                rig.acknowledge(token, PRIMARY);
            }
            assert_eq!((rig.floor(), rig.window.spare.len()), (Some(round * 2), 1));
        }
    }

    #[test]
    fn a_refused_record_is_tried_alone_and_remembers_who_refused_it() {
        let [main, alone, _, other_alone] = Route::ALL;
        assert_eq!(after(Fault::Record, main, 0), State::Suspect { refused: 0 });
        assert_eq!(after(Fault::Record, alone, 0), State::Suspect { refused: 0b01 });
        assert_eq!(after(Fault::Record, other_alone, 0b01), State::Suspect { refused: 0b11 });
        assert_eq!(after(Fault::Cluster, other_alone, 0b01), State::Suspect { refused: 0b01 });
        assert_eq!(after(Fault::TakenBack, main, 0), State::Waiting);
        assert_eq!(after(Fault::TakenBack, alone, 0b10), State::Suspect { refused: 0b10 });
        assert_eq!(after(Fault::Cluster, main, 0), State::Again);
        assert_eq!(after(Fault::Producer, main, 0), State::Again);
    }
}
