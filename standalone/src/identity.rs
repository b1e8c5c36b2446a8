//! Whose line is this: source, messageId and time read back from a line of the output.

use ingest::events::Decoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::{Digest, DigestSeed, MessageId, SourceId};

/// The members of an output line that say which event it is. Everything else is passed over unread.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    source: &'a RawValue,
    #[serde(borrow, rename = "messageId")]
    message_id: &'a RawValue,
    #[serde(borrow, rename = "receivedAt")]
    received_at: &'a RawValue,
}

/// Which event a published line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Digest of its identity.
    pub digest: Digest,
    /// When it was received, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
}

/// Reads lines; keeps the buffers that strings with escapes need.
#[derive(Default)]
pub(crate) struct LineReader {
    source: Decoder,
    message_id: Decoder,
}

impl LineReader {
    /// `None` where the line is not one that this program writes.
    pub(crate) fn read(&mut self, seed: DigestSeed, line: &[u8]) -> Option<Published> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        let source = SourceId::try_new(self.source.decode(text(line.source)?))?;
        let message_id = MessageId::try_new(self.message_id.decode(text(line.message_id)?))?;
        let received_at: jiff::Timestamp = std::str::from_utf8(text(line.received_at)?).ok()?.parse().ok()?;
        Some(Published { digest: Digest::of(seed, source, message_id), received_at_ms: received_at.as_millisecond() })
    }
}

/// The inside of a JSON string; `None` where the value is not one.
fn text(value: &RawValue) -> Option<&[u8]> {
    value.get().strip_prefix('"')?.strip_suffix('"').map(str::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: DigestSeed = DigestSeed(9);

    fn read(line: &str) -> Option<Published> {
        LineReader::default().read(SEED, line.as_bytes())
    }

    fn digest(source: &[u8], message_id: &[u8]) -> Digest {
        Digest::of(SEED, SourceId::try_new(source).unwrap(), MessageId::try_new(message_id).unwrap())
    }

    #[test]
    fn the_identity_is_that_of_the_decoded_text() {
        let line = r#"{"x":[1e999,"\ud800"],"messageId":"a\u0041\ud800","receivedAt":"2026-11-21T08:00:00.123Z","source":"w\"b"}"#;
        let published = read(line).unwrap();
        assert_eq!(published.digest, digest(b"w\"b", b"aA\xed\xa0\x80"));
        assert_eq!(published.received_at_ms, 1_795_248_000_123);
    }

    #[test]
    fn deep_nesting_is_passed_over() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let line = format!(r#"{{"d":{deep},"messageId":"m","receivedAt":"2026-11-21T08:00:00.000Z","source":"s"}}"#);
        assert_eq!(read(&line).unwrap().digest, digest(b"s", b"m"));
    }

    #[test]
    fn other_lines_are_nobodys() {
        for line in [
            "",
            "{}",
            "not json",
            r#"{"messageId":1,"receivedAt":"2026-11-21T08:00:00.000Z","source":"s"}"#,
            r#"{"messageId":"","receivedAt":"2026-11-21T08:00:00.000Z","source":"s"}"#,
            r#"{"messageId":"m","receivedAt":"yesterday","source":"s"}"#,
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
