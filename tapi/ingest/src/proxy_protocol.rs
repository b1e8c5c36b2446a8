//! The PROXY protocol, versions 1 and 2: what a load balancer that passes bytes on says of the client before the first of
//! them. Pure: bytes in, what they mean out.
//!
//! | version | form | bytes at most |
//! |---|---|---|
//! | 1 | a line of text, `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, ended by CR LF | 107 |
//! | 2 | 12 bytes of signature, version and command, family, length, addresses, then more that is passed over | [`BYTES_MAX`] |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the longest header that is read: what senders put behind the addresses has no bound of its own.
pub(crate) const BYTES_MAX: usize = 2048;

/// Bytes of the longest line of version 1, its end included; the protocol says so.
const LINE_BYTES_MAX: usize = 107;
/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED_BYTES: usize = 16;

/// What the first bytes of a connection mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// They may be the beginning of one.
    Incomplete,
    /// So many bytes are one.
    Of {
        /// The client's address; none where the proxy speaks for itself or does not know.
        client: Option<IpAddr>,
        bytes: usize,
    },
    /// They are none.
    Wrong,
}

/// Reads the header at the beginning of a connection.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    const WORD: &[u8] = b"PROXY ";
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(is, should)| is == should);
    if begins(SIGNATURE) {
        if bytes.len() < FIXED_BYTES { Header::Incomplete } else { binary(bytes) }
    } else if begins(WORD) {
        line(bytes)
    } else {
        Header::Wrong
    }
}

fn line(bytes: &[u8]) -> Header {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX { Header::Incomplete } else { Header::Wrong };
    };
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else { return Header::Wrong };
    let bytes = end + 2;
    let mut words = text.split(' ').skip(1);
    let client = match words.next() {
        // Whatever follows.
        Some("UNKNOWN") => return Header::Of { client: None, bytes },
        Some("TCP4") => addresses::<Ipv4Addr>(&mut words).map(IpAddr::V4),
        Some("TCP6") => addresses::<Ipv6Addr>(&mut words).map(IpAddr::V6),
        _ => None,
    };
    match client {
        Some(client) if words.next().is_none() => Header::Of { client: Some(client), bytes },
        _ => Header::Wrong,
    }
}

/// The first of two addresses and two ports.
fn addresses<'a, A: std::str::FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<A> {
    let client = words.next()?.parse().ok()?;
    words.next()?.parse::<A>().ok()?;
    for _ in 0..2 {
        let port = words.next()?;
        port.parse::<u16>().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    }
    Some(client)
}

/// At least [`FIXED_BYTES`], the signature among them.
fn binary(bytes: &[u8]) -> Header {
    let (version_and_command, family) = (bytes[12], bytes[13]);
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let all = FIXED_BYTES + length;
    if version_and_command >> 4 != 2 || all > BYTES_MAX {
        return Header::Wrong;
    }
    if bytes.len() < all {
        return Header::Incomplete;
    }
    let rest = &bytes[FIXED_BYTES..all];
    let client = match (version_and_command & 0xf, family) {
        // The proxy itself, as for its health checks; or a client that it does not know, or of its own host.
        (0, _) | (1, 0x00 | 0x31 | 0x32) => return Header::Of { client: None, bytes: all },
        (1, 0x11) if length >= 12 => rest.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        (1, 0x21) if length >= 36 => rest.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    };
    client.map_or(Header::Wrong, |client| Header::Of { client: Some(client), bytes: all })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];

    fn v6() -> Vec<u8> {
        let client: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&client.octets()[..], &[0; 20]].concat()
    }

    /// Each shape, with what it means.
    fn shapes() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
        let worst = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        vec![
            ("v1 TCP4", b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), Some("192.0.2.1")),
            ("v1 TCP6", b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec(), Some("2001:db8::1")),
            ("v1 unknown", b"PROXY UNKNOWN\r\n".to_vec(), None),
            ("v1 the longest", worst.into(), None),
            ("v2 TCP4", v2(0x21, 0x11, &V4), Some("192.0.2.1")),
            ("v2 TCP6", v2(0x21, 0x21, &v6()), Some("2001:db8::1")),
            ("v2 with more behind", v2(0x21, 0x11, &[&V4[..], &[4, 0, 2, 7, 7]].concat()), Some("192.0.2.1")),
            ("v2 local", v2(0x20, 0x00, &[]), None),
            ("v2 local with addresses", v2(0x20, 0x11, &V4), None),
            ("v2 unspecified", v2(0x21, 0x00, &[]), None),
            ("v2 unix", v2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn each_shape_is_read_whole_and_only_when_it_is_whole() {
        for (name, header, client) in shapes() {
            let expected = Header::Of { client: client.map(|client| client.parse().unwrap()), bytes: header.len() };
            assert_eq!(parse(&header), expected, "{name}");
            let more = [&header[..], b"POST / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&more), expected, "{name}, with the first request behind it");
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Header::Incomplete, "{name}, the first {cut} bytes");
            }
        }
    }

    #[test]
    fn what_is_none_is_said_to_be_none() {
        for (name, bytes) in [
            ("a request", b"POST /v1/batch HTTP/1.1\r\n".to_vec()),
            ("TLS", b"\x16\x03\x01".to_vec()),
            ("lower case", b"proxy TCP4".to_vec()),
            ("no family", b"PROXY \r\n".to_vec()),
            ("another family", b"PROXY TCP5 192.0.2.1 192.0.2.1 1 1\r\n".to_vec()),
            ("family and address differ", b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec()),
            ("a port too many", b"PROXY TCP4 192.0.2.1 192.0.2.1 1 1 1\r\n".to_vec()),
            ("a port too few", b"PROXY TCP4 192.0.2.1 192.0.2.1 1\r\n".to_vec()),
            ("a port too large", b"PROXY TCP4 192.0.2.1 192.0.2.1 1 65536\r\n".to_vec()),
            ("a port with a sign", b"PROXY TCP4 192.0.2.1 192.0.2.1 1 +1\r\n".to_vec()),
            ("two spaces", b"PROXY TCP4  192.0.2.1 192.0.2.1 1 1\r\n".to_vec()),
            ("not UTF-8", b"PROXY TCP4 \xff\r\n".to_vec()),
            ("a line without an end", [&b"PROXY TCP4 "[..], &[b'1'; 107]].concat()),
            ("v2 of version 1", v2(0x11, 0x11, &V4)),
            ("v2 of another command", v2(0x22, 0x11, &V4)),
            ("v2 of another family", v2(0x21, 0x41, &V4)),
            ("v2 over UDP", v2(0x21, 0x12, &V4)),
            ("v2 too short for its family", v2(0x21, 0x21, &V4)),
            ("v2 longer than is read", v2(0x21, 0x11, &[0; BYTES_MAX])),
        ] {
            assert_eq!(parse(&bytes), Header::Wrong, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_take_more_than_there_are(
            start in proptest::sample::select(vec![0, 4, 6, 8]),
            change in proptest::collection::vec((0..64_usize, proptest::prelude::any::<u8>()), 0..4),
            cut in 0..80_usize,
        ) {
            let mut bytes = shapes().swap_remove(start).1;
            let length = bytes.len();
            for (place, byte) in change {
                bytes[place % length] = byte;
            }
            bytes.truncate(cut);
            if let Header::Of { bytes: taken, .. } = parse(&bytes) {
                assert!(taken <= bytes.len());
            }
        }
    }
}
