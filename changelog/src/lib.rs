//! What a state owes to the log it is made from. Knows neither Kafka nor files, neither RocksDB nor the wall clock.
//!
//! A log is the truth: records one behind the other, each committed before the next. A state is what somebody keeps in
//! memory and on disk so as not to read the log for every question: the dedup index is one. It may be lost, old, damaged,
//! or of another log, and is never believed further than the log says.
//!
//! ```text
//!  Log ──read from the record under the mark──▶ restore ──apply──▶ State
//!                                                │  ▲
//!          not what the state says it ends with? │  │ begun again from the first record
//!                                                └──┘ thrown away, with the reason
//! ```
//!
//! # What is mistrusted
//!
//! | what is found | [`Mistrust`] | what follows |
//! |---|---|---|
//! | the state has applied more than the log holds | `AheadOfLog` | thrown away, made from the first record |
//! | the log begins behind what the state ends with | `LogBeginsLater` | the same |
//! | the record before the mark is another one, or none ends there | `OtherRecord` | the same |
//! | the state was made from another log | `OtherLog` | the same |
//! | the state was made under another genesis | `OtherGenesis` | the same |
//! | bytes of the state are not those that were written | `Damaged` | the same |
//! | a newer program wrote the state | `NewerFormat` | the same |
//!
//! A *log* is refused, by [`RestoreError`], where it holds records and no genesis, two geneses, a beginning inside the window
//! although there is no state that knows what came before, a rebuild that was not finished, a record that cannot be read,
//! or a hole: a record that names another one before it than lies there, or a checkpoint that is none. Nobody but a person can
//! say what is to become of it.
//!
//! A record has the positions that moved. So reading begins at the newest record before the state's mark that has all of
//! them, which the record under the mark names.
//!
//! [`Positions`] say how far inputs have been read; a [`Cursor`] says where one of their partitions is read next, and whether
//! it still is the log that was read; the [`Clock`] says how far the window has moved.
//!
//! Every row of this, and every refusal, is a case of one suite (`changelog/suite`) that each log and state passes. What the parts
//! come to together is asked of a model there (`tests/model`): a lane and all that can happen to it, in every order.

mod clock;
mod contradiction;
mod cursor;
mod log;
mod mistrust;
mod passage;
mod positions;
mod restore;
mod state;

pub use clock::{Clock, InputId, Moved, Now, Reached};
pub use contradiction::{Contradiction, News};
pub use cursor::{Begin, Cursor, Met};
pub use log::{Log, LogId, Placed, Point, Start};
pub use mistrust::Mistrust;
pub use positions::Positions;
pub use restore::{
    Beginning, ErrorOf, First, Newest, Progress, RestoreError, Restored, Tell, each, first, genesis, newest, restore,
};
pub use state::{Applied, Said, State, Undecodable};
