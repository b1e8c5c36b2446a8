//! Who owns a lane, and how what it does is committed once.
//!
//! A lane is a partition of a log topic: what costs something and what can fail belongs to it. Whoever owns it restores a
//! [state](changelog::State) from the log, [works](Work) on whatever that is, and commits a record of the log together with
//! what it wrote elsewhere, in one Kafka transaction.
//!
//! ```text
//!   group ── should own n ──▶ owner of n: look ─ catch up ─ fence ─ ask again ─ measure ─ restore ─ checkpoint ─┐
//!     ▲                                                                                                         ▼
//!   poll, nothing else       Work::gather ▶ batch N + 1 ──┬── publishing thread: one transaction, batch N ◀─────┘
//!                                  ▲                      │
//!                                  └── Work::committed ◀──┘  side effects behind the commit
//! ```
//!
//! # Rules
//!
//! 1. The group is a hint; the authority is the fence: one transactional id a lane, which only who asked last can commit with.
//!    No callback of the group waits for a lane.
//! 2. What must be refused is refused before a fence is taken, which would push out whoever puts it right.
//! 3. The group is asked before the fence and behind it: who was frozen in between has pushed the rightful owner out, and
//!    goes.
//! 4. The log's end is measured behind the fence, open transactions included, and the state brought there.
//! 5. Batch N + 1 may be gathered while N is on its way; its transaction begins when N is known to be committed.
//! 6. Anything but a confirmed commit has one answer: the producer is gone, everything that was not committed is discarded,
//!    and the lane begins again at the first step, with the state as it was at the last commit.
//! 7. A fault stays in its lane: it is a [state](Standing), never the end of the process.
//!
//! Knows Kafka by `kafka` alone, and nothing of events, indexes or windows.

mod board;
mod fault;
mod held;
mod line;
mod log;
mod owner;
mod owners;
mod spec;
mod waker;
mod work;

pub use board::{Board, Counts, Place, Seen, Standing};
pub use fault::Fault;
pub use line::{Committed, LogWriter, Stamp};
pub use log::{Log, log_id, never};
pub use owners::{Make, Owners};
pub use spec::{Spec, Step};
pub use waker::Waker;
pub use work::{Batch, Gathered, GenesisOf, Work};
