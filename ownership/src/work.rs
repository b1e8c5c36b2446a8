//! What is done in a lane.

use std::time::Duration;

use changelog::{Restored, State};
use kafka::{Failure, Outgoing, Probe, TopicFacts};
use wire::changelog::Chain;

use crate::{Committed, Fault};

/// The genesis of a work's log.
pub type GenesisOf<W> = <<W as Work>::State as State>::Genesis;

/// What is done in one lane: an index that decides, an archive that cuts, a destination that is delivered to. One value lives
/// as long as this process should own the lane; nothing of it runs on two threads at once.
pub trait Work: Send + 'static {
    /// What is made of the log.
    type State: State + Send;
    /// What goes into one transaction.
    type Batch: Batch;

    /// What an error of the state means.
    fn fault(error: <Self::State as State>::Error) -> Fault;

    /// How the state is kept.
    fn settings(&self) -> &<Self::State as State>::Settings;

    /// The log's end is measured behind the fence, of this topic. A topic that is made anew has the same name: whoever sees
    /// later that the name means another one gives the lane up with [`Fault::Again`].
    fn found(&mut self, log: &TopicFacts) {
        let _ = log;
    }

    /// What a log is begun with that holds nothing.
    ///
    /// # Errors
    /// Where it was lost, or is not to be begun by this process.
    fn begin(&mut self, probe: &Probe) -> Result<GenesisOf<Self>, Fault>;

    /// Whether a log that began so is one to work on.
    ///
    /// # Errors
    /// Where it is not.
    fn accept(&self, genesis: &GenesisOf<Self>) -> Result<(), Fault>;

    /// Appends the genesis as the first record of the log.
    fn genesis(&self, genesis: &GenesisOf<Self>, record: &mut Vec<u8>);

    /// The state is where the log ended a moment ago. The fence is taken next, and somebody else may be at work until then:
    /// what [`restored`](Self::restored) gets is this, or goes further. What takes time to open may be opened now. Must not
    /// wait.
    fn caught_up(&mut self, restored: &Restored<Self::State>) {
        let _ = restored;
    }

    /// The state is at the log's end, behind the fence. Must not wait.
    ///
    /// # Errors
    /// Where it cannot be worked with.
    fn restored(&mut self, genesis: GenesisOf<Self>, restored: &mut Restored<Self::State>) -> Result<(), Fault>;

    /// Adds to the batch what there is to do; called again and again. Must not wait. While it `is_busy` nothing is sent anyway,
    /// but a full batch: one that is not waits for more, and any other goes at once.
    ///
    /// # Errors
    /// [`Fault`]: everything that is not committed is discarded.
    fn gather(&mut self, state: &mut Self::State, batch: &mut Self::Batch, is_busy: bool) -> Result<Gathered, Fault>;

    /// Appends a checkpoint of everything that is committed, as a record of the log behind those of `chain`. Nothing is on
    /// its way meanwhile.
    fn checkpoint(&mut self, chain: Chain, record: &mut Vec<u8>);

    /// The checkpoint is committed.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    fn checkpointed(&mut self, state: &mut Self::State, at: Committed) -> Result<(), Fault>;

    /// The batch is committed: the state learns of it, and what follows a commit is done. A crash before leaves the log
    /// with the record and the rest undone, so it must be done again from what a replay finds.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    fn committed(&mut self, state: &mut Self::State, batch: &mut Self::Batch, at: Committed) -> Result<(), Fault>;

    /// What was on its way was not committed as far as is known, for this reason. Everything that is not committed is
    /// discarded next.
    fn lost(&mut self, why: &Failure) {
        let _ = why;
    }

    /// About once a second; `is_busy` while a transaction is on its way.
    ///
    /// # Errors
    /// As [`gather`](Self::gather).
    fn tend(&mut self, state: &mut Self::State, is_busy: bool) -> Result<(), Fault>;

    /// The lane is let go. What was not committed is discarded.
    fn release(&mut self, state: Self::State);
}

/// What goes into one transaction.
pub trait Batch: Default + Send + 'static {
    /// What is written elsewhere; may be nothing. Called on the publishing thread.
    fn outputs(&self) -> impl Iterator<Item = Outgoing<'_>>;

    /// Appends the record of the log, behind those of `chain`. It is sent together with the outputs.
    fn record(&self, chain: Chain, record: &mut Vec<u8>);

    /// Whether that record has every position, so that reading may begin at it.
    fn has_all_positions(&self) -> bool;

    /// Whether nothing was gathered into it.
    fn is_empty(&self) -> bool;

    /// Empties it, for the next one.
    fn clear(&mut self);
}

/// What [`Work::gather`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gathered {
    /// The batch goes out as soon as the one before is committed.
    Ready,
    /// It is not worth a transaction yet: again when woken, and after this time at the latest.
    Wait(Duration),
    /// A checkpoint is due before anything else.
    Checkpoint,
}
