//! One delivery of the buffer, and what became of its records.

use local_buffer::{Batch, RecordId};

use super::state::State;
use crate::forward::route::ROUTES;

/// One delivery of the buffer, and what became of its records.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(super) batch: Batch,
    /// By record; none once they were [released](Self::release).
    pub(super) states: Vec<State>,
    /// How many there are, or were.
    pub(super) records: usize,
    /// The id behind the last one.
    end: Option<RecordId>,
    /// Records in a state in which they have to be handed over.
    pub(super) waiting: usize,
    pub(super) done: usize,
    /// Records that each producer may still read, counted once for each time they were handed over.
    pub(super) borrowed: [usize; ROUTES],
}

impl Entry {
    /// The batch to read into, while nobody reads from it.
    pub(crate) fn batch_mut(&mut self) -> &mut Batch {
        assert!(self.borrowed == [0; ROUTES], "librdkafka still reads from this batch");
        &mut self.batch
    }

    /// All that was read into it waits.
    pub(super) fn begin(&mut self) {
        (self.records, self.end) = (self.batch.len(), self.batch.end());
        self.states.clear();
        self.states.resize(self.records, State::Waiting);
        (self.waiting, self.done) = (self.records, 0);
    }

    /// Gives a record the state that `next` makes of its own. Says whether it had to be handed over before, and whether
    /// it has to be now.
    pub(super) fn change(&mut self, index: usize, next: impl FnOnce(State) -> State) -> (bool, bool) {
        let Some(state) = self.states.get_mut(index) else { return (false, false) };
        let before = std::mem::replace(state, next(*state));
        let (was, is) = (before.is_waiting(), state.is_waiting());
        self.done += usize::from(*state == State::Done && before != State::Done);
        self.waiting = self.waiting + usize::from(is) - usize::from(was);
        (was, is)
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_over(&self) -> bool {
        self.done == self.records && self.borrowed == [0; ROUTES]
    }

    /// Gives away the memory of one that is over; how many records it had and where they end is still known.
    pub(super) fn release(&mut self) -> Self {
        assert!(self.is_over(), "somebody still needs these records");
        let (batch, states) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.states));
        Self { batch, states, ..Self::default() }
    }

    /// Of the records from one on, how many in a row are done.
    pub(super) fn row(&self, from: usize) -> usize {
        if self.done == self.records {
            return self.records - from;
        }
        self.states.iter().skip(from).take_while(|state| **state == State::Done).count()
    }

    /// The id behind so many of its records, at least one.
    pub(super) fn end_of(&self, records: usize) -> Option<RecordId> {
        if records == self.records {
            return self.end;
        }
        self.batch.iter().nth(records - 1).map(|(id, _)| id.next())
    }
}
