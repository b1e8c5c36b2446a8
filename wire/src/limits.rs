//! The named maxima of everything that crosses a boundary. Each is enforced in one place and has a test there.

/// Bytes of one HTTP body, before and after decompression. The largest legal batch of a Segment SDK is 524,288 bytes
/// and its envelope; Node's broken size check has been seen to send 1,101,430.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one event, white space between tokens not counted: what Segment documents and its SDKs enforce.
pub const EVENT_BYTES_MAX: usize = 32 * 1024;

/// Events of one batch; those beyond are set aside, as Segment documents.
pub const BATCH_EVENTS_MAX: usize = 2_500;

/// Nesting of one event's JSON, the event's own braces being level 1. Most JSON readers downstream fail far below it.
pub const EVENT_DEPTH_MAX: usize = 1_000;

/// Bytes of a messageId as decoded text. SDKs document 100 characters; some let their users set any text.
pub const MESSAGE_ID_BYTES_MAX: usize = 1_024;

/// Bytes of a source's id.
pub const SOURCE_BYTES_MAX: usize = 256;

/// Bytes of one record of the local buffer: a whole refused request body, its text escaped, fits.
pub const RECORD_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Digests of one changelog record, so that the record stays below Kafka's default `max.message.bytes` of 1 MiB.
pub const CHANGELOG_ENTRIES_MAX: usize = 40_000;

/// Input logs that one changelog record can name.
pub const POSITION_LOGS_MAX: usize = 16;

/// Partitions of one input log that one changelog record can name. With every log full a record of nothing else has
/// 395 kB.
pub const POSITION_PARTITIONS_MAX: usize = 1_024;

/// Lanes: partitions of the changelog's topic that are used.
pub const LANES_MAX: u32 = 4_096;
