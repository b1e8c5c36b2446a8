//! Where a text stops being JSON: grammar, without recursion and without simd-json, for the pieces of a broken body. What
//! [`super::repair`] can repair counts as JSON.

use memchr::{memchr, memchr2};

use super::outline::atom_bytes;
use super::repair::is_number;

/// Levels at which a value is not looked at any further. Beyond those of an event and of its envelope.
const DEPTH_MAX: usize = 1024;

/// Which of the open brackets are braces; those beyond [`DEPTH_MAX`] are not known.
#[derive(Default)]
pub(super) struct Braces([u64; DEPTH_MAX / 64]);

impl Braces {
    /// The bracket that opens level `depth`, from 0.
    pub(super) fn open(&mut self, depth: usize, is_brace: bool) {
        if let Some(word) = self.0.get_mut(depth / 64) {
            *word = *word & !(1 << (depth % 64)) | u64::from(is_brace) << (depth % 64);
        }
    }

    /// Whether a bracket of this kind closes level `depth`.
    pub(super) fn close(&self, depth: usize, is_brace: bool) -> bool {
        self.0.get(depth / 64).is_none_or(|word| (word >> (depth % 64) & 1 == 1) == is_brace)
    }
}

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value or the end of the array.
    First,
    /// A name or the end of the object.
    FirstName,
    Name,
    Colon,
    /// A comma or the end of what is open.
    Behind,
}

/// Where the value that begins at `start` ends.
///
/// # Errors
/// Where it stops being JSON; where that is right behind a string or within one, the inside of that string, because it
/// may be what lacks its end.
pub(super) fn value(text: &[u8], start: usize) -> Result<usize, usize> {
    let (mut braces, mut depth) = (Braces::default(), 0_usize);
    let (mut next, mut at, mut string) = (Next::Value, start, None);
    loop {
        at = skip_space(text, at);
        let broken = string.unwrap_or(at);
        let byte = *text.get(at).ok_or(broken)?;
        next = match (next, byte) {
            (Next::Value | Next::First | Next::FirstName | Next::Name, b'"') => {
                let end = clean_string_end(text, at).ok_or(at + 1)?;
                string = Some(at + 1);
                at = end;
                if matches!(next, Next::FirstName | Next::Name) {
                    next = Next::Colon;
                    continue;
                }
                if depth == 0 {
                    return Ok(at);
                }
                next = Next::Behind;
                continue;
            }
            (Next::Value | Next::First, b'{' | b'[') if depth < DEPTH_MAX => {
                braces.open(depth, byte == b'{');
                depth += 1;
                if byte == b'{' { Next::FirstName } else { Next::First }
            }
            (Next::First, b']') | (Next::FirstName, b'}') | (Next::Behind, b'}' | b']') => {
                depth -= 1;
                if !braces.close(depth, byte == b'}') {
                    return Err(broken);
                }
                if depth == 0 {
                    return Ok(at + 1);
                }
                Next::Behind
            }
            (Next::Behind, b',') => {
                if braces.close(depth - 1, true) {
                    Next::Name
                } else {
                    Next::Value
                }
            }
            (Next::Colon, b':') => Next::Value,
            (Next::Value | Next::First, _) => {
                let bytes = atom_bytes(&text[at..]).ok_or(broken)?;
                let atom = &text[at..at + bytes];
                let is_known = matches!(atom, b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity");
                if !is_known && !is_number(atom) {
                    return Err(broken);
                }
                at += bytes;
                if depth == 0 {
                    return Ok(at);
                }
                string = None;
                next = Next::Behind;
                continue;
            }
            _ => return Err(broken),
        };
        string = None;
        at += 1;
    }
}

/// Where the string that starts at `start` ends, behind its closing quote; `None` where there is none or it has no end.
pub(super) fn string_end(text: &[u8], start: usize) -> Option<usize> {
    if text.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// The same, and `None` where the string has what no JSON string has: a control character, an unknown escape.
fn clean_string_end(text: &[u8], start: usize) -> Option<usize> {
    let end = string_end(text, start)?;
    let inside = &text[start + 1..end - 1];
    if inside.iter().any(|&byte| byte < 0x20) {
        return None;
    }
    let mut rest = inside;
    while let Some(found) = memchr(b'\\', rest) {
        let escape = &rest[found + 1..];
        let bytes = match escape.first()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 1,
            b'u' if escape.len() > 4 && escape[1..5].iter().all(u8::is_ascii_hexdigit) => 5,
            _ => return None,
        };
        rest = &escape[bytes..];
    }
    Some(end)
}

pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|&byte| is_space(byte)) {
        at += 1;
    }
    at
}

pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (text, end) in [
            ("{}x", 2),
            (r#"{"a":[1,{"b":null},"\u00e9\n"],"c":NaN} ,"#, 39),
            ("12,", 2),
            ("\"a\" b", 3),
            ("[ ]", 3),
            ("-Infinity", 9),
        ] {
            assert_eq!(value(text.as_bytes(), 0), Ok(end), "{text}");
        }
    }

    #[test]
    fn broken_values_break_where_they_do() {
        for (text, broken) in [
            ("", 0),
            ("{", 1),
            ("{]", 1),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{\"a\" 1}", 2),
            ("{\"a\":01}", 5),
            ("{\"a\":\"\t\"}", 6),
            ("{\"a\":\"\\x\"}", 6),
            ("{\"a\":\"torn,{\"b\":1}", 6),
            ("{\"a\":{\"b\":1},{", 13),
            ("[1,tru]", 3),
            ("{\"a\":1]", 6),
        ] {
            assert_eq!(value(text.as_bytes(), 0), Err(broken), "{text}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert_eq!(value(deep.as_bytes(), 0), Err(DEPTH_MAX));
    }
}
