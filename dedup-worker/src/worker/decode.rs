//! What each record of an input is.

use dedup::Candidate;
use kafka::Message;
use wire::topic::{RECEIVED_AT_HEADER, SOURCE_HEADER};
use wire::{Digest, DigestSeed, LaneCount, MessageId, SourceId};

/// Why a record is no event that can be decided. The text goes into the `reason` header of `events.rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// No key, an empty or an overlong one.
    MessageId,
    /// No `source` header, an empty or an overlong one.
    Source,
    /// No `receivedAt` header, or no number in it.
    ReceivedAt,
    /// Its key leads to another lane: its repeats would lie there and never meet it.
    Lane,
    /// No value.
    Value,
    /// It is too large to be written again, so it is set aside without its value.
    Size,
}

impl Undecodable {
    /// In one word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::MessageId => "messageId",
            Self::Source => "source",
            Self::ReceivedAt => "receivedAt",
            Self::Lane => "lane",
            Self::Value => "value",
            Self::Size => "size",
        }
    }
}

/// Reads a record as an event, and says how many bytes it has, or which part is not as it must be. More than `bytes_max`
/// cannot be written again.
pub fn decode(
    record: &Message,
    lane: u32,
    lanes: LaneCount,
    seed: DigestSeed,
    bytes_max: usize,
) -> (usize, Result<Candidate, Undecodable>) {
    let mut bytes = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
    let (mut source, mut received_at_ms) = (None, None);
    for (name, value) in record.headers() {
        bytes += name.len() + value.map_or(0, <[u8]>::len);
        if name == SOURCE_HEADER.as_bytes() {
            source = value.and_then(SourceId::try_new);
        } else if name == RECEIVED_AT_HEADER.as_bytes() {
            received_at_ms = value.and_then(decimal);
        }
    }
    if bytes > bytes_max {
        return (bytes, Err(Undecodable::Size));
    }
    (bytes, candidate(record, lane, lanes, seed, source, received_at_ms))
}

fn candidate(
    record: &Message,
    lane: u32,
    lanes: LaneCount,
    seed: DigestSeed,
    source: Option<SourceId<'_>>,
    received_at_ms: Option<i64>,
) -> Result<Candidate, Undecodable> {
    let message_id = record.key().and_then(MessageId::try_new).ok_or(Undecodable::MessageId)?;
    if lanes.lane_of(message_id) != lane {
        return Err(Undecodable::Lane);
    }
    let source = source.ok_or(Undecodable::Source)?;
    let received_at_ms = received_at_ms.ok_or(Undecodable::ReceivedAt)?;
    if record.value().is_none_or(<[u8]>::is_empty) {
        return Err(Undecodable::Value);
    }
    Ok(Candidate { digest: Digest::of(seed, source, message_id), received_at_ms })
}

fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_decimal_text() {
        assert_eq!(decimal(b"1790000000000"), Some(1_790_000_000_000));
        assert_eq!(decimal(b"-5"), Some(-5));
        assert_eq!((decimal(b""), decimal(b"1e3"), decimal(b"\xff")), (None, None, None));
    }
}
