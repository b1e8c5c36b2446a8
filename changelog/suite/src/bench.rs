//! What the suite needs of a kind of log.

use std::fmt::Debug;

use changelog::Log;

/// A form of a log that not every kind of log can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// It is there and holds nothing.
    Empty,
    /// It holds records, and neither a genesis nor a checkpoint.
    WithoutGenesis,
    /// It is made again in its place, behind a mark.
    Mark,
}

/// Makes logs of one kind, one at a time.
pub trait Bench {
    /// Why a log cannot be read.
    type Error: Debug;
    /// The log.
    type Log<'b>: Log<Error = Self::Error>
    where
        Self: 'b;

    /// Begins another log, with nothing in it. Returns the lane that its records have to name.
    fn begin(&mut self) -> u32;

    /// Commits records behind those that are there.
    fn append(&mut self, records: &[Vec<u8>]);

    /// Takes away the first `count` of the records that are there.
    fn drop_first(&mut self, count: usize);

    /// The log as it is now.
    fn log(&mut self) -> Self::Log<'_>;

    /// Why this kind of log never has a form: those cases are left out. `None` where it can.
    fn never(form: Form) -> Option<&'static str> {
        let _ = form;
        None
    }

    /// Whether the log itself says that a record cannot be read: one that looks for the ends of records decodes it.
    fn is_undecodable(error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}
