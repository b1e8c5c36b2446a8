//! The members of a JSON object as raw bytes, without building values.
//!
//! A value's inside is skipped by brackets and quotes alone, so some text that is not JSON passes. That is enough
//! where the bytes are then compared with text that is known to be JSON.

use std::ops::Range;

use memchr::memchr2;

/// Where one member lies: its key without the quotes, and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) key: Range<usize>,
    pub(crate) value: Range<usize>,
}

/// The text is not one JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Puts the members of the object that `text` is into `members`, in their order.
pub(crate) fn members(text: &[u8], members: &mut Vec<Member>) -> Result<(), Malformed> {
    members.clear();
    let mut at = expect(text, skip_space(text, 0), b'{')?;
    at = skip_space(text, at);
    if text.get(at) == Some(&b'}') {
        return end(text, at + 1);
    }
    loop {
        let key_end = string_end(text, at)?;
        let key = at + 1..key_end - 1;
        at = expect(text, skip_space(text, key_end), b':')?;
        at = skip_space(text, at);
        let value_end = value_end(text, at)?;
        members.push(Member { key, value: at..value_end });
        at = skip_space(text, value_end);
        match text.get(at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b'}') => return end(text, at + 1),
            _ => return Err(Malformed),
        }
    }
}

/// The bytes between the quotes, if the value is a string.
pub(crate) fn string_content(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn end(text: &[u8], at: usize) -> Result<(), Malformed> {
    if skip_space(text, at) == text.len() { Ok(()) } else { Err(Malformed) }
}

fn expect(text: &[u8], at: usize, byte: u8) -> Result<usize, Malformed> {
    if text.get(at) == Some(&byte) { Ok(at + 1) } else { Err(Malformed) }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// Behind the closing quote of the string that starts at `at`.
fn string_end(text: &[u8], at: usize) -> Result<usize, Malformed> {
    let mut at = expect(text, at, b'"')?;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..).ok_or(Malformed)?).ok_or(Malformed)?;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        at += 2;
    }
}

fn value_end(text: &[u8], at: usize) -> Result<usize, Malformed> {
    match text.get(at).ok_or(Malformed)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => nested_end(text, at),
        _ => {
            let length = text[at..].iter().take_while(|byte| !matches!(byte, b',' | b'}' | b']' | b' ')).count();
            if length == 0 { Err(Malformed) } else { Ok(at + length) }
        }
    }
}

fn nested_end(text: &[u8], mut at: usize) -> Result<usize, Malformed> {
    let mut depth = 0;
    loop {
        match text.get(at).ok_or(Malformed)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Result<Vec<(&str, &str)>, Malformed> {
        let mut found = Vec::new();
        members(text.as_bytes(), &mut found)?;
        Ok(found.iter().map(|member| (&text[member.key.clone()], &text[member.value.clone()])).collect())
    }

    #[test]
    fn members_come_out_as_they_stand() {
        assert_eq!(split("{}"), Ok(vec![]));
        assert_eq!(
            split(r#" { "a" : "}\"," , "b\"" : {"x":["]",{}]}, "c": -1e5,"d":[] } "#),
            Ok(vec![("a", r#""}\",""#), (r#"b\""#, r#"{"x":["]",{}]}"#), ("c", "-1e5"), ("d", "[]")])
        );
    }

    #[test]
    fn what_is_not_one_whole_object_is_malformed() {
        for text in ["", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{\"a\":}", "{} {}", "{\"a\":\"x\\"]
        {
            assert_eq!(split(text), Err(Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(prop_oneof![
            Just(b'{'), Just(b'}'), Just(b'['), Just(b'"'), Just(b'\\'), Just(b','), Just(b':'), any::<u8>()], 0..60)) {
            let mut found = Vec::new();
            if members(&text, &mut found).is_ok() {
                prop_assert!(found.iter().all(|member| member.key.end < member.value.start));
            }
        }
    }
}
