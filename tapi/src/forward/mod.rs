//! The drain: from the local buffer to one of two Kafka clusters.
//!
//! # The path of a record
//!
//! 1. The buffer's only [`local_buffer::Reader`] reads it, in order, into a batch of the window, and it is `in_flight`.
//!    The window is bounded by what it costs in memory; what is not in it stays on disk.
//! 2. Its partition is one of its lane, so that its repeats meet it on whichever cluster: the one whose turn it is while
//!    that takes records, else the next one. A lane that has its share of the window handed over and not acknowledged waits;
//!    those behind it need not. Key: the messageId. Headers: the source and `receivedAt`. Events go to `events`, those that
//!    were set aside to `events.rejected`.
//! 3. The `router` says which cluster, and `way` which of its two producers, if any now. `send` hands it over:
//!    librdkafka reads the value where it lies in the window, it is not copied.
//! 4. The cluster acknowledges it, from every in-sync replica, or it comes back to the `outlets` with a `fault`.
//! 5. The floor of the buffer moves over the gap-free row of acknowledged records, and over nothing else.
//!
//! # What is promised
//!
//! | what goes wrong | what happens |
//! |---|---|
//! | the cluster dies (connections reset) | after 0.2 s without progress its breaker opens; what it has not acknowledged is taken back and handed to the other one |
//! | it freezes (connections stay, nothing answers) | the same after 1 s in which some lane that has records out had no acknowledgement from any of its partitions; after 5 s where none of those has acknowledged any yet, because that takes a connection first |
//! | a broker is stopped in order, or comes back: leaders and in-sync replicas change | nothing, for up to 5 s: until all have heard of it acknowledgements wait; what can goes on, as with a partition that freezes |
//! | one partition freezes | after half of that it is left out: its lane goes on with its others; what it holds goes to them when it comes back, at its time-out of 30 s, and if it is acknowledged late, that counts; it gets one record at a time, every 10 s at most, until it acknowledges one, and is used again |
//! | nobody leads a partition | the same, as soon as a look at the cluster says so, which comes every 5 s, and until one says otherwise |
//! | all partitions of a lane are so | it goes on with them; there is no other place for its records |
//! | a lane is stuck and there is no other cluster | it has its share out, 1/L of the window; its other records wait in the window, and the other lanes go on until they fill it |
//! | its clock and this host's differ by more than an hour | it is said, once, and shown: workers do not let the window follow such a clock |
//! | it fails half of the records | the same, over 10 s and at least 100 results |
//! | its topic `events` is missing, access is refused | the same at once |
//! | it is back | after 30 s, or sooner while the other one is in trouble, 5 real records go to it; once they are acknowledged, all |
//! | both are in trouble | neither breaker opens on the other's account; records wait; the buffer grows to its bound, then requests get 503 |
//! | the producer fails for good (fatal error) | a new one takes its place; what the old one held goes out again |
//! | its topic takes less at once than librdkafka sends | requests are fitted to what the topic's settings say; where they do not say it, one that is refused halves the next ones, and its records go out alone |
//! | a record is refused (too large, bad) | it is tried alone, then on the other cluster, then kept in the buffer's quarantine with the reason |
//! | there is no topic `events.rejected` | the same; events are not held up |
//! | a record of the buffer is no envelope | kept in the quarantine with the reason |
//! | the quarantine is full | the floor stands, the window fills, the drain says so; nothing is dropped |
//! | fewer partitions than lanes, both clusters are one, a setting loses records | at the start tapi refuses to run; later that cluster gets nothing |
//!
//! A record can be in both clusters, and twice in one: after a takeover, a crash before the floor was durable, or an
//! acknowledgement that was lost. Repeats are what dedup is for. Order across records is not kept.
//!
//! # What a crash leaves
//!
//! | killed | after the restart |
//! |---|---|
//! | before an acknowledgement | the record is sent |
//! | after it, before the floor is durable | the record is sent again, and so is everything behind a record that a stuck partition holds |
//! | after the floor is durable | nothing is sent |
//!
//! # Who knows what
//!
//! | who | what |
//! |---|---|
//! | `clusters` | what each of the two is, judged in one place, at the start and later; the lanes and the partitions; when leaders last changed |
//! | `in_flight` | the records on their way, what each waits for, the floor behind them |
//! | `outlets` | the producers, what they hold and since when; which partitions are left out; what is taken back, and who is replaced |
//! | `router` | two breakers and the operator's pin: where records go |
//! | `forwarder` | the thread: asks these and does what they say |
//!
//! Everything that decides (`breaker`, `sight`, `router`, `retry`, `choice`, `track`, `progress`, `left_out`, `fault`, `fit`,
//! `standing`, `tally`, `way`, `window`) is a function of values, time and chance included.

pub(crate) mod breaker;
mod choice;
pub(crate) mod clusters;
mod control;
mod deadline;
mod error;
mod fault;
mod figures;
mod forwarder;
mod handle;
mod in_flight;
pub(crate) mod outlets;
mod plan;
mod route;
mod router;
mod send;
mod turns;
mod way;

pub(crate) use clusters::Patience;
pub(crate) use fault::Fault;
pub(crate) use figures::Snapshot;
pub(crate) use handle::{Forward, Prepared, Remote};
pub(crate) use plan::{Bounds, Plan};
pub(crate) use router::Cluster;
