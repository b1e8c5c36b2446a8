//! The write keys that the head of a request offers: the user name of Basic authorisation, and `writeKey` of the query.
//!
//! SDKs send `KEY:` as Basic, with an empty password. A page behind a login of its own has the browser add that login to
//! every request, and it says nothing about events. So the user of a login with a password counts only where neither
//! query nor body has a key. Nor does a Basic key that names no source end the search, because a login need not have a
//! password: the next key may.
//!
//! The search ends before the body where the query has a key. No login looks like that: the client has said what its key
//! is. If then no key of the head names a source, the request is refused and its body means nothing.
//!
//! A Bearer token is an extra of OAuth clients, whose key stands elsewhere, so it is ignored; so is anything that is not
//! well-formed, for the same reason.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::percent;
use crate::sources::Sources;

/// Bytes of `user:password` in Base64 that are looked at. The longest legal key takes 344.
const BASIC_BYTES_MAX: usize = 2048;

/// Old clients leave the padding out.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The keys of one request's head, in buffers that are used again.
#[derive(Debug, Default)]
pub(crate) struct HeadKeys {
    first: Vec<u8>,
    /// Whether that one names a source.
    is_known: bool,
    has_query_key: bool,
    last: Vec<u8>,
    offered: Vec<u8>,
    readings: u64,
}

/// One reading of keys, of all that a thread has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading(u64);

impl HeadKeys {
    /// Reads them.
    pub(crate) fn read(&mut self, headers: &HeaderMap, query: Option<&str>, sources: &Sources) -> Reading {
        self.readings += 1;
        self.first.clear();
        self.last.clear();
        self.is_known = false;
        for authorization in headers.get_all(AUTHORIZATION) {
            match basic_user(authorization.as_bytes(), &mut self.offered) {
                Some(Password::Empty) => self.offer(sources),
                Some(Password::Given) if self.last.is_empty() => std::mem::swap(&mut self.last, &mut self.offered),
                Some(Password::Given) | None => {}
            }
        }
        self.has_query_key = query.is_some_and(|query| of_query(query, &mut self.offered));
        if self.has_query_key {
            self.offer(sources);
        }
        Reading(self.readings)
    }

    /// Whether these are still the keys of that reading.
    pub(crate) fn are_of(&self, reading: Reading) -> bool {
        self.readings == reading.0
    }

    /// Makes them those of no reading.
    pub(crate) fn forget(&mut self) {
        self.readings += 1;
    }

    /// Whether no source can be named any more, whatever stands in the body.
    pub(crate) fn name_none(&self, sources: &Sources) -> bool {
        let is_known = self.is_known || self.last().is_some_and(|key| sources.resolve(key).is_some());
        self.has_query_key && !is_known && !matches!(sources, Sources::Open)
    }

    /// Of several keys the first that names a source counts; where none does, the first, so that there is one to refuse.
    fn offer(&mut self, sources: &Sources) {
        if self.is_known {
            return;
        }
        self.is_known = sources.resolve(self.offered.trim_ascii()).is_some();
        if self.is_known || self.first.is_empty() {
            std::mem::swap(&mut self.first, &mut self.offered);
        }
    }

    /// The key that comes before those of the body.
    pub(crate) fn first(&self) -> Option<&[u8]> {
        some(&self.first)
    }

    /// The key that comes after those of the body: the user of a login with a password.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        some(&self.last)
    }
}

fn some(key: &[u8]) -> Option<&[u8]> {
    Some(key.trim_ascii()).filter(|key| !key.is_empty())
}

enum Password {
    Empty,
    Given,
}

/// Leaves the user's name in `out`; `None` without one.
fn basic_user(authorization: &[u8], out: &mut Vec<u8>) -> Option<Password> {
    let (scheme, encoded) = authorization.split_at_checked(6)?;
    let encoded = encoded.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > BASIC_BYTES_MAX {
        return None;
    }
    out.clear();
    out.resize(encoded.len().div_ceil(4) * 3, 0);
    let length = BASE64.decode_slice(encoded, out).unwrap_or(0);
    out.truncate(length);
    let colon = out.iter().position(|byte| *byte == b':').unwrap_or(length);
    let has_password = out.get(colon + 1..).is_some_and(|password| !password.trim_ascii().is_empty());
    out.truncate(colon);
    let password = if has_password { Password::Given } else { Password::Empty };
    Some(password).filter(|_| !out.trim_ascii().is_empty())
}

/// Leaves the key in `out`, and says whether there is one.
fn of_query(query: &str, out: &mut Vec<u8>) -> bool {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("writeKey="));
    value.is_some_and(|value| {
        out.clear();
        percent::decode_form(value.as_bytes(), out);
        !out.trim_ascii().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose;

    use super::*;

    #[test]
    fn keys_of_one_reading_are_those_of_no_other() {
        let mut keys = HeadKeys::default();
        let read = |keys: &mut HeadKeys, key| keys.read(&HeaderMap::new(), Some(key), &Sources::Open);
        let first = read(&mut keys, "writeKey=a");
        assert!(keys.are_of(first) && keys.first() == Some(b"a"));
        let second = read(&mut keys, "writeKey=b");
        assert!(keys.are_of(second) && !keys.are_of(first));
        keys.forget();
        assert!(!keys.are_of(second));
    }

    /// The keys before and after those of the body, where `sources` are the keys that name one; none: every key does.
    fn keys(authorizations: &[&str], query: Option<&str>, sources: &[&str]) -> [String; 2] {
        let sources = if sources.is_empty() {
            Sources::Open
        } else {
            Sources::configured(sources.iter().map(|key| (key.as_bytes(), &b"web"[..])))
        };
        let mut headers = HeaderMap::new();
        for authorization in authorizations {
            headers.append(AUTHORIZATION, authorization.parse().unwrap());
        }
        let left = || b"left over".to_vec();
        let mut keys =
            HeadKeys { first: left(), is_known: true, has_query_key: true, last: left(), offered: left(), readings: 0 };
        keys.read(&headers, query, &sources);
        [keys.first(), keys.last()].map(|key| String::from_utf8(key.unwrap_or_default().to_vec()).unwrap())
    }

    fn basic(user: &str) -> String {
        format!("Basic {}", general_purpose::STANDARD.encode(user))
    }

    #[test]
    fn the_basic_user_is_the_key() {
        for authorization in
            [&*basic("KEY:"), &basic("KEY"), &basic(" KEY\t: "), "basic S0VZ", "BASIC  S0VZOg", "Basic S0VZOg== "]
        {
            assert_eq!(keys(&[authorization], None, &[]), ["KEY", ""], "{authorization}");
        }
    }

    #[test]
    fn a_login_with_a_password_comes_last() {
        let login = basic("admin:secret");
        for (query, expected) in [(None, ["", "admin"]), (Some("writeKey=KEY"), ["KEY", "admin"])] {
            assert_eq!(keys(&[&login], query, &[]), expected);
            assert_eq!(keys(&[&login], query, &["KEY"]), expected);
        }
        assert_eq!(keys(&[&login, &basic("KEY:")], None, &[]), ["KEY", "admin"]);
        assert_eq!(keys(&[&login, &basic("other:secret")], None, &[]), ["", "admin"]);
    }

    #[test]
    fn an_unknown_key_does_not_end_the_search() {
        let (known, unknown) = (basic("KEY:"), basic("nobody:"));
        assert_eq!(keys(&[&unknown], Some("writeKey=KEY"), &["KEY"]), ["KEY", ""]);
        assert_eq!(keys(&[&known], Some("writeKey=nobody"), &["KEY"]), ["KEY", ""]);
        assert_eq!(keys(&[&unknown, &known], None, &["KEY"]), ["KEY", ""]);
        assert_eq!(keys(&[&known], Some("writeKey=NEXT"), &["KEY", "NEXT"]), ["KEY", ""], "Basic first");
        // The answer has to be able to say that there was a key.
        assert_eq!(keys(&[&unknown], None, &["KEY"]), ["nobody", ""]);
        assert_eq!(keys(&[], Some("writeKey=nobody"), &["KEY"]), ["nobody", ""]);
    }

    #[test]
    fn a_key_in_the_query_ends_the_search_if_the_head_names_no_source() {
        let sources = Sources::configured([(&b"KEY"[..], &b"web"[..])]);
        let of = |authorization: &str, query: &str, sources: &Sources| {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, authorization.parse().unwrap());
            let mut keys = HeadKeys::default();
            keys.read(&headers, Some(query), sources);
            keys.name_none(sources)
        };
        for (authorization, query, expected) in [
            ("", "writeKey=nobody", true),
            (&*basic("nobody:"), "writeKey=nobody", true),
            (&basic("admin:secret"), "writeKey=nobody", true),
            (&basic("KEY:"), "writeKey=nobody", false),
            (&basic("KEY:secret"), "writeKey=nobody", false),
            (&basic("nobody:"), "writeKey=KEY", false),
            (&basic("nobody:"), "writeKey=+", false),
            (&basic("nobody:"), "", false),
            ("", "", false),
        ] {
            assert_eq!(of(authorization, query, &sources), expected, "{authorization} {query}");
        }
        assert!(!of("", "writeKey=%ff", &Sources::Open));
    }

    #[test]
    fn what_is_no_key_leaves_the_query_and_the_body_to_say_it() {
        for authorization in ["Bearer S0VZ", "Basic", "Basic ", "Basic Og==", "Basic IDo=", "Basic !", "Digest KEY"] {
            assert_eq!(keys(&[authorization], None, &[]), ["", ""], "{authorization}");
            assert_eq!(keys(&[authorization], Some("writeKey=Q"), &[]), ["Q", ""], "{authorization}");
            assert_eq!(keys(&[authorization, &basic("KEY:")], None, &[]), ["KEY", ""], "{authorization}");
        }
        let long = format!("Basic {}", "A".repeat(BASIC_BYTES_MAX + 4));
        assert_eq!(keys(&[&long], None, &[]), ["", ""]);
    }

    #[test]
    fn the_query_is_decoded() {
        assert_eq!(keys(&[], Some("a=b&writeKey=K%65y%2B+1&c"), &[]), ["Key+ 1", ""]);
        assert_eq!(keys(&[], Some("writeKey=%20KEY+"), &[]), ["KEY", ""]);
        assert_eq!(keys(&[], Some("writeKey=100%"), &[]), ["100%", ""]);
        assert_eq!(keys(&[], Some("writeKey=%zz"), &[]), ["%zz", ""]);
        assert_eq!(keys(&[], Some("writeKey=+"), &[]), ["", ""]);
        assert_eq!(keys(&[], Some("writekey=x"), &[]), ["", ""]);
    }
}
