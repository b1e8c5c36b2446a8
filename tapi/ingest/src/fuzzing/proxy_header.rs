//! The first bytes of a connection from a load balancer.

use std::net::IpAddr;

use crate::proxy_protocol::{BYTES_MAX, Header, parse};

/// What the bytes mean does not depend on how they come, or on what comes behind them; a header that is made of the bytes
/// names whom it was made for.
pub fn proxy_header(bytes: &[u8]) {
    check(bytes);
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let (client, made) = if choice & 1 == 0 {
        let Some((octets, rest)) = rest.split_first_chunk::<4>() else { return };
        made(choice, (*octets).into(), octets, rest)
    } else {
        let Some((octets, rest)) = rest.split_first_chunk::<16>() else { return };
        made(choice, (*octets).into(), octets, rest)
    };
    assert_eq!(check(&made), Header::Of { client: Some(client), bytes: made.len() });
}

fn check(bytes: &[u8]) -> Header {
    let bytes = &bytes[..bytes.len().min(2 * BYTES_MAX)];
    let all = parse(bytes);
    let decided = (0..=bytes.len()).find(|end| parse(&bytes[..*end]) != Header::Incomplete);
    assert!(decided.unwrap_or(bytes.len()) <= BYTES_MAX, "it waits for more than may come");
    for end in decided.unwrap_or(bytes.len())..=bytes.len() {
        assert_eq!(parse(&bytes[..end]), all, "the first {end} bytes");
    }
    if let Header::Of { client, bytes: length } = all {
        assert_eq!(decided, Some(length), "it is taken as soon as it is whole, and no sooner");
        if let (Some(client), Some(text)) = (client, bytes[..length].strip_prefix(b"PROXY TCP")) {
            let text = std::str::from_utf8(text).expect("a line of text");
            assert_eq!(text.split(' ').nth(1).map(str::parse), Some(Ok(client)));
        }
    }
    all
}

/// A header of either version for a client, with the rest behind its addresses where there is room for more.
fn made(choice: u8, client: IpAddr, octets: &[u8], rest: &[u8]) -> (IpAddr, Vec<u8>) {
    let family = if client.is_ipv4() { 4 } else { 6 };
    if choice & 2 == 0 {
        return (client, format!("PROXY TCP{family} {client} {client} 1 {choice}\r\n").into_bytes());
    }
    let more = &rest[..rest.len().min(256)];
    let length = 2 * octets.len() + 4 + more.len();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(if client.is_ipv4() { 0x11 } else { 0x21 });
    header.extend_from_slice(&(length as u16).to_be_bytes());
    header.extend_from_slice(octets);
    header.extend_from_slice(octets);
    header.extend_from_slice(&[choice; 4]);
    header.extend_from_slice(more);
    (client, header)
}
