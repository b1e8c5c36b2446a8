//! The Kafka topics: their names, the headers beside a record, and what each topic has to be set to.
//!
//! [`RULES`] is the one table of settings. Programs read a topic's settings off the broker and give them to [`judge`];
//! what it finds they refuse or warn of, in its words.

mod finding;
mod retention;
mod rule;
mod rules;

pub use finding::{Finding, judge};
pub use retention::{EVENTS_RETENTION_MIN, Retention, Span, kept_for};
pub use rule::{Must, Rule};
pub use rules::{REPLICAS, RULES};

/// Input: every accepted event, on both clusters.
pub const EVENTS: &str = "events";
/// Output: each event once.
pub const EVENTS_DEDUPED: &str = "events.deduped";
/// The changelog: what the dedup index is a cache of.
pub const EVENTS_INDEX: &str = "events.index";
/// Events refused inside an accepted batch, with the reason.
pub const EVENTS_REJECTED: &str = "events.rejected";
/// All of them.
pub const TOPICS: [&str; 4] = [EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED];

/// Header: the source's stable id.
pub const SOURCE_HEADER: &str = "source";
/// Header: when the event was received, milliseconds since the Unix epoch as decimal text.
pub const RECEIVED_AT_HEADER: &str = "receivedAt";
