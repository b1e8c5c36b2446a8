//! Names of the Kafka topics and of the headers beside a record.

/// Input: every accepted event, on both clusters.
pub const EVENTS: &str = "events";
/// Output: each event once.
pub const EVENTS_DEDUPED: &str = "events.deduped";
/// The changelog: what the dedup index is a cache of.
pub const EVENTS_INDEX: &str = "events.index";
/// Events refused inside an accepted batch, with the reason.
pub const EVENTS_REJECTED: &str = "events.rejected";

/// Header: the source's stable id.
pub const SOURCE_HEADER: &str = "source";
/// Header: when the event was received, milliseconds since the Unix epoch as decimal text.
pub const RECEIVED_AT_HEADER: &str = "receivedAt";
