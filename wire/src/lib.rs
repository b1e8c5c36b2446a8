//! What must be the same everywhere.
//!
//! Every part of Turnstile that writes or reads bytes another part will read or write compiles against this crate: the
//! identity of an event and its [`Digest`], its lane and [`partition`], the [`envelope`] that the local buffer carries,
//! the [`changelog`] that is the truth behind the dedup index, the [`window`] and its buckets, the [`limits`], and the
//! [`topic`]s with what each has to be set to. There is no I/O here, no clock and no random source: all of them come in
//! as values.
//!
//! The tables of bytes stand in `WIRE.md`; `tests/golden.rs` holds both to frozen bytes.

pub mod changelog;
mod codec;
pub mod envelope;
pub mod identity;
pub mod limits;
pub mod partition;
pub mod topic;
pub mod window;

pub use codec::DecodeError;
pub use identity::{Digest, DigestSeed, MessageId, SourceId};
pub use partition::{LaneCount, PartitionCount};
pub use window::{Bucket, Window};
