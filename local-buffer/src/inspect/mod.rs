//! Looking inside a buffer, and putting right what can be: for tools and for whoever is on call.
//!
//! Everything here reads the bytes with the code that opening and the reader use; there is no second idea of the format.
//!
//! # Looking
//!
//! An [`Inspector`] takes no lock, writes nothing and leaves no access times (where the system lets it), so it may look
//! at a buffer that a process is using. That process goes on meanwhile: segments are freed and written again under the
//! eyes of the inspector. So nothing counts as damage before it was looked at again: headers are read until two looks
//! agree; a segment whose header has changed is [`Piece::Released`], not damaged; and the group that is being written
//! now is not judged.
//!
//! | call | what it reads |
//! |---|---|
//! | [`Inspector::overview`] | headers, and a few blocks of each end of the queue |
//! | [`Inspector::verify`] | every byte that counts, with every checksum |
//! | [`Inspector::records`] | the records, in order, in bounded memory |
//! | [`Inspector::quarantine`] | what was set aside |
//!
//! # Putting right
//!
//! [`repair`] and [`Reinjection`] take the lock, and refuse with the holder's name when somebody else has it.

mod damage;
mod error;
mod fragment;
mod inspector;
#[cfg(test)]
mod looking_test;
#[cfg(test)]
mod mending_test;
mod overview;
mod places;
mod quarantine;
mod readonly;
mod records;
mod reinject;
mod repair;
mod seek;
mod snapshot;
#[cfg(test)]
mod stage;
mod verify;
mod workplace;

pub use crate::storage::{Holder, InUse, WritePath};
pub use damage::{Damage, DamageKind};
pub use error::InspectError;
pub use inspector::Inspector;
pub use overview::{Overview, QuarantineSummary, ReasonCount, SegmentView};
pub use quarantine::{QuarantineCheck, QuarantineFile, QuarantineFiles, QuarantineKind};
pub use records::{Piece, RecordPlace, Records, Start};
pub use reinject::{FileOutcome, Reinjected, Reinjection};
pub use repair::{RepairAction, Repaired, plan_repair, repair};
pub use verify::{Progress, Verification};
