//! A record of the buffer as a line of NDJSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use wire::envelope::Envelope;

use super::text;

/// What a record holds.
#[derive(Serialize, Default)]
pub(super) struct Content {
    #[serde(rename = "envelope", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(rename = "sourceBase64", skip_serializing_if = "Option::is_none")]
    source_bytes: Option<String>,
    #[serde(rename = "messageId", skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(rename = "messageIdBase64", skip_serializing_if = "Option::is_none")]
    message_id_bytes: Option<String>,
    #[serde(rename = "receivedAt", skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Content {
    /// The envelope if the bytes are one, else the bytes.
    pub(super) fn of(record: &[u8]) -> Self {
        match Envelope::decode(record) {
            Ok(envelope) => Self::of_envelope(&envelope),
            Err(error) => Self { error: Some(format!("no envelope: {error}")), ..Self::of_bytes(record) },
        }
    }

    /// Bytes that nobody expects to be a record.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(STANDARD.encode(bytes)), ..Self::default() }
    }

    fn of_envelope(envelope: &Envelope<'_>) -> Self {
        let (source, source_bytes) = text_and_bytes(envelope.source().as_bytes());
        let id = envelope.message_id().map(|id| text_and_bytes(id.as_bytes()));
        let (message_id, message_id_bytes) = id.map_or((None, None), |(text, bytes)| (Some(text), bytes));
        let kind = if envelope.is_event() { "event" } else { "rejected" };
        let (event, bytes, error) = match one_line(envelope.value()) {
            Ok(event) => (Some(event), None, None),
            Err(error) => (None, Some(STANDARD.encode(envelope.value())), Some(format!("no JSON: {error}"))),
        };
        Self {
            kind: Some(kind),
            source: Some(source),
            source_bytes,
            message_id,
            message_id_bytes,
            received_at: text::time(envelope.received_at_ms()),
            event,
            bytes,
            error,
        }
    }
}

/// Text as it is, and the exact bytes where they are not UTF-8.
fn text_and_bytes(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

/// The client's JSON without its line breaks, which can only stand between its tokens.
fn one_line(value: &[u8]) -> Result<Box<RawValue>, serde_json::Error> {
    let raw: &RawValue = serde_json::from_slice(value)?;
    if raw.get().contains(['\n', '\r']) {
        return RawValue::from_string(raw.get().replace(['\n', '\r'], " "));
    }
    Ok(raw.to_owned())
}

#[cfg(test)]
mod tests {
    use wire::envelope::begin_event;
    use wire::{MessageId, SourceId};

    use super::*;

    fn line(message_id: &[u8], value: &[u8]) -> String {
        let mut record = Vec::new();
        let (source, id) = (SourceId::try_new(b"web").unwrap(), MessageId::try_new(message_id).unwrap());
        begin_event(&mut record, source, id, 1_700_000_000_123);
        record.extend_from_slice(value);
        serde_json::to_string(&Content::of(&record)).unwrap()
    }

    #[test]
    fn an_event_comes_out_as_it_came_in_on_one_line() {
        assert_eq!(
            line(b"m-1", b"{\"a\": 1.50,\r\n \"b\":\"\\ud800\\n\"}"),
            "{\"envelope\":\"event\",\"source\":\"web\",\"messageId\":\"m-1\",\
             \"receivedAt\":\"2023-11-14T22:13:20.123Z\",\"event\":{\"a\": 1.50,   \"b\":\"\\ud800\\n\"}}"
        );
    }

    #[test]
    fn what_is_no_text_keeps_its_bytes_beside() {
        assert!(line(b"m\xed\xa0\x80", b"{}").contains("\"messageIdBase64\":\"be2ggA==\""));
        let broken = line(b"m", b"{");
        assert!(broken.contains("\"bytes\":\"ew==\"") && broken.contains("\"error\":\"no JSON"), "{broken}");
        let none = serde_json::to_string(&Content::of(b"\x09abc")).unwrap();
        assert!(none.starts_with("{\"bytes\":\"CWFiYw==\",\"error\":\"no envelope: "), "{none}");
    }
}
