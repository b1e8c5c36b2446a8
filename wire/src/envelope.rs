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

const EVENT: u8 = 1;
const SET_ASIDE: u8 = 2;

/// A decoded record; borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// An accepted event: goes to `events` and through dedup.
    Event(Event<'a>),
    /// An event that was set aside inside an accepted batch, with its reason: goes to `events.rejected`.
    SetAside(SetAside<'a>),
}

/// An accepted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The source it came from.
    pub source: SourceId<'a>,
    /// Its messageId.
    pub message_id: MessageId<'a>,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// One JSON object.
    pub value: &'a [u8],
}

/// An event that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAside<'a> {
    /// The source it came from.
    pub source: SourceId<'a>,
    /// Its messageId; `None` where it could not be read.
    pub message_id: Option<MessageId<'a>>,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// One JSON object: why, and the client's own bytes.
    pub value: &'a [u8],
}

/// Appends everything before the value to `out`; the caller appends the value behind it.
pub fn begin_event(out: &mut Vec<u8>, source: SourceId<'_>, message_id: MessageId<'_>, received_at_ms: i64) {
    begin(out, EVENT, source, Some(message_id), received_at_ms);
}

/// The same for an event that was set aside.
pub fn begin_rejected(out: &mut Vec<u8>, source: SourceId<'_>, message_id: Option<MessageId<'_>>, received_at_ms: i64) {
    begin(out, SET_ASIDE, source, message_id, received_at_ms);
}

fn begin(out: &mut Vec<u8>, kind: u8, source: SourceId<'_>, message_id: Option<MessageId<'_>>, received_at_ms: i64) {
    let source = source.as_bytes();
    let message_id = message_id.map_or(&[][..], MessageId::as_bytes);
    let mut header = [0; HEADER_BYTES];
    header[0] = VERSION;
    header[1] = kind;
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
            kind @ (EVENT | SET_ASIDE) => kind,
            other => return Err(DecodeError::Kind(other)),
        };
        let source_bytes = usize::from(fields.u16()?);
        let message_id_bytes = usize::from(fields.u16()?);
        if fields.u16()? != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let received_at_ms = fields.i64()?;
        let source = SourceId::try_new(fields.bytes(source_bytes)?).ok_or(DecodeError::Field("source"))?;
        let bytes = fields.bytes(message_id_bytes)?;
        let (message_id, value) = (MessageId::try_new(bytes), fields.0);
        match message_id {
            None if kind == EVENT || !bytes.is_empty() => Err(DecodeError::Field("messageId")),
            Some(message_id) if kind == EVENT => Ok(Self::Event(Event { source, message_id, received_at_ms, value })),
            message_id => Ok(Self::SetAside(SetAside { source, message_id, received_at_ms, value })),
        }
    }

    /// The source it came from.
    pub fn source(&self) -> SourceId<'a> {
        match self {
            Self::Event(event) => event.source,
            Self::SetAside(event) => event.source,
        }
    }

    /// Its messageId, which every event has.
    pub fn message_id(&self) -> Option<MessageId<'a>> {
        match self {
            Self::Event(event) => Some(event.message_id),
            Self::SetAside(event) => event.message_id,
        }
    }

    /// When it was received, milliseconds since the Unix epoch.
    pub fn received_at_ms(&self) -> i64 {
        match self {
            Self::Event(event) => event.received_at_ms,
            Self::SetAside(event) => event.received_at_ms,
        }
    }

    /// One JSON object.
    pub fn value(&self) -> &'a [u8] {
        match self {
            Self::Event(event) => event.value,
            Self::SetAside(event) => event.value,
        }
    }

    /// Whether it is an accepted event.
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Event(_))
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
        let expected = Event { source: source(), message_id: id, received_at_ms: 1_700_000_000_123, value: b"{}" };
        assert_eq!(Envelope::decode(&record), Ok(Envelope::Event(expected)));

        let mut record = Vec::new();
        begin_rejected(&mut record, source(), None, -1);
        let decoded = Envelope::decode(&record).unwrap();
        let expected = SetAside { source: source(), message_id: None, received_at_ms: -1, value: b"" };
        assert_eq!(decoded, Envelope::SetAside(expected));
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
