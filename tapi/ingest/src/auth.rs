//! The write key of a request: the user name of Basic authorisation, or `writeKey` of the query.
//!
//! A Bearer token is an extra of OAuth clients, whose key stands in the body, so it is ignored; so is anything that is
//! not well-formed, for the same reason.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Bytes of `user:password` in Base64 that are looked at. The longest legal key takes 344.
const BASIC_BYTES_MAX: usize = 2048;

/// Old clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Leaves the key in `out` and says whether there is one. `authorization` and `query` are as they came.
pub(crate) fn write_key(authorization: Option<&[u8]>, query: Option<&str>, out: &mut Vec<u8>) -> bool {
    out.clear();
    authorization.is_some_and(|value| basic_user(value, out)) || query.is_some_and(|query| of_query(query, out))
}

fn basic_user(authorization: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((scheme, encoded)) = authorization.split_at_checked(6) else { return false };
    let encoded = encoded.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > BASIC_BYTES_MAX {
        return false;
    }
    out.resize(encoded.len().div_ceil(4) * 3, 0);
    let length = BASE64.decode_slice(encoded, out).unwrap_or(0);
    let user = out[..length].iter().position(|byte| *byte == b':').unwrap_or(length);
    out.truncate(user);
    user > 0
}

fn of_query(query: &str, out: &mut Vec<u8>) -> bool {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("writeKey="));
    value.is_some_and(|value| {
        percent_decode(value.as_bytes(), out);
        !out.is_empty()
    })
}

/// Form decoding: `%41` and `+`. A `%` without two hex digits stands for itself.
fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%').then(|| Some((hex(*tail.first()?)?, hex(*tail.get(1)?)?))).flatten();
        if let Some((high, low)) = escaped {
            out.push(high << 4 | low);
            rest = &tail[2..];
        } else {
            out.push(if first == b'+' { b' ' } else { first });
            rest = tail;
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    fn key(authorization: Option<&str>, query: Option<&str>) -> Option<String> {
        let mut out = b"left over".to_vec();
        let found = write_key(authorization.map(str::as_bytes), query, &mut out);
        found.then(|| String::from_utf8(out).unwrap())
    }

    fn basic(user: &str) -> String {
        format!("Basic {}", general_purpose::STANDARD.encode(user))
    }

    #[test]
    fn the_basic_user_is_the_key() {
        assert_eq!(key(Some(&basic("KEY:")), None).unwrap(), "KEY");
        assert_eq!(key(Some(&basic("KEY:secret")), None).unwrap(), "KEY");
        assert_eq!(key(Some(&basic("KEY")), None).unwrap(), "KEY");
        assert_eq!(key(Some("basic S0VZ"), None).unwrap(), "KEY");
        assert_eq!(key(Some("BASIC  S0VZOg"), None).unwrap(), "KEY", "padding left out");
    }

    #[test]
    fn what_is_no_key_leaves_the_body_to_say_it() {
        for authorization in
            [Some("Bearer S0VZ"), Some("Basic"), Some("Basic "), Some("Basic Og=="), Some("Basic !"), None]
        {
            assert_eq!(key(authorization, None), None, "{authorization:?}");
            assert_eq!(key(authorization, Some("writeKey=Q")).unwrap(), "Q", "{authorization:?}");
        }
        assert_eq!(key(Some(&format!("Basic {}", "A".repeat(BASIC_BYTES_MAX + 4))), None), None);
    }

    #[test]
    fn the_query_is_decoded() {
        assert_eq!(key(None, Some("a=b&writeKey=K%65y%2B+1&c")).unwrap(), "Key+ 1");
        assert_eq!(key(None, Some("writeKey=100%")).unwrap(), "100%");
        assert_eq!(key(None, Some("writeKey=%zz")).unwrap(), "%zz");
        assert_eq!(key(None, Some("writeKey=")), None);
        assert_eq!(key(None, Some("writekey=x")), None);
        assert_eq!(key(Some(&basic("KEY:")), Some("writeKey=Q")).unwrap(), "KEY", "Basic first");
    }
}
