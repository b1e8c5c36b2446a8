//! What stands in the headers of forwarding proxies.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::client_ip::Proxies;

const TRUSTED: [u8; 4] = [10, 1, 2, 3];
const STRANGER: [u8; 4] = [203, 0, 113, 9];

/// The first byte chooses the header; the others are its lines. Whatever the client wrote, a trusted proxy has the last
/// word, and nobody else has any.
pub fn forwarded(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let (name, word) = if choice & 1 == 0 { ("x-forwarded-for", "") } else { ("forwarded", "for=") };
    let proxies = Proxies::new(name, &["10.0.0.0/8".into(), "::1".into()]);
    let lines: Vec<_> =
        rest.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let read = |peer: [u8; 4], lines: &[HeaderValue]| {
        let name = HeaderName::from_static(name);
        let headers: HeaderMap = lines.iter().map(|line| (name.clone(), line.clone())).collect();
        proxies.client_ip(peer.into(), &headers)
    };
    let [trusted, stranger] = [TRUSTED, STRANGER].map(IpAddr::from);
    assert_eq!(read(STRANGER, &lines), Some(stranger), "only trusted proxies are believed");

    // A proxy that the stranger has reached says so behind all that the stranger sent, in the last line or in one more.
    let said = |lines: &[HeaderValue], address: IpAddr, own_line: bool| {
        let mut lines = lines.to_vec();
        let own = format!("{word}{address}");
        let before = lines.pop_if(|_| !own_line);
        let value = before.map(|before| [before.as_bytes(), b", ", own.as_bytes()].concat());
        let value = value.unwrap_or_else(|| own.into_bytes());
        lines.push(HeaderValue::from_bytes(&value).expect("text behind text"));
        lines
    };
    let client = read(TRUSTED, &lines);
    for own_line in [false, true] {
        let with_stranger = said(&lines, stranger, own_line);
        assert_eq!(read(TRUSTED, &with_stranger), Some(stranger), "the proxy's word");
        // A second proxy behind the first changes nothing.
        assert_eq!(read(TRUSTED, &said(&with_stranger, trusted, own_line)), Some(stranger));
        if lines.iter().any(|line| line.as_bytes().iter().any(u8::is_ascii_alphanumeric)) {
            assert_eq!(read(TRUSTED, &said(&lines, trusted, own_line)), client);
        }
    }
}
