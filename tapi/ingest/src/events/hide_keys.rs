//! Write keys in the bytes of refused events: they are secrets, and `events.rejected` is read by many.
//!
//! The bytes may be anything, so nothing is parsed. Whatever stands behind a name that reads `writeKey`, in quotes or
//! without, escaped or not, becomes asterisks of the same length; rather too much than too little.

use memchr::memmem;

const NAME: &[u8] = b"writeKey";
/// The beginning of every escape that can stand for a letter of the name.
const ESCAPE: &[u8] = b"\\u00";

/// The bytes without keys; `masked` is where they lie if there were any.
pub(super) fn hide_keys<'a>(raw: &'a [u8], masked: &'a mut Vec<u8>) -> &'a [u8] {
    let has_escape = memmem::find(raw, ESCAPE).is_some();
    if !has_escape && memmem::find(raw, NAME).is_none() {
        return raw;
    }
    masked.clear();
    masked.extend_from_slice(raw);
    let mut at = 0;
    while at < masked.len() {
        let from = if has_escape { 0 } else { memmem::find(&masked[at..], NAME).map_or(masked.len(), |found| found) };
        at = (at + from).min(masked.len());
        match name_bytes(&masked[at..]) {
            Some(bytes) => at = hide_value(masked, at + bytes),
            None => at += 1,
        }
    }
    masked
}

/// Bytes of the name that `text` starts with, escapes included.
fn name_bytes(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for letter in NAME {
        let rest = &text[at..];
        at += if rest.first() == Some(letter) { 1 } else { escaped(rest, *letter)? };
    }
    Some(at)
}

fn escaped(text: &[u8], letter: u8) -> Option<usize> {
    let digits = text.strip_prefix(ESCAPE)?.get(..2)?;
    let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (value == letter).then_some(ESCAPE.len() + 2)
}

/// Masks the value of the name that ends at `at`, and gives where it ends.
fn hide_value(text: &mut [u8], at: usize) -> usize {
    let is_between = |byte: &&u8| matches!(byte, b'"' | b'\'' | b'\\' | b':' | b'=' | b' ' | b'\t' | b'\r' | b'\n');
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    // The quote that closes the name, what separates, and perhaps a quote that opens the value.
    let mut start = at + text[at..].iter().take_while(|byte| is_between(byte) && !is_quote(byte)).count();
    start += usize::from(text.get(start).is_some_and(is_quote));
    start += text[start..].iter().take_while(|byte| is_between(byte) && !is_quote(byte)).count();
    start += usize::from(text.get(start).is_some_and(is_quote));
    let opening = &text[at..start];
    let quote = opening.last().copied().filter(is_quote);
    // In a text inside a text the quotes themselves have backslashes before them.
    let backslashes = |before: &[u8]| before.iter().rev().take_while(|byte| **byte == b'\\').count();
    let of_opening = quote.map_or(0, |_| backslashes(&opening[..opening.len() - 1]));
    let mut end = start;
    while let Some(byte) = text.get(end) {
        let has_ended = match quote {
            // As many as at the opening, beside those that stand for backslashes of the value.
            Some(quote) => *byte == quote && backslashes(&text[start..end]) % (2 * of_opening + 2) == of_opening,
            None => matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'&'),
        };
        if has_ended {
            break;
        }
        end += 1;
    }
    let of_closing = if end < text.len() { of_opening } else { 0 };
    text[start..end - of_closing].fill(b'*');
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(raw: &str) -> String {
        let mut masked = b"left over".to_vec();
        String::from_utf8(hide_keys(raw.as_bytes(), &mut masked).to_vec()).unwrap()
    }

    #[test]
    fn keys_are_hidden_however_they_are_written() {
        for (raw, expected) in [
            (r#"{"writeKey":"hush","a":1}"#, r#"{"writeKey":"****","a":1}"#),
            ("{\"writeKey\" :\n \"hush\"", "{\"writeKey\" :\n \"****\""),
            (r#"{"\u0077riteKe\u0079":"hush"}"#, r#"{"\u0077riteKe\u0079":"****"}"#),
            (r#"{"a":"\u0061","writeKey":"hush"}"#, r#"{"a":"\u0061","writeKey":"****"}"#),
            (r#"{"writeKey":"hu\"sh\\"}"#, r#"{"writeKey":"********"}"#),
            (r#"{"a":"{\"writeKey\":\"hush\"}"}"#, r#"{"a":"{\"writeKey\":\"****\"}"}"#),
            (r"{'writeKey': 'hush'}", r"{'writeKey': '****'}"),
            (r#""{\"writeKey\":\"h\\\"h\\\\\",\"b\":1}""#, r#""{\"writeKey\":\"**********\",\"b\":1}""#),
            ("{writeKey: hush}", "{writeKey: ****}"),
            (r#"{"writeKey":12345,"b":2}"#, r#"{"writeKey":*****,"b":2}"#),
            (r#"[{"writeKey":"a"},{"writeKey":"bc"}]"#, r#"[{"writeKey":"*"},{"writeKey":"**"}]"#),
            (r#"{"writeKey":"é"}"#, r#"{"writeKey":"**"}"#),
            (r#"{"writeKey":"hush"#, r#"{"writeKey":"****"#),
            ("a=1&writeKey=hush&b=2", "a=1&writeKey=****&b=2"),
            (r#"{"writeKey":"","b":2}"#, r#"{"writeKey":"","b":2}"#),
            ("writeKey", "writeKey"),
        ] {
            assert_eq!(hidden(raw), expected);
        }
    }

    #[test]
    fn what_names_no_key_stays_where_it_is() {
        let mut masked = Vec::new();
        for raw in [&b"{\"writekey\":\"a\"}"[..], b"", b"\xff"] {
            assert_eq!(hide_keys(raw, &mut masked).as_ptr(), raw.as_ptr());
        }
        assert_eq!(hidden(r#"{"a":"\u0061"}"#), r#"{"a":"\u0061"}"#);
    }
}
