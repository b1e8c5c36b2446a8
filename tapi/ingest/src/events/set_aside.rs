//! An event that is refused inside an accepted batch: kept with its reason and the client's bytes, for
//! `events.rejected`, so that nothing a client sent is lost without a trace and a repaired client's events can be found.
//!
//! ```json
//! {"code":"…","message":"…","source":"…","receivedAt":"…","messageId":"…","events":3,"raw":"…"}
//! ```
//!
//! `source` is missing where no write key named one, `messageId` where it cannot be read or where readers of this record
//! could not, `events` where it is one. What is set aside is an event, a piece of a broken batch, or the whole body of a
//! refused request. Its bytes, with asterisks in place of every write key, are in `raw` as a JSON string, or in `rawBase64`
//! where they are not UTF-8 or base64 is shorter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text::{escaped_bytes, write_string};
use super::timestamp::Text;
use crate::reject::Reject;

/// What is known of a refused event.
pub(super) struct SetAside<'a> {
    pub(super) reject: Reject,
    /// The source as a JSON string.
    pub(super) source: Option<&'a [u8]>,
    pub(super) received_at: &'a Text,
    /// The messageId as a JSON string, without its quotes.
    pub(super) message_id: Option<&'a [u8]>,
    /// How many events `raw` is: more than one only for those beyond the batch's limit, which stay together.
    pub(super) events: usize,
    pub(super) raw: &'a [u8],
}

impl SetAside<'_> {
    /// Appends the record's value to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let put = |out: &mut Vec<u8>, parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(out, &[b"{\"code\":\"", self.reject.code().as_bytes(), b"\",\"message\":\""]);
        put(out, &[self.reject.message().as_bytes(), b"\""]);
        if let Some(source) = self.source {
            put(out, &[b",\"source\":", source]);
        }
        put(out, &[b",\"receivedAt\":\"", self.received_at, b"\""]);
        if let Some(message_id) = self.message_id {
            put(out, &[b",\"messageId\":\"", message_id, b"\""]);
        }
        if self.events > 1 {
            put(out, &[b",\"events\":", itoa::Buffer::new().format(self.events).as_bytes()]);
        }
        self.write_raw(out);
        out.push(b'}');
    }

    fn write_raw(&self, out: &mut Vec<u8>) {
        let base64_bytes = self.raw.len().div_ceil(3) * 4;
        if std::str::from_utf8(self.raw).is_ok() && escaped_bytes(self.raw) <= base64_bytes {
            out.extend_from_slice(b",\"raw\":");
            write_string(out, self.raw);
            return;
        }
        out.extend_from_slice(b",\"rawBase64\":\"");
        let start = out.len();
        out.resize(start + base64_bytes, 0);
        let written = STANDARD.encode_slice(self.raw, &mut out[start..]).expect("the room is what base64 takes");
        out.truncate(start + written);
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(raw: &[u8], events: usize) -> String {
        let mut out = Vec::new();
        let received_at = &super::super::timestamp::format(0);
        SetAside {
            reject: Reject::InvalidJson,
            source: Some(b"\"web\""),
            received_at,
            message_id: Some(b"m"),
            events,
            raw,
        }
        .write(&mut out);
        String::from_utf8(out).unwrap()
    }

    const HEAD: &str = r#"{"code":"invalid_json","message":"The body is not valid JSON.","source":"web","receivedAt":"1970-01-01T00:00:00.000Z","messageId":"m""#;

    #[test]
    fn text_is_a_string() {
        assert_eq!(written("{\"é\n".as_bytes(), 1), format!(r#"{HEAD},"raw":"{{\"é\n"}}"#));
        assert_eq!(written(b"12", 7), format!(r#"{HEAD},"events":7,"raw":"12"}}"#));
    }

    #[test]
    fn what_is_not_text_or_would_blow_up_is_base64() {
        assert_eq!(written(b"\xff", 1), format!(r#"{HEAD},"rawBase64":"/w=="}}"#));
        assert_eq!(written(&[0; 3], 1), format!(r#"{HEAD},"rawBase64":"AAAA"}}"#));
    }

    #[test]
    fn a_record_stays_within_its_bound() {
        use wire::limits::{RECORD_BYTES_MAX, REQUEST_BYTES_MAX};
        for byte in [b'"', 0, 0xff, b'a'] {
            assert!(written(&vec![byte; REQUEST_BYTES_MAX], 1).len() < RECORD_BYTES_MAX, "{byte}");
        }
    }
}
