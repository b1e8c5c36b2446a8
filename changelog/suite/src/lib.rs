//! One suite of tests for every [`Log`](changelog::Log) and every [`State`](changelog::State). For tests alone.
//!
//! A [`Bench`] makes logs of one kind, a [`Subject`] is a kind of state; [`walk`] takes the two through everything that
//! [`changelog::restore`] promises: what is applied, what is mistrusted, what is refused.
//!
//! # How a state comes to be wrong
//!
//! No real log gives one record for another, or forgets its end, when it is told to. What a state remembers can be
//! made: it is brought to the end of a [`Memory`] that began as a copy of the real log, and was changed where the case
//! wants it. To the state that is what the log once was; the real log, which is read as it is, disagrees.
//!
//! [`Memory`] is a log under test itself, and [`Counter`] the smallest state there is: a sum in one file.

mod bench;
mod breaking;
mod cases;
mod counter;
mod memory;
mod scene;
mod subject;

pub use bench::{Bench, Form};
pub use counter::{Counter, CounterError, CounterGenesis, CounterRecord, CounterSubject, Sum};
pub use memory::{Memory, MemoryBench};
pub use subject::{BEGUN_MS, Content, Reached, Subject, window};

/// Takes every case, one after the other, with logs and states of its own. Prints which, and which not.
///
/// # Panics
/// Where one of them fails.
pub fn walk<S: Subject, B: Bench>(bench: &mut B) {
    cases::restored::all::<S, B>(bench);
    cases::mistrusted::all::<S, B>(bench);
    cases::refused::all::<S, B>(bench);
}
