//! A durable on-disk queue of opaque records.
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod append;
mod batch;
#[cfg(test)]
mod damage_test;
mod durable;
mod error;
mod floor;
mod format;
#[cfg(test)]
mod golden;
mod group;
mod id;
mod janitor;
mod lock;
mod memory;
#[cfg(test)]
mod model_test;
mod open;
mod options;
mod quarantine;
mod queue;
#[cfg(test)]
mod queue_test;
mod reader;
mod recovery;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod sim;
mod stats;
mod storage;
mod tail;
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
