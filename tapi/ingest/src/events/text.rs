//! JSON strings: decoding escapes to WTF-8, and writing bytes as a JSON string.
//!
//! WTF-8 is UTF-8 that may also hold a surrogate without its partner. Clients really send those (`"\ud800"`), and two
//! of them have to stay two different texts.

use memchr::memchr;

/// A reused buffer for the strings that do have escapes.
#[derive(Default)]
pub struct Decoder(Vec<u8>);

impl Decoder {
    /// The text behind `raw`, the inside of a JSON string whose escapes are known to be well formed.
    pub fn decode<'a>(&'a mut self, raw: &'a [u8]) -> &'a [u8] {
        let Some(first) = memchr(b'\\', raw) else { return raw };
        self.0.clear();
        self.0.extend_from_slice(&raw[..first]);
        let mut rest = &raw[first..];
        while let Some((&byte, tail)) = rest.split_first() {
            if byte == b'\\' {
                rest = self.escape(tail);
            } else {
                self.0.push(byte);
                rest = tail;
            }
        }
        &self.0
    }

    /// Decodes the escape whose backslash is gone, and returns what is behind it.
    fn escape<'a>(&mut self, tail: &'a [u8]) -> &'a [u8] {
        let (&kind, rest) = tail.split_first().unwrap_or((&b'\\', tail));
        let plain = match kind {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (code, bytes) = code_point(rest);
                push_wtf8(&mut self.0, code);
                return &rest[bytes..];
            }
            other => other,
        };
        self.0.push(plain);
        rest
    }
}

/// The code point of the digits behind `\u`, joined with a second escape where both are a surrogate pair, and how many
/// bytes that took. A surrogate without partner is returned as it is.
fn code_point(digits: &[u8]) -> (u32, usize) {
    let first = hex4(digits).unwrap_or(0xfffd);
    if (0xd800..0xdc00).contains(&first)
        && digits.get(4..6) == Some(b"\\u")
        && let Some(second @ 0xdc00..0xe000) = hex4(&digits[6..])
    {
        return (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 10);
    }
    (first, digits.len().min(4))
}

/// The value of four hexadecimal digits.
pub(super) fn hex4(digits: &[u8]) -> Option<u32> {
    let digits = digits.first_chunk::<4>()?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

fn push_wtf8(out: &mut Vec<u8>, code: u32) {
    if let Some(char) = char::from_u32(code) {
        out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        out.extend_from_slice(&[
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]);
    }
}

/// Bytes that [`write_string`] writes for `text`, without the quotes.
pub(super) fn escaped_bytes(text: &[u8]) -> usize {
    text.iter().map(|&byte| escape_bytes(byte)).sum()
}

const fn escape_bytes(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Appends `text`, which is UTF-8, as a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut written = 0;
    for (index, &byte) in text.iter().enumerate() {
        if escape_bytes(byte) == 1 {
            continue;
        }
        out.extend_from_slice(&text[written..index]);
        written = index + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(raw: &str) -> Vec<u8> {
        Decoder::default().decode(raw.as_bytes()).to_vec()
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(decode("plain é"), "plain é".as_bytes());
        assert_eq!(decode(r#"a\"\\\/\b\f\n\r\tz"#), b"a\"\\/\x08\x0c\n\r\tz");
        assert_eq!(decode(r"\u0049d\u00e9\u20AC"), "Idé€".as_bytes());
        assert_eq!(decode(r"\ud83d\ude00!"), "😀!".as_bytes());
        assert_eq!(decode(r"\u0000"), b"\0");
    }

    #[test]
    fn lone_surrogates_stay_different() {
        assert_eq!(decode(r"\ud800"), b"\xed\xa0\x80");
        assert_eq!(decode(r"\ud801x"), b"\xed\xa0\x81x");
        assert_eq!(decode(r"\udc00\ud800"), b"\xed\xb0\x80\xed\xa0\x80");
        assert_eq!(decode(r"\ud800\u0041"), b"\xed\xa0\x80A");
        assert_eq!(decode(r"\ud800\ud83d\ude00"), [&b"\xed\xa0\x80"[..], "😀".as_bytes()].concat());
    }

    #[test]
    fn malformed_escapes_do_not_panic() {
        for raw in ["\\", "\\u", "\\u1", "\\ud800\\", "\\ud800\\u", "\\ud800\\u1", "\\uzzzz"] {
            decode(raw);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_serde_json_reads(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, text.as_bytes());
            prop_assert_eq!(out.len(), escaped_bytes(text.as_bytes()) + 2);
            prop_assert_eq!(&serde_json::from_slice::<String>(&out).unwrap(), &text);
            prop_assert_eq!(decode(std::str::from_utf8(&out[1..out.len() - 1]).unwrap()), text.as_bytes());
        }
    }
}
