//! The records that were read and are not yet safe in a cluster: bounded, in order, each in one state.
//!
//! Records lie in the batches in which the buffer delivered them, and librdkafka reads them there: nothing is copied on
//! the way to it. A batch therefore stays as it is until every record that was handed over has come back, from
//! whichever cluster, and only then takes new records. The floor follows the gap-free row of finished records.
//!
//! One record that does not come back holds the floor and its own batch, and no other: a batch that is over gives its
//! memory away at once, wherever it lies, and what is left of it is the place where it was. So the bound of the window
//! is on what it costs: bytes of the batches that are not over, and for each place a fixed amount.

use std::collections::VecDeque;

use local_buffer::RecordId;

use super::entry::Entry;
use super::state::State;
use super::token::Token;
use crate::forward::route::Route;

/// Records of one batch at most: their index is part of a token.
pub(crate) const BATCH_RECORDS_MAX: usize = 1024;
/// What a batch costs besides the bytes of its records, however many it has: its place here, three blocks of memory and
/// their least sizes.
const BATCH_BYTES: usize = 512;
/// Batches kept for later.
const SPARE_MAX: usize = 64;

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
    /// No record of an entry before this one has to be handed over.
    waits_from: usize,
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
        entry.begin();
        if entry.batch.is_empty() {
            self.keep(entry);
            return;
        }
        entry.batch.trim();
        self.records += entry.records;
        self.bytes += entry.batch.bytes();
        self.waiting += entry.waiting;
        self.entries.push_back(entry);
    }

    fn keep(&mut self, entry: Entry) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entry);
        }
    }

    /// Bytes of memory that it costs; at most twice as many are taken for them.
    pub(crate) fn cost(&self) -> usize {
        self.bytes + self.entries.len() * BATCH_BYTES
    }

    /// Records in batches that are not over.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Their bytes.
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
        let mut unseen = self.waiting;
        let mut is_first = true;
        for (offset, entry) in self.entries.iter_mut().enumerate().skip(self.waits_from) {
            if unseen == 0 {
                break;
            }
            if entry.waiting == 0 {
                continue;
            }
            // With thousands of small batches behind one record that is not done, looking for the next one would cost
            // more than handing it over.
            if std::mem::take(&mut is_first) {
                self.waits_from = offset;
            }
            unseen -= entry.waiting;
            let batch = self.first.wrapping_add(offset as u32);
            for (index, ((id, record), state)) in entry.batch.iter().zip(&mut entry.states).enumerate() {
                if !state.is_waiting() {
                    continue;
                }
                let token = Token { batch, index: index as u16, track: 0 };
                let Some(next) = visit(token, id, record, *state) else { return };
                match next {
                    State::Sent { route, .. } => entry.borrowed[route.index()] += 1,
                    State::Done => entry.done += 1,
                    State::Waiting | State::Again | State::Held { .. } | State::Suspect { .. } => {
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
        // The first one is for `advance`, which it is about to move.
        let entry = &mut self.entries[offset];
        if offset > 0 && entry.is_over() {
            let spare = entry.release();
            self.forget(spare);
        }
    }

    /// Takes the memory of records that nobody needs any more.
    fn forget(&mut self, entry: Entry) {
        self.records -= entry.batch.len();
        self.bytes -= entry.batch.bytes();
        self.keep(entry);
    }

    /// A producer is gone and reads nothing any more: what it had and never reported has to be handed over again.
    pub(crate) fn lost(&mut self, gone: Route) {
        for offset in 0..self.entries.len() {
            self.entries[offset].borrowed[gone.index()] = 0;
            for index in 0..self.entries[offset].states.len() {
                self.change(offset, index, |state| match state {
                    State::Sent { route, refused } if route == gone => State::again(route, refused),
                    other => other,
                });
            }
        }
    }

    fn change(&mut self, offset: usize, index: usize, next: impl FnOnce(State) -> State) {
        let (was, is) = self.entries[offset].change(index, next);
        self.waiting = self.waiting + usize::from(is) - usize::from(was);
        if is {
            self.waits_from = self.waits_from.min(offset);
        }
    }

    /// The end of the gap-free row of finished records, if it has moved; forgets what lies wholly below it.
    pub(crate) fn advance(&mut self) -> Option<RecordId> {
        let mut end = None;
        while let Some(entry) = self.entries.get(self.floor.0) {
            let from = self.floor.1;
            let row = entry.row(from);
            if row > 0 {
                end = entry.end_of(from + row);
                self.floor.1 += row;
            }
            if self.floor.1 < entry.records {
                break;
            }
            self.floor = (self.floor.0 + 1, 0);
        }
        while self.entries.front().is_some_and(Entry::is_over) {
            let Some(entry) = self.entries.pop_front() else { break };
            self.first = self.first.wrapping_add(1);
            self.floor.0 = self.floor.0.saturating_sub(1);
            self.waits_from = self.waits_from.saturating_sub(1);
            // One that was released has nothing left to be used again.
            if !entry.states.is_empty() {
                self.forget(entry);
            }
        }
        end
    }
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
    fn a_batch_behind_one_that_is_stuck_gives_its_memory_away_and_keeps_its_place() {
        let mut rig = Rig::new();
        for count in [2, 3, 1] {
            rig.fill(count);
        }
        let tokens = rig.send(PRIMARY, 10);
        tokens[1..5].iter().for_each(|token| rig.acknowledge(*token, PRIMARY));
        assert_eq!((rig.window.records(), rig.window.bytes(), rig.window.spare.len()), (3, 300, 1));
        assert_eq!(rig.window.cost(), 300 + 3 * BATCH_BYTES);
        assert_eq!(rig.floor(), None);
        rig.fill(1);
        assert_eq!((rig.send(PRIMARY, 10).len(), rig.window.spare.len()), (1, 0), "another one has its memory");
        rig.acknowledge(tokens[0], PRIMARY);
        assert_eq!((rig.floor(), rig.window.records(), rig.window.spare.len()), (Some(5), 2, 1));
        rig.acknowledge(tokens[5], PRIMARY);
        assert_eq!((rig.floor(), rig.window.records()), (Some(6), 1));
    }

    #[test]
    fn a_batch_that_the_floor_has_passed_in_part_or_whole_may_be_over_later() {
        let mut rig = Rig::new();
        rig.fill(1);
        rig.fill(2);
        let tokens = rig.send(PRIMARY, 3);
        // The first batch stays, because the other producer may read it, and the floor goes on into the second.
        rig.window.change(0, 0, |_| State::Waiting);
        rig.send(SECONDARY, 1);
        rig.acknowledge(tokens[0], PRIMARY);
        rig.acknowledge(tokens[1], PRIMARY);
        assert_eq!(rig.floor(), Some(2));
        rig.acknowledge(tokens[2], PRIMARY);
        assert_eq!(rig.window.records(), 1, "the second one has gone");
        assert_eq!((rig.floor(), rig.floor()), (Some(3), None));
        rig.window.lost(SECONDARY);
        assert_eq!((rig.floor(), rig.window.is_empty()), (None, true));
    }

    #[test]
    fn a_small_batch_does_not_keep_the_memory_of_a_large_one() {
        let mut rig = Rig::new();
        rig.fill(1000);
        rig.send(PRIMARY, 1000).into_iter().for_each(|token| rig.acknowledge(token, PRIMARY));
        rig.floor();
        assert!(rig.window.spare[0].batch.capacity() >= 100_000);
        rig.fill(1);
        let capacity = rig.window.entries[0].batch.capacity();
        assert!((100..200).contains(&capacity), "{capacity}");
    }

    #[test]
    fn records_that_wait_are_found_wherever_they_are() {
        let mut rig = Rig::new();
        (0..4).for_each(|_| rig.fill(1));
        let tokens = rig.send(PRIMARY, 2);
        let waiting = |rig: &mut Rig| {
            let mut ids = Vec::new();
            rig.window.hand_over(|_, id, _, state| {
                ids.push(id.get());
                Some(state)
            });
            ids
        };
        assert_eq!((waiting(&mut rig), rig.window.waits_from), (vec![2, 3], 2));
        rig.window.came_back(tokens[1], PRIMARY, |_| State::Again);
        assert_eq!((waiting(&mut rig), rig.window.waits_from), (vec![1, 2, 3], 1));
        rig.acknowledge(tokens[0], PRIMARY);
        rig.floor();
        assert_eq!((waiting(&mut rig), rig.window.waits_from), (vec![1, 2, 3], 0));
        assert_eq!(rig.send(PRIMARY, 10).len(), 3);
        rig.window.lost(PRIMARY);
        assert_eq!((waiting(&mut rig), rig.window.waits_from), (vec![1, 2, 3], 0));
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
}
