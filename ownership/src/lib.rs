//! Who owns a lane, and how what it does is committed once.
//!
//! A lane is a partition of a log topic: what costs something and what can fail belongs to it. Whoever owns it restores a
//! [state](changelog::State) from the log, [works](Work) on whatever that is, and commits a record of the log together with
//! what it wrote elsewhere, in one Kafka transaction.
//!
//! ```text
//!   group ── should own n ──▶ owner of n: look ─ catch up ─ fence ─ ask again ─ measure ─ restore ─ checkpoint ─┐
//!     ▲      (Told)                                                                                             ▼
//!   poll, nothing else       Work::gather ▶ batch N + 1 ──┬── a publishing thread: one transaction, batch N ◀───┘
//!                                  ▲                      │
//!                                  └── Work::committed ◀──┘  side effects behind the commit
//! ```
//!
//! # Rules
//!
//! 1. The group is a hint; the authority is the fence: one transactional id a lane, which only who asked last can commit with.
//!    No callback of the group waits for a lane: what it says goes over a channel to the one thread that starts and ends them.
//! 2. What must be refused is refused before a fence is taken, which would push out whoever puts it right.
//! 3. The group is asked before the fence and behind it: who was frozen in between has pushed the rightful owner out, and
//!    goes. A process owns what it was given *while its client has no fatal error*: who lost its id to another process hears
//!    of it in no other way.
//! 4. The log's end is measured behind the fence, open transactions included, and the state brought there.
//! 5. Batch N + 1 may be gathered while N is on its way; its transaction begins when N is known to be committed.
//! 6. Anything but a confirmed commit has one answer: the producer is gone, everything that was not committed is discarded,
//!    and the lane begins again at the first step, with the state as it was at the last commit.
//! 7. A fault stays in its lane: it is a [state](Standing), never the end of the process. A process none of whose lanes can run
//!    on its host leaves the group for a while.
//! 8. A process has an [id](member_id) in the group: one that comes back within a session gets its lanes back, and nobody else
//!    notices. Who loses a lane in good order, or leaves for good, works on in it until the next owner has the fence, or five
//!    seconds are over; only who may have been replaced already ends at once.
//! 9. A lane stands still from the old owner's last commit to the new one's first. So what takes time is done before the fence:
//!    the clients are connected, the state is caught up, the work has [opened](Work::caught_up) what it reads, and the fence
//!    waits for a moment between two transactions. Behind it there are questions to connections that are there, the rest of the
//!    log, and the checkpoint.
//!
//! Knows Kafka by `kafka` alone, and nothing of events, indexes or windows.

mod board;
mod budget;
mod ending;
mod fault;
mod held;
mod lanes;
mod line;
mod log;
mod member;
mod owner;
mod owners;
mod publishers;
mod reading;
mod sight;
mod spec;
mod waker;
mod work;

pub use board::{Board, Counts, Place, Seen, Standing};
pub use budget::{Budget, Share};
pub use fault::Fault;
pub use line::{Committed, LogWriter, Stamp};
pub use log::{Log, log_id, never};
pub use member::member_id;
pub use owners::Owners;
pub use reading::Reading;
pub use spec::{Spec, Step};
pub use waker::Waker;
pub use work::{Batch, Gathered, GenesisOf, Work};
