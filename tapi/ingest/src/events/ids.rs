//! messageIds that only look present: what a program writes where it has none. Two events with such an id would be one for
//! dedup, and all but the first of them lost.

/// What the languages of SDKs and templates write for "nothing", in lower case.
const NOTHING: [&[u8]; 10] = [
    b"null",
    b"(null)",
    b"<null>",
    b"nil",
    b"none",
    b"undefined",
    b"nan",
    b"[object object]",
    b"00000000-0000-0000-0000-000000000000",
    b"00000000000000000000000000000000",
];
/// Bytes of the longest of them.
const NOTHING_BYTES_MAX: usize = 36;

/// Whether a messageId, decoded, names its event: it is not empty, not blank, and none of the words for nothing.
#[inline]
pub(super) fn is_id(text: &[u8]) -> bool {
    // Blanks that are not ASCII start with a byte above it; an id of this length that does is read whole.
    let text = text.trim_ascii();
    match text.first() {
        None => false,
        Some(b'0' | b'N' | b'n' | b'U' | b'u' | b'(' | b'<' | b'[') => {
            text.len() > NOTHING_BYTES_MAX || !NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
        }
        Some(0x80..) => !std::str::from_utf8(text).is_ok_and(|text| text.trim().is_empty()),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_nothing_are_no_ids() {
        for text in ["", " ", "\t\r\n", "\u{a0}\u{3000}", "null", " NULL ", "(null)", "None", "undefined", "NaN"] {
            assert!(!is_id(text.as_bytes()), "{text:?}");
        }
        assert!(NOTHING.iter().all(|nothing| !is_id(nothing) && nothing.len() <= NOTHING_BYTES_MAX));
    }

    #[test]
    fn everything_else_is_one() {
        for text in ["0", "null-1", "nothing", "x", "\u{a0}x", "é", "00000000-0000-0000-0000-000000000001"] {
            assert!(is_id(text.as_bytes()), "{text:?}");
        }
        assert!(is_id(b"\xed\xa0\x80"), "half of a surrogate pair");
    }
}
