//! One delivery of the buffer, and what became of its records.

use local_buffer::Batch;

use super::state::State;
use crate::forward::route::ROUTES;

/// One delivery of the buffer, and what became of its records.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(super) batch: Batch,
    /// By record.
    pub(super) states: Vec<State>,
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
        self.states.clear();
        self.states.resize(self.batch.len(), State::Waiting);
        (self.waiting, self.done) = (self.states.len(), 0);
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
        self.done == self.states.len() && self.borrowed == [0; ROUTES]
    }
}
