//! Makes an event that is no JSON into JSON, where that loses nothing: `NaN` and the infinities become `null`.

use wire::limits::EVENT_DEPTH_MAX;

use super::outline::atom_bytes;
use super::strict::string_end;
use crate::reject::Reject;

/// The repaired text of one event, or of an envelope without its events. Reused.
#[derive(Default)]
pub(super) struct Repair {
    pub(super) repaired: Vec<u8>,
}

/// An envelope has its braces around `context`, as an event has, so that one limit fits both.
const DEPTH_MAX: usize = EVENT_DEPTH_MAX;

impl Repair {
    /// Fills the text; returns how many bytes longer than the client's it is.
    ///
    /// # Errors
    /// [`Reject::InvalidUtf8`], [`Reject::TooDeep`]. Whether the rest is JSON is for the parser to say.
    pub(super) fn run(&mut self, client: &[u8]) -> Result<isize, Reject> {
        self.repaired.clear();
        std::str::from_utf8(client).map_err(|_| Reject::InvalidUtf8)?;
        let (mut depth, mut copied, mut at) = (0_usize, 0, 0);
        while let Some(&byte) = client.get(at) {
            match byte {
                b'"' => at = string_end(client, at).unwrap_or(client.len()),
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
                    if matches!(&client[at..at + bytes], b"NaN" | b"Infinity" | b"-Infinity") {
                        self.repaired.extend_from_slice(&client[copied..at]);
                        self.repaired.extend_from_slice(b"null");
                        copied = at + bytes;
                    }
                    at += bytes;
                }
            }
        }
        self.repaired.extend_from_slice(&client[copied..]);
        Ok(self.repaired.len() as isize - client.len() as isize)
    }
}

/// Whether `atom` is a number as JSON has them, of any size.
pub(super) fn is_number(atom: &[u8]) -> bool {
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

    fn run(client: &str) -> String {
        let mut repair = Repair::default();
        let grown = repair.run(client.as_bytes()).unwrap();
        assert_eq!(repair.repaired.len() as isize - client.len() as isize, grown);
        String::from_utf8(repair.repaired).unwrap()
    }

    #[test]
    fn what_is_no_number_becomes_null() {
        let repaired = run(r#"{"a":NaN,"b":[Infinity, -Infinity ],"NaN":"NaN","c":1e400}"#);
        assert_eq!(repaired, r#"{"a":null,"b":[null, null ],"NaN":"NaN","c":1e400}"#);
    }

    #[test]
    fn numbers_are_those_of_json() {
        for number in ["0", "-0", "12", "1.50", "0.1", "1180591620717411303424", "1e400", "-0.5E-7", "1E+5"] {
            assert!(is_number(number.as_bytes()), "{number}");
        }
        for other in ["", "-", "01", "-01", "1.", ".5", "1e", "1e+", "+1", "1x", "1.2.3", "NaN", "1e5.5"] {
            assert!(!is_number(other.as_bytes()), "{other}");
        }
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
            assert_eq!(run(text), text);
        }
    }
}
