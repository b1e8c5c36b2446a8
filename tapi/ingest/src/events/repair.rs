//! Makes an event that simd-json refuses acceptable to it, where that loses nothing.
//!
//! Two texts of the same length come out, with tokens at the same places. The *repaired* one is what is spliced into
//! the output: the client's own, with `NaN` and the infinities, which are no JSON, as `null`. The *masked* one is what
//! simd-json sees: there, too, numbers it has no type for (2^70, 1e400) and surrogates without a partner are replaced
//! by something harmless.

use wire::limits::EVENT_DEPTH_MAX;

use super::outline::atom_bytes;
use super::text::hex4;
use crate::reject::Reject;

/// The two texts of one event, or of an envelope without its events. Reused.
#[derive(Default)]
pub(super) struct Repair {
    pub(super) repaired: Vec<u8>,
    pub(super) masked: Vec<u8>,
}

/// An envelope has its braces around `context`, as an event has, so that one limit fits both.
const DEPTH_MAX: usize = EVENT_DEPTH_MAX;
/// `\ud800`
const ESCAPE_BYTES: usize = 6;

impl Repair {
    /// Fills both texts; returns how many bytes longer than the client's they are.
    ///
    /// # Errors
    /// [`Reject::InvalidUtf8`], [`Reject::TooDeep`]. Whether the rest is JSON is for simd-json to say.
    pub(super) fn run(&mut self, client: &[u8]) -> Result<isize, Reject> {
        self.repaired.clear();
        self.masked.clear();
        std::str::from_utf8(client).map_err(|_| Reject::InvalidUtf8)?;
        let mut depth = 0_usize;
        let mut copied = 0;
        let mut at = 0;
        while let Some(&byte) = client.get(at) {
            match byte {
                b'"' => {
                    at += 1;
                    at = self.string(client, at, &mut copied);
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(Reject::TooDeep);
                    }
                    at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    at += 1;
                }
                _ => {
                    let bytes = atom_bytes(&client[at..]).unwrap_or(1);
                    self.atom(client, at, at + bytes, &mut copied);
                    at += bytes;
                }
            }
        }
        self.copy(&client[copied..]);
        Ok(self.repaired.len() as isize - client.len() as isize)
    }

    /// Goes through the string whose inside starts at `at`, and returns where it ends.
    fn string(&mut self, client: &[u8], mut at: usize, copied: &mut usize) -> usize {
        while let Some(found) = memchr::memchr2(b'"', b'\\', &client[at.min(client.len())..]) {
            at += found;
            if client[at] == b'"' {
                return at + 1;
            }
            match surrogate(&client[at..]) {
                Some(Surrogate::Pair) => at += 2 * ESCAPE_BYTES,
                Some(Surrogate::Lone) => {
                    self.copy(&client[*copied..at]);
                    self.repaired.extend_from_slice(&client[at..at + ESCAPE_BYTES]);
                    self.masked.extend_from_slice(b"\\ufffd");
                    at += ESCAPE_BYTES;
                    *copied = at;
                }
                None => at += 2,
            }
        }
        client.len()
    }

    fn atom(&mut self, client: &[u8], start: usize, end: usize, copied: &mut usize) {
        let atom = &client[start..end];
        if matches!(atom, b"NaN" | b"Infinity" | b"-Infinity") {
            self.copy(&client[*copied..start]);
            self.copy(b"null");
        } else if is_number(atom) {
            self.copy(&client[*copied..start]);
            self.repaired.extend_from_slice(atom);
            self.masked.push(b'0');
            self.masked.resize(self.repaired.len(), b' ');
        } else {
            return;
        }
        *copied = end;
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.repaired.extend_from_slice(bytes);
        self.masked.extend_from_slice(bytes);
    }
}

enum Surrogate {
    Pair,
    Lone,
}

/// What the escape that `text` starts with is, if it is of a surrogate.
fn surrogate(text: &[u8]) -> Option<Surrogate> {
    let unit = |at: usize| text.get(at..).and_then(|text| text.strip_prefix(b"\\u")).and_then(hex4);
    match unit(0)? {
        0xd800..0xdc00 if unit(ESCAPE_BYTES).is_some_and(|next| (0xdc00..0xe000).contains(&next)) => {
            Some(Surrogate::Pair)
        }
        0xd800..0xe000 => Some(Surrogate::Lone),
        _ => None,
    }
}

/// Whether `atom` is a number as JSON has them, of any size.
fn is_number(atom: &[u8]) -> bool {
    let mut rest = atom.strip_prefix(b"-").unwrap_or(atom);
    let digits = |from: &[u8]| from.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let count = digits(exponent);
        return count > 0 && count == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(client: &str) -> (String, String) {
        let mut repair = Repair::default();
        let grown = repair.run(client.as_bytes()).unwrap();
        assert_eq!(repair.repaired.len(), repair.masked.len());
        assert_eq!(repair.repaired.len() as isize - client.len() as isize, grown);
        (String::from_utf8(repair.repaired).unwrap(), String::from_utf8(repair.masked).unwrap())
    }

    #[test]
    fn what_is_no_number_becomes_null() {
        let (repaired, masked) = run(r#"{"a":NaN,"b":[Infinity, -Infinity ],"NaN":"NaN"}"#);
        assert_eq!(repaired, r#"{"a":null,"b":[null, null ],"NaN":"NaN"}"#);
        assert_eq!(masked, repaired);
    }

    #[test]
    fn numbers_keep_their_text_and_are_masked() {
        let (repaired, masked) = run("[1180591620717411303424,1e400,-0.5E-7 ,01,1.,.5,-,1e,+1,NaN1]");
        assert_eq!(repaired, "[1180591620717411303424,1e400,-0.5E-7 ,01,1.,.5,-,1e,+1,NaN1]");
        assert_eq!(masked, "[0                     ,0    ,0       ,01,1.,.5,-,1e,+1,NaN1]");
    }

    #[test]
    fn lone_surrogates_keep_their_text_and_are_masked() {
        let (repaired, masked) = run(r#"{"\ud800":"\\ud800 \uDFFF\ud83d\ude00\ud83d\ud83d\ude00\ud83d"}"#);
        assert_eq!(repaired, r#"{"\ud800":"\\ud800 \uDFFF\ud83d\ude00\ud83d\ud83d\ude00\ud83d"}"#);
        assert_eq!(masked, r#"{"\ufffd":"\\ud800 \ufffd\ud83d\ude00\ufffd\ud83d\ude00\ufffd"}"#);
    }

    #[test]
    fn what_cannot_be_saved_is_named() {
        let mut repair = Repair::default();
        assert_eq!(repair.run(b"{\"a\":\"\xff\"}"), Err(Reject::InvalidUtf8));
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert_eq!(repair.run(&nested(DEPTH_MAX)), Ok(0));
        assert_eq!(repair.run(&nested(DEPTH_MAX + 1)), Err(Reject::TooDeep));
    }

    #[test]
    fn malformed_text_passes_through() {
        for text in ["", "\"", "\"\\", "\"\\u", "\"\\ud800", "\"\\ud800\\", "{\"a", ":", "tru", "]]"] {
            let (repaired, _) = run(text);
            assert_eq!(repaired, text);
        }
    }
}
