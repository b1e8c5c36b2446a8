//! A state: what is kept of a log so as not to read it for every question.

use std::path::Path;

use wire::Window;
use wire::changelog::{Chain, LogPositions};

use crate::{LogId, Mistrust, Point};

/// What became of a record that was handed to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was applied.
    Yes,
    /// It had been applied already, and was passed over.
    Covered,
}

/// What a record says beside what the state makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'r, G> {
    /// The genesis, where the record is it or repeats it.
    pub genesis: Option<G>,
    /// Whether it is the genesis itself: nothing came before.
    pub is_genesis: bool,
    /// Whether the log is being made again from here: what lies before counts no more.
    pub is_mark: bool,
    /// What lies before it.
    pub chain: Chain,
    /// The window's clock, milliseconds since the Unix epoch; of the genesis: when it was made.
    pub clock_ms: i64,
    /// How far the inputs had been read, where that had moved.
    pub positions: &'r [LogPositions],
    /// Whether these are all there are, so that reading may begin here. The first genesis has them all, which is none; one
    /// behind a mark has not.
    pub has_all_positions: bool,
    /// What it holds, counted for people.
    pub entries: u64,
}

impl<G> Said<'_, G> {
    /// Whether a log that ends with this record was being made again, and that was not finished: a checkpoint ends it.
    pub fn is_unfinished(&self) -> bool {
        self.is_mark || (!self.has_all_positions && self.chain.checkpoint.is_none())
    }
}

/// Why bytes of a log are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// They are damaged, for this reason.
    Damaged(&'static str),
    /// A newer program wrote them, in this version of the format.
    Newer(u8),
    /// An older program wrote them, in this version of the format, which is not read any more.
    Older(u8),
}

/// Something that is made from a log, and can be made from it again.
pub trait State: Sized {
    /// What never changes for a log, and says what its records mean.
    type Genesis: PartialEq + Clone + std::fmt::Debug;
    /// How it is kept.
    type Settings;
    /// Why it could not do something.
    type Error: std::fmt::Display;
    /// A record of the log, decoded once.
    type Record<'r>;

    /// Opens what is kept in `dir`, or makes an empty one, for this log and genesis.
    ///
    /// # Errors
    /// Where it cannot be opened; [`mistrust`](Self::mistrust) says whether it is to be thrown away.
    fn open(dir: &Path, log: LogId, genesis: &Self::Genesis, settings: &Self::Settings) -> Result<Self, Self::Error>;

    /// Removes what is kept in `dir`. Safe to repeat after a crash.
    ///
    /// # Errors
    /// Where it is in use, or cannot be removed.
    fn destroy(dir: &Path) -> Result<(), Self::Error>;

    /// Why an error means that what is kept lies; `None` where it does not.
    fn mistrust(error: &Self::Error) -> Option<Mistrust>;

    /// The window of a genesis.
    fn window(genesis: &Self::Genesis) -> Window;

    /// Reads a record.
    ///
    /// # Errors
    /// [`Undecodable`].
    fn decode(record: &[u8]) -> Result<Self::Record<'_>, Undecodable>;

    /// What a record says for everybody.
    fn said<'s>(record: &'s Self::Record<'_>) -> Said<'s, Self::Genesis>;

    /// The end of what has been applied, durable or not; right after [`open`](Self::open), of what is durable. `None`:
    /// nothing yet.
    fn applied(&self) -> Option<Point>;

    /// Applies the record at `offset`, after which the log stands at `next`. Records come in their order, from
    /// [`applied`](Self::applied) on; one that has been applied before is passed over.
    ///
    /// # Errors
    /// Where it cannot; it is not applied then.
    fn apply(&mut self, offset: u64, next: Point, record: &Self::Record<'_>) -> Result<Applied, Self::Error>;

    /// Forgets everything that was decided and not committed.
    fn discard(&mut self);
}
