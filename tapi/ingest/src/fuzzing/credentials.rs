//! The write keys in the head of a request.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::auth::HeadKeys;
use crate::sources::Sources;

const KNOWN: &[u8] = b"the key";

/// Lines: a key, the query, and what else stands in `Authorization`. A key is found however it is written, and whatever
/// stands beside it.
pub fn credentials(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let key = lines.next().unwrap_or_default().trim_ascii();
    let query = lines.next().and_then(|query| std::str::from_utf8(query).ok());
    let others: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let configured = Sources::configured([(KNOWN, &b"web"[..])]);

    let mut keys = HeadKeys::default();
    keys.read(&headers(&others), query, &Sources::Open);
    for found in [keys.first(), keys.last()].into_iter().flatten() {
        assert!(!found.is_empty() && found.trim_ascii() == found, "a key is not blank at its ends");
    }

    let is_key = (1..=256).contains(&key.len()) && !key.contains(&b':');
    if is_key {
        for login in [[key, b":"].concat(), key.to_vec()] {
            keys.read(&headers(&[basic(&login)]), None, &Sources::Open);
            assert_eq!((keys.first(), keys.last()), (Some(key), None));
        }
        keys.read(&headers(&[basic(&[key, b":password"].concat())]), None, &Sources::Open);
        assert_eq!((keys.first(), keys.last()), (None, Some(key)));
        let mut query = "writeKey=".to_owned();
        for byte in key {
            write!(query, "%{byte:02X}").expect("a text takes it");
        }
        keys.read(&HeaderMap::new(), Some(&query), &Sources::Open);
        assert_eq!((keys.first(), keys.last()), (Some(key), None));
    }

    // None of the others names a source, or it names this one.
    let known = basic(&[KNOWN, b":"].concat());
    let known = std::slice::from_ref(&known);
    for lines in [[known, &others[..]].concat(), [&others[..], known].concat()] {
        keys.read(&headers(&lines), query, &configured);
        assert_eq!(keys.first(), Some(KNOWN));
    }
    keys.read(&headers(&others), Some("writeKey=the+key"), &configured);
    assert_eq!(keys.first(), Some(KNOWN));
}

fn headers(authorizations: &[HeaderValue]) -> HeaderMap {
    authorizations.iter().map(|value| (AUTHORIZATION, value.clone())).collect()
}

fn basic(login: &[u8]) -> HeaderValue {
    format!("Basic {}", STANDARD.encode(login)).parse().expect("text")
}
