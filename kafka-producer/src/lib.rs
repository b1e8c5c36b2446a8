//! A Kafka producer for those who hand over much: librdkafka reads the caller's bytes where they lie, and what became of
//! each record comes back by a number that the caller chose.
//!
//! ```text
//!  caller ──produce(record, token)──▶ librdkafka ──▶ broker
//!     ▲      value lent, key and headers copied           │
//!     └── serve: reports (token, offset or error) ◀───────┘
//! ```
//!
//! rdkafka makes the client; two of its habits are why the rest is done here:
//!
//! - Its `send` copies each value, and allocates for the topic's name, which librdkafka then looks up, once a record.
//!   [`Producer::produce`] lends the value and remembers the topics.
//! - Its `poll` does not return before its time is over, and *spins* for the last millisecond of it, because what is left
//!   rounds to no time at all. A thread that polled by the millisecond kept a core busy with 5,000 records a second.
//!   [`Producer::serve`] sleeps until there is something, takes all there is, and returns.
//!
//! Nobody but the owner may poll the client that rdkafka made: events would go to the context and reports with them.
//! The one exception is the end, [`Producer::close`].

mod context;
mod events;
mod producer;
mod record;
mod topics;

pub use producer::{Producer, Report};
pub use record::{Headers, Record};
