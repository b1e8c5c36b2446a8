//! The record that the local buffer carries: what the drain needs beside the value, at a fixed place, and the value.
//!
//! ```text
//!  0  u8   version          1
//!  1  u8   kind             1 event, 2 rejected
//!  2  u16  source bytes     1..=256
//!  4  u16  messageId bytes  1..=1024; 0 allowed where kind is 2
//!  6  u16  reserved         0
//!  8  i64  receivedAt       milliseconds since the Unix epoch
//! 16  source, messageId, value (the rest)
//! ```
//!
//! Integers are little-endian. There is no checksum here: the local buffer checks its records.

use crate::codec::{DecodeError, Fields};
use crate::{MessageId, SourceId};

/// Format version that this program writes.
pub const VERSION: u8 = 1;
/// Bytes before the source.
pub const HEADER_BYTES: usize = 16;

/// What the value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An accepted event: goes to `events` and through dedup.
    Event = 1,
    /// An event set aside inside an accepted batch, with its reason: goes to `events.rejected`.
    Rejected = 2,
}

/// A decoded record; borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What the value is.
    pub kind: Kind,
    /// The source it came from.
    pub source: SourceId<'a>,
    /// Its messageId; `None` only for a rejected event whose id could not be read.
    pub message_id: Option<MessageId<'a>>,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// One JSON object.
    pub value: &'a [u8],
}

/// Appends everything before the value to `out`; the caller appends the value behind it.
pub fn begin_event(out: &mut Vec<u8>, source: SourceId<'_>, message_id: MessageId<'_>, received_at_ms: i64) {
    begin(out, Kind::Event, source, Some(message_id), received_at_ms);
}

/// The same for an event that was set aside.
pub fn begin_rejected(out: &mut Vec<u8>, source: SourceId<'_>, message_id: Option<MessageId<'_>>, received_at_ms: i64) {
    begin(out, Kind::Rejected, source, message_id, received_at_ms);
}

fn begin(out: &mut Vec<u8>, kind: Kind, source: SourceId<'_>, message_id: Option<MessageId<'_>>, received_at_ms: i64) {
    let source = source.as_bytes();
    let message_id = message_id.map_or(&[][..], MessageId::as_bytes);
    let mut header = [0; HEADER_BYTES];
    header[0] = VERSION;
    header[1] = kind as u8;
    header[2..4].copy_from_slice(&(source.len() as u16).to_le_bytes());
    header[4..6].copy_from_slice(&(message_id.len() as u16).to_le_bytes());
    header[8..16].copy_from_slice(&received_at_ms.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(source);
    out.extend_from_slice(message_id);
}

impl<'a> Envelope<'a> {
    /// Reads a record of the local buffer.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not an envelope of a version and kind this program knows.
    pub fn decode(record: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields(record);
        match fields.u8()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let kind = match fields.u8()? {
            1 => Kind::Event,
            2 => Kind::Rejected,
            other => return Err(DecodeError::Kind(other)),
        };
        let source_bytes = usize::from(fields.u16()?);
        let message_id_bytes = usize::from(fields.u16()?);
        if fields.u16()? != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let received_at_ms = fields.i64()?;
        let source = SourceId::try_new(fields.bytes(source_bytes)?).ok_or(DecodeError::Field("source"))?;
        let message_id = match fields.bytes(message_id_bytes)? {
            [] if kind == Kind::Rejected => None,
            bytes => Some(MessageId::try_new(bytes).ok_or(DecodeError::Field("messageId"))?),
        };
        Ok(Self { kind, source, message_id, received_at_ms, value: fields.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> SourceId<'static> {
        SourceId::try_new(b"web").unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let id = MessageId::try_new(b"m-1").unwrap();
        let mut record = Vec::new();
        begin_event(&mut record, source(), id, 1_700_000_000_123);
        record.extend_from_slice(b"{}");
        let expected = Envelope {
            kind: Kind::Event,
            source: source(),
            message_id: Some(id),
            received_at_ms: 1_700_000_000_123,
            value: b"{}",
        };
        assert_eq!(Envelope::decode(&record), Ok(expected));

        let mut record = Vec::new();
        begin_rejected(&mut record, source(), None, -1);
        let decoded = Envelope::decode(&record).unwrap();
        assert_eq!((decoded.kind, decoded.message_id, decoded.received_at_ms), (Kind::Rejected, None, -1));
    }

    #[test]
    fn every_truncation_of_the_header_is_refused() {
        let mut record = Vec::new();
        begin_event(&mut record, source(), MessageId::try_new(b"m-1").unwrap(), 0);
        for end in 0..record.len() {
            assert_eq!(Envelope::decode(&record[..end]), Err(DecodeError::Short), "{end}");
        }
    }

    #[test]
    fn foreign_bytes_are_refused_by_name() {
        let mut record = Vec::new();
        begin_event(&mut record, source(), MessageId::try_new(b"m").unwrap(), 0);
        let with = |index: usize, value: u8| {
            let mut changed = record.clone();
            changed[index] = value;
            Envelope::decode(&changed).unwrap_err()
        };
        assert_eq!(with(0, 2), DecodeError::Version(2));
        assert_eq!(with(1, 9), DecodeError::Kind(9));
        assert_eq!(with(2, 0), DecodeError::Field("source"));
        assert_eq!(with(4, 0), DecodeError::Field("messageId"));
        assert_eq!(with(7, 1), DecodeError::Field("reserved"));
    }
}
