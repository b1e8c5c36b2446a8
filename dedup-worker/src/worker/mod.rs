//! The work of a lane, which [`ownership`] gives to this process and takes away. A lane has every partition p of `events`
//! with p mod L = lane, L being the number of lanes.
//!
//! ```text
//!   primary   p, p + L, … ──┐                                      ┌─▶ events.deduped, one p of the lane
//!                           ├─▶ lane: gather ▶ decide ▶ batch ─────┤   one transaction
//!   secondary p, p + L, … ──┘      ▲                               └─▶ events.index, partition = lane
//!                                  └── index knows ◀── committed
//!   watch: is it the same log, how many partitions has it, does it answer
//! ```
//!
//! What a crash leaves at each step is the table on the crate's front page.

mod anew;
pub mod batch;
pub(crate) mod beginning;
pub mod decode;
mod early;
pub mod figures;
pub mod input;
mod inputs;
pub mod lane;
pub(crate) mod leftovers;
mod named;
pub mod output;
pub mod plan;
pub mod readers;
mod rotation;
pub(crate) mod sizes;
pub mod spec;
mod stray;
pub mod time;
pub(crate) mod topics;
pub mod waiting;
pub mod watch;
