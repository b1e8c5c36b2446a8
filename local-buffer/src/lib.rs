//! A durable on-disk queue of opaque records: what stands between an answer that says "I have it" and a lost event.
//!
//! ```text
//!  Appender ─┐  copy into the    ┌────────┐  one write per group,   ┌──────────┐
//!  Appender ─┼─▶ group being ───▶│ writer │─▶ past the page cache ─▶│ segments │
//!  Appender ─┘  filled           └───┬────┘                         └────┬─────┘
//!                                    │ durable end moves                 │ only when it fell behind
//!                     Subscription ◀─┤                                   ▼
//!                                    └─▶ recent groups in memory ───▶ Reader ─▶ acknowledge ─▶ floor ─▶ recycle
//! ```
//!
//! # The path of a record
//!
//! 1. [`Appender::append`] copies it, in the form it will have on disk, into the group that is being filled, and gives
//!    a [`Pending`]. It never waits for the disk: it refuses instead ([`AppendError`]).
//! 2. The writer thread writes and syncs the group in one call, as soon as the write before it is done. Groups are so
//!    large as the disk is slow; only a slow disk is waited for, for a part of the time that it takes itself.
//! 3. The durable end moves. Each [`Subscription`] is woken once, and gives a [`Durable`] for each `Pending` below it:
//!    only that is proof that a record will survive.
//! 4. The [`Reader`] delivers records in order, from memory while it keeps up, and takes acknowledgements. The floor
//!    below which all is done becomes durable a little later, or at [`Reader::sync_floor`]; then segments below it are
//!    written again.
//!
//! # What a crash leaves
//!
//! | moment | left | after reopening |
//! |---|---|---|
//! | before the write | nothing | the record is gone; nobody was told that it is durable |
//! | during the write | any part of the group | what is whole is delivered, the rest set aside and counted |
//! | after the write | the record | delivered |
//! | after it was acknowledged, before the floor is durable | the record | delivered again |
//! | after the floor is durable | the record, perhaps | not delivered |
//! | while a segment is made | a file with another name | removed |
//! | while a segment is freed or begun | one of two headers | the other one counts, or the blocks tell |
//!
//! `FORMAT.md` has the bytes and every case of recovery; the tests beside the code hold both to it. [`inspect`] looks into
//! a directory, also while a process uses it.
//!
//! # Not promised
//!
//! Surviving the loss of the disk. Delivery once: what was read and not durably acknowledged comes again. A batch
//! that comes whole after a crash before it was durable: some of it may. Ids without holes across damage.
//!
//! # Example
//!
//! ```
//! use local_buffer::{Batch, Options, Queue};
//!
//! # let dir = tempfile::tempdir()?;
//! let options = Options { segment_bytes: 1 << 20, ..Options::default() };
//! let (mut queue, report) = Queue::open(dir.path(), options)?;
//! assert_eq!(report.damaged_pieces, 0);
//! let appender = queue.appender();
//! let pending = appender.append(b"an event")?;
//! let _proof = pending.wait(&appender)?; // now, and not before, answer 200
//!
//! let mut reader = queue.take_reader().expect("the first to ask gets it");
//! let mut batch = Batch::new();
//! reader.read(&mut batch, 1000, 1 << 20)?;
//! for (id, record) in batch.iter() {
//!     println!("{id}: {} bytes", record.len());
//! }
//! reader.acknowledge(batch.end().expect("there was one"))?;
//! queue.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod batch;
#[cfg(test)]
mod damage_test;
#[cfg(any(test, fuzzing))]
mod driven;
mod durable;
mod error;
mod floor;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod group;
#[cfg(all(test, loom))]
mod handoff_test;
mod id;
pub mod inspect;
mod janitor;
mod lock;
mod memory;
mod meta;
mod open;
mod options;
#[cfg(test)]
mod proof;
mod quarantine;
mod queue;
#[cfg(test)]
mod queue_test;
mod reader;
mod recovery;
mod salvage;
mod scan;
mod segment;
mod shared;
#[cfg(any(test, fuzzing))]
mod sim;
mod slot;
mod stats;
mod storage;
mod survey;
mod sync;
mod tail;
mod thread;
mod walk;
mod writer;

pub use append::{Appender, Durable, Pending};
pub use batch::Batch;
pub use durable::{ReaderWaker, Subscription};
pub use error::{AppendError, CloseError, FullCause, OpenError, ReadError, SyncFailed};
pub use id::{InstanceId, RecordId};
pub use open::RecoveryReport;
pub use options::{
    DirectIo, GROUP_BYTES_MAX, Options, PENDING_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SyncPolicy,
};
pub use queue::Queue;
pub use reader::Reader;
pub use recovery::{DirectoryCase, FloorCase, SegmentCase, TailCase};
pub use stats::{Monitor, Stats};
