//! The dedup index: whether an event has been seen within the window. It knows neither Kafka nor files of output.
//!
//! # The path of an event through the index
//!
//! ```text
//!            candidates (digest, receivedAt)            clock
//!                          │                              │
//!                          ▼                              ▼
//!   open digests ──▶ group filters ──▶ run filters ──▶ sealed run ──▶ verdict
//!   in memory        one cache line    which run       one read       new · duplicate · expired
//!   since last run   each, 3 to 8      of a group      of RocksDB        │
//!        ▲                                                 ▲             ▼
//!        └──────────── entered at once ◀──────────┐        │     output + changelog (the caller's)
//!        │                                        │        │             │
//!        └── maintain: seals a sorted run ────────┼────────┘          commit
//!                                                 └── discard: taken back
//! ```
//!
//! For 99 in 100 events the first two stages answer: not in memory, not in any filter, so it is new. A repeat of the
//! last minutes is in memory. The rest is read from one sorted run.
//!
//! # What the index promises
//!
//! - **The changelog is the truth, the index its cache.** A verdict depends on what was committed, on the batches
//!   decided since, and on the clock that is passed in: never on what has been sealed, dropped or restarted meanwhile.
//! - **Decided is not committed.** [`Index::decide`] counts what it publishes as known at once, so that the next
//!   batch can be decided while this one commits. [`Index::discard`] takes all of that back.
//! - **An error is no verdict.** A run that cannot be read, or reads as something that was not written, is an
//!   [`IndexError`] with a [`Remedy`], never "not known".
//! - **Nothing is half there.** A run comes into being in one durable step and says itself which part of the changelog
//!   it covers; a replay starts where the last run ends and may start anywhere before.
//!
//! Not promised: that an identity older than the window is remembered; verdicts for a clock that goes back by more than
//! the window's margin, since runs that had expired may be gone.
//!
//! # The caller's loop
//!
//! ```
//! use changelog::{LogId, Point};
//! use dedup::{Candidate, Index, Options, Verdict};
//! # use wire::{Digest, DigestSeed, LaneCount, Window, changelog::Genesis};
//! # let dir = tempfile::TempDir::new().unwrap();
//! # let dir = dir.path();
//! # let seed = DigestSeed(1);
//! # let genesis = Genesis { lanes: LaneCount::ONE, seed, window: Window::default(), created_ms: 0 };
//! let mut index = Index::open(dir, &genesis, LogId(*b"id of this log.."), &Options::default())?;
//! // Replay the changelog from `index.replay_from()` with `index.replay(..)`, then:
//! let now = 1_790_000_000_000;
//! let candidates = [Candidate { digest: Digest(7), received_at_ms: now }; 2];
//! let mut verdicts = Vec::new();
//! let batch = index.decide(&candidates, now, now, &mut verdicts)?;
//! assert_eq!(verdicts, [Verdict::New, Verdict::Duplicate]);
//! assert_eq!(batch.entries().len(), 1);
//! // Write the output and a changelog record with `batch.entries()`; once both are safe:
//! index.commit(batch, Point { next_offset: 1, leader_epoch: -1, checksum: 0x1234 });
//! index.maintain(now)?;
//! # Ok::<(), dedup::IndexError>(())
//! ```
//!
//! # Where to look
//!
//! `decide` is the truth table, `index` the order of events, `open` the digests in memory, `filter` the two kinds of filter,
//! `sealed` the runs and how they come and go, `run` their bytes, `store` RocksDB with a reason for every option.
//! `metrics` names the figures for whoever scrapes a program.
//! `STORE.md` has the tables of bytes and what a crash at each step leaves; `examples/measure.rs` the figures.

mod batch;
mod decide;
mod error;
mod filter;
mod fingerprint;
mod home;
mod index;
mod mapping;
pub mod metrics;
mod open;
mod options;
mod prefetch;
mod run;
mod sealed;
mod state;
mod stats;
mod store;

pub use batch::DecidedBatch;
pub use decide::{Verdict, verdict};
pub use error::{IndexError, Remedy};
pub use index::{Candidate, Index, PENDING_BATCHES_MAX, Replay};
pub use options::Options;
pub use sealed::{RUN_TAKEN, RUN_WRITTEN};
pub use stats::{Maintenance, Stats};
