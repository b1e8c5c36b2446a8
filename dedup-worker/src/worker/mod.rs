//! The work of a partition, which [`ownership`] gives to this process and takes away.
//!
//! ```text
//!   input primary p ──┐                                      ┌─▶ events.deduped p
//!                     ├─▶ lane: gather ▶ decide ▶ batch ─────┤   one transaction
//!   input secondary p ┘      ▲                               └─▶ events.index p
//!                            └── index knows ◀── committed
//!   watch: is it the same log, does it answer
//! ```
//!
//! What a crash leaves at each step is the table on the crate's front page.

pub mod batch;
pub mod cursor;
pub mod decode;
pub mod figures;
pub mod input;
pub mod inputs;
pub mod lane;
pub mod output;
pub mod plan;
pub mod readers;
pub mod spec;
pub mod time;
pub(crate) mod topics;
pub mod waiting;
pub mod watch;
