//! The dedup worker: reads events from two Kafka clusters, writes each of them once, and remembers for 28 days.
//!
//! Two halves. The [index](Partition) decides whether an event has been seen within the window; it knows no Kafka, and the
//! standalone form uses it as it is. The [`worker`] is the program around it: which partitions it owns, how it takes them
//! over, how one batch becomes one transaction.
//!
//! # What the program promises
//!
//! Of all events with one identity received within the window, exactly one is in `events.deduped` for whoever reads under
//! `read_committed`: whichever cluster each came through, however often workers die, sleep, come and go. Each partition has
//! one owner at a time, by its *fence*: one fixed transactional id a partition, which only who asked last can commit with.
//! Output records, changelog record and input positions are one transaction. Anything but a confirmed commit has one
//! answer: drop everything in memory, take the fence again, and believe the changelog.
//!
//! | crash or fault at this point | is left | the next owner | proved by (`tests/kafka`) |
//! |---|---|---|---|
//! | before the fence, or before the genesis is committed | nothing, or an aborted genesis | begins at the fence; a changelog in which nothing was ever committed is empty | `killed_at_every_step` |
//! | after the output records, before the changelog record | an open transaction | its fence aborts it; no reader sees it; the inputs are read again from the stored position | `killed_at_every_step` |
//! | after the changelog record, before the commit | the same | the same | `killed_at_every_step` |
//! | commit asked for, answer unknown | a transaction committed or aborted | reads the changelog up to the end it measured behind the fence, which says which; nothing is decided again before | `killed_under_load`, `an_output_that_was_away_is_used_again_when_it_returns` |
//! | after the commit, before the index knows | the index behind the changelog | replays from the end of what the index covers | `killed_at_every_step` |
//! | while a run is sealed | a run file that was not taken, or one that was | the store drops or keeps it whole; the rest is replayed | `tests/index/crash.rs` |
//! | batch N fails while N + 1 is decided | two batches in memory | neither counts; both are read and decided again | `killed_under_load` |
//! | during a restore or a rebuild | the runs sealed so far | goes on behind them | `rebuild_goes_on_where_it_was_killed` |
//! | frozen, replaced, awake again | a fence that is no longer its own | its commit is refused; it asks the group, which says no | `a_frozen_worker_is_fenced` |
//! | a worker joins or leaves | nothing: it commits, then lets go | takes over at once | `workers_share_the_partitions_and_take_over_from_each_other` |
//! | index deleted, damaged, of another changelog, ahead of it | nothing that can be believed | makes it again from the changelog | `an_index_that_is_gone_is_made_again` |
//! | changelog emptied or made anew | output, perhaps an index, and no memory | refuses, and says which commands there are | `an_emptied_changelog_is_refused` |
//! | input topic made anew | a position of a log that is gone | reads the new log from its earliest record | `an_input_made_anew_is_read_from_its_earliest_record` |
//! | an input cluster away | the other one | works on the other, and holds the window's clock back by a day at most | `an_input_that_is_away_at_the_start_is_picked_up_when_it_returns` |
//! | the output cluster away | inputs that wait | tries again with growing pauses; the window's clock stands | `an_output_that_was_away_is_used_again_when_it_returns` |
//! | a rebuild of the changelog killed | a genesis and batches without a checkpoint | refuses until the rebuild was run again | `a_changelog_that_is_gone_is_made_again_from_the_output` |
//!
//! Not promised: order between the two inputs; a bound on how long an event waits while no worker runs, except the inputs'
//! retention; that a record which is no event reaches the output (it goes to `events.rejected`, with a header `reason`).
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
//! - **Decided is not committed.** [`Partition::decide`] counts what it publishes as known at once, so that the next
//!   batch can be decided while this one commits. [`Partition::discard`] takes all of that back.
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
//! use dedup_worker::{Candidate, ChangelogPoint, Options, Partition, Verdict};
//! # use wire::{Digest, DigestSeed, PartitionCount, Window, changelog::Genesis};
//! # let dir = tempfile::TempDir::new().unwrap();
//! # let dir = dir.path();
//! # let seed = DigestSeed(1);
//! # let genesis = Genesis { partition_count: PartitionCount::ONE, seed, window: Window::default(), created_ms: 0 };
//! let mut index = Partition::open(dir, &genesis, *b"id of this log..", &Options::default())?;
//! // Replay the changelog from `index.replay_from()` with `index.replay(..)`, then:
//! let now = 1_790_000_000_000;
//! let candidates = [Candidate { digest: Digest(7), received_at_ms: now }; 2];
//! let mut verdicts = Vec::new();
//! let batch = index.decide(&candidates, now, &mut verdicts)?;
//! assert_eq!(verdicts, [Verdict::New, Verdict::Duplicate]);
//! assert_eq!(batch.entries().len(), 1);
//! // Write the output and a changelog record with `batch.entries()`; once both are safe:
//! index.commit(batch, ChangelogPoint { next_offset: 1, leader_epoch: -1, checksum: 0x1234 });
//! index.maintain(now)?;
//! # Ok::<(), dedup_worker::IndexError>(())
//! ```
//!
//! # Where to look
//!
//! [`worker`] has the program's picture, [`kafka`] everything that is said to librdkafka, [`command`] one file for each
//! command, [`config`] the settings. In the index, `decide` is the truth table, `partition` the order of events, `open` the digests in memory, `filter` the two kinds of
//! filter, `sealed` the runs and how they come and go, `run` their bytes, `store` RocksDB with a reason for every
//! option. `STORE.md` has the tables of bytes and what a crash at each step leaves; `examples/measure.rs` the figures.

mod batch;
pub mod command;
pub mod config;
mod decide;
mod error;
mod filter;
mod fingerprint;
mod home;
pub mod kafka;
mod mapping;
pub mod metrics;
mod open;
mod options;
mod partition;
mod point;
mod prefetch;
mod run;
mod sealed;
mod stats;
mod store;
pub mod worker;

pub use batch::DecidedBatch;
pub use decide::{Verdict, verdict};
pub use error::{IndexError, Remedy};
pub use options::Options;
pub use partition::{Candidate, PENDING_BATCHES_MAX, Partition, Replay};
pub use point::ChangelogPoint;
pub use stats::{Maintenance, Stats};
