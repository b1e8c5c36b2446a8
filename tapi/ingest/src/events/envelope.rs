//! What a batch says once for all its events. Its members come in any order, so it is read before the first event.

use wire::limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX};

use super::calendar::Calendar;
use super::document::{Document, Kind, Value};
use super::names::Name;
use super::readable::Unreadable;
use super::shared::SharedObject;
use super::text::Decoder;
use super::timestamp;
use crate::reject::Reject;

/// Bytes that the envelope may add to each event: as much as an event may have itself, so that a merged event stays far
/// below what a Kafka broker takes.
pub(super) const SHARED_BYTES_MAX: usize = EVENT_BYTES_MAX;

/// The envelope's own members, copied out of the body. Empty for a single event.
#[derive(Default)]
pub(super) struct BatchEnvelope {
    pub(super) context: SharedObject,
    pub(super) integrations: SharedObject,
    /// `sentAt` as the client wrote it; empty where there is none.
    pub(super) sent_at: Vec<u8>,
    /// The same in milliseconds since the Unix epoch, where it is a point in time.
    pub(super) sent_at_ms: Option<i64>,
    /// `writeKey`, decoded; empty where there is none.
    pub(super) write_key: Vec<u8>,
}

impl BatchEnvelope {
    pub(super) fn clear(&mut self) {
        self.context.clear();
        self.integrations.clear();
        self.sent_at.clear();
        self.sent_at_ms = None;
        self.write_key.clear();
    }

    /// Bytes that it can add to each event.
    pub(super) fn bytes(&self) -> usize {
        self.context.bytes() + self.integrations.bytes() + self.sent_at.len()
    }

    /// Reads the envelope and returns its `batch`, an array.
    ///
    /// # Errors
    /// [`Reject::BatchMissing`], [`Reject::TooDeep`], [`Reject::ExpandsTooMuch`], and where its common members go into
    /// every event, the reason why nobody could read those: the whole request is refused.
    pub(super) fn read(
        &mut self,
        document: Document<'_>,
        unreadable: Unreadable,
        decoder: &mut Decoder,
    ) -> Result<Value, Reject> {
        self.clear();
        let root = document.root();
        if document.kind(root) != Kind::Object {
            return Err(Reject::BatchMissing);
        }
        // The last member of a name counts.
        let mut last = [None; Name::COUNT];
        for member in document.members(root) {
            let name = document.name_of(member, decoder);
            if name != Name::Other {
                last[name as usize] = Some(member.value);
            }
        }
        let is_null = |&value: &Value| document.kind(value) == Kind::Null || document.raw(value) == b"\"\"";
        let get = |name: Name| last[name as usize].filter(|value| !is_null(value));

        let common = [Name::Context, Name::Integrations, Name::SentAt].map(get);
        if common.iter().flatten().map(|&value| document.compact_bytes(value)).sum::<usize>() > SHARED_BYTES_MAX {
            return Err(Reject::ExpandsTooMuch);
        }
        if common.iter().flatten().any(|&value| document.is_deeper_than(value, EVENT_DEPTH_MAX - 1)) {
            return Err(Reject::TooDeep);
        }
        // One object is around them: the event.
        common.iter().flatten().try_for_each(|&value| unreadable.check(document, value, 1))?;
        let [context, integrations, sent_at] = common;
        if let Some(value) = context {
            self.context.read(document, value, decoder);
        }
        if let Some(value) = integrations {
            self.integrations.read(document, value, decoder);
        }
        if let Some(value) = sent_at {
            document.write_compact(value.mark, value.mark_end, &mut self.sent_at);
            self.sent_at_ms = instant(document, value, &mut Calendar::default(), decoder);
        }
        if let Some(value) = get(Name::WriteKey).filter(|&value| document.kind(value) == Kind::String) {
            self.write_key.extend_from_slice(document.decode(document.string(value), decoder));
        }
        get(Name::Batch).filter(|&value| document.kind(value) == Kind::Array).ok_or(Reject::BatchMissing)
    }
}

/// The instant that a value names, in milliseconds since the Unix epoch; `None` where it names none.
pub(super) fn instant(
    document: Document<'_>,
    value: Value,
    calendar: &mut Calendar,
    decoder: &mut Decoder,
) -> Option<i64> {
    match document.kind(value) {
        Kind::String => calendar.parse(document.decode(document.string(value), decoder)),
        Kind::Number => timestamp::parse_epoch(document.raw(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::Parser;
    use super::*;

    fn read(body: &str) -> (BatchEnvelope, Result<String, Reject>) {
        let (mut parser, mut decoder) = (Parser::new(), Decoder::default());
        let mut envelope = BatchEnvelope::default();
        let document = parser.parse(body.as_bytes()).unwrap();
        let batch = envelope.read(document, Unreadable::Pass, &mut decoder);
        (envelope, batch.map(|batch| String::from_utf8(document.raw(batch).to_vec()).unwrap()))
    }

    #[test]
    fn members_are_found_in_any_order() {
        for body in [
            r#"{"batch":[1],"sentAt":"1970-01-01T00:00:01Z","writeKey":"k\u0065y","context":{"a":1}}"#,
            r#"{"context":{"a":1},"writeKey":"key","x":{"batch":2},"sentAt":"1970-01-01T00:00:01Z","batch":[1]}"#,
            r#"{"batch":[2],"writeKey":"no","context":7,"batch":[1],"writeKey":"key","context":{"a":1},"sentAt":"1970-01-01T00:00:01Z"}"#,
        ] {
            let (envelope, batch) = read(body);
            assert_eq!(batch.as_deref(), Ok("[1]"));
            assert_eq!(envelope.sent_at, br#""1970-01-01T00:00:01Z""#);
            assert_eq!((envelope.sent_at_ms, &envelope.write_key[..]), (Some(1_000), &b"key"[..]));
            assert_eq!((envelope.context.bytes(), envelope.integrations.bytes()), (5, 0));
        }
    }

    #[test]
    fn no_array_no_batch() {
        for body in ["{}", "[]", "1", r#"{"batch":{}}"#, r#"{"batch":null}"#, r#"{"batch":[],"batch":1}"#] {
            assert_eq!(read(body).1, Err(Reject::BatchMissing), "{body}");
        }
    }

    #[test]
    fn common_members_have_bounds() {
        let context = |bytes: usize| format!(r#"{{"context":{{"a":"{}"}},"batch":[]}}"#, "x".repeat(bytes - 8));
        assert_eq!(read(&context(SHARED_BYTES_MAX)).1.as_deref(), Ok("[]"));
        assert_eq!(read(&context(SHARED_BYTES_MAX + 1)).1, Err(Reject::ExpandsTooMuch));

        // One level is the event's own braces.
        let nested = |levels: usize| {
            format!(r#"{{"batch":[],"context":{}{}}}"#, "{\"a\":".repeat(levels - 1) + "{}", "}".repeat(levels - 1))
        };
        assert_eq!(read(&nested(EVENT_DEPTH_MAX - 1)).1.as_deref(), Ok("[]"));
        assert_eq!(read(&nested(EVENT_DEPTH_MAX)).1, Err(Reject::TooDeep));
    }
}
