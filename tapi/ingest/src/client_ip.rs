//! The client's address: that of the connection, or what a trusted proxy says.
//!
//! A proxy appends the address that it was reached from to a list, which the client may have begun. So the list is read
//! from its end, and only as far as trusted proxies wrote it. Where they wrote something that is no address, such as
//! `unknown`, the client has none: the proxy's own would be a lie that looks like a fact.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim().parse().map_err(drop)?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(bits_max), |prefix| prefix.trim().parse().map_err(drop))?;
        if prefix_bits > bits_max { Err(()) } else { Ok(Self { address, prefix_bits }) }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix_bits);
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0,
            _ => false,
        }
    }
}

/// Who begins each connection with a PROXY header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Senders(Vec<Network>);

impl Senders {
    /// From settings that were checked; what does not parse is left out.
    pub(crate) fn new(networks: &[String]) -> Self {
        Self(networks.iter().filter_map(|network| network.parse().ok()).collect())
    }

    /// Whether this address has to, and is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Which proxies are believed, and in which header.
///
/// It is one header: a proxy that writes one of them passes on what the client wrote into the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    header: Option<HeaderName>,
    trusted: Vec<Network>,
}

impl Proxies {
    /// From settings that were checked; what does not parse is left out.
    pub(crate) fn new(header: &str, trusted: &[String]) -> Self {
        let header = header.parse().ok().filter(|_| !header.is_empty());
        Self { header, trusted: trusted.iter().filter_map(|network| network.parse().ok()).collect() }
    }

    /// The address of the client behind a connection from `peer`: the last one in the header that is not a trusted
    /// proxy's, because only trusted proxies wrote what stands behind it. Where all are trusted it is the first, and
    /// without any it is the peer. `None` where a trusted proxy wrote something else than an address.
    pub(crate) fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        let Some(header) = self.header.as_ref().filter(|_| self.trusts(peer)) else { return Some(peer) };
        let read = if *header == FORWARDED { forwarded_for } else { address };
        let mut client = peer;
        for value in headers.get_all(header).iter().rev() {
            // The rule for lists in headers lets elements be empty.
            for hop in FromEnd(Some(value.as_bytes())).map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty()) {
                client = read(hop)?;
                if !self.trusts(client) {
                    return Some(client);
                }
            }
        }
        Some(client)
    }

    /// Whether a connection from there is one of the trusted proxies.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// The elements of a list, the last first. A comma between double quotes is text. As the list is read from its end, a
/// quote that the client left open cannot swallow what the proxy appended.
struct FromEnd<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let list = self.0?;
        let comma = last_outside_quotes(list, b',');
        self.0 = comma.map(|comma| &list[..comma]);
        Some(&list[comma.map_or(0, |comma| comma + 1)..])
    }
}

fn last_outside_quotes(text: &[u8], byte: u8) -> Option<usize> {
    let mut quoted = false;
    (0..text.len()).rev().find(|&index| {
        quoted ^= text[index] == b'"';
        text[index] == byte && !quoted
    })
}

/// The node that an element of `Forwarded` (RFC 7239) names after `for=`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut rest = Some(element);
    let mut pairs = std::iter::from_fn(|| {
        let pairs = rest?;
        let end = last_outside_quotes(pairs, b';');
        rest = end.map(|end| &pairs[..end]);
        Some(pairs[end.map_or(0, |end| end + 1)..].trim_ascii())
    });
    pairs.find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then(|| address(value))
    })?
}

/// An address as proxies write it: bare, between quotes, with a port, in brackets, with the zone of an interface.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let hop = hop.strip_prefix('"').and_then(|hop| hop.strip_suffix('"')).unwrap_or(hop).trim();
    let (host, port) = match hop.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            (host, if port.is_empty() { "" } else { port.strip_prefix(':')? })
        }
        None if hop.matches(':').count() == 1 => hop.split_once(':')?,
        None => (hop, ""),
    };
    // RFC 7239 lets a proxy hide the port behind a name.
    let hidden =
        port.starts_with('_') && port.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !(hidden || port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let host = host.split_once('%').map_or(host, |(host, _zone)| host);
    Some(host.parse::<IpAddr>().ok()?.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client_by(header: &str, peer: &str, values: &[&[u8]]) -> String {
        let proxies = Proxies::new(header, &["10.0.0.0/8".into(), "::1".into()]);
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        let client = proxies.client_ip(peer.parse().unwrap(), &headers);
        client.map_or("none".into(), |client| client.to_string())
    }

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let values: Vec<_> = forwarded.iter().map(|value| value.as_bytes()).collect();
        client_by("x-forwarded-for", peer, &values)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["unknown"]), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_the_client_itself_wrote_is_not_believed() {
        assert_eq!(client("10.1.2.3", &["1.1.1.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["nonsense, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["\"1.1.1.1, 203.0.113.9"]), "203.0.113.9", "a quote left open");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &["10.9.9.9"]), "10.9.9.9", "a client inside the trusted network");
    }

    #[test]
    fn hops_are_read_as_proxies_write_them() {
        for (hop, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("  203.0.113.9\t", "203.0.113.9"),
            ("203.0.113.9:51234", "203.0.113.9"),
            ("\"203.0.113.9\"", "203.0.113.9"),
            ("\"203.0.113.9:51234\"", "203.0.113.9"),
            ("203.0.113.9, ,", "203.0.113.9"),
            (",,203.0.113.9, 10.0.0.1 , ", "203.0.113.9"),
            ("203.0.113.9, 10.0.0.1:80, \"[::1]:443\"", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:443", "fe80::1"),
            ("", "10.1.2.3"),
            (" , ", "10.1.2.3"),
        ] {
            assert_eq!(client("10.1.2.3", &[hop]), expected, "{hop:?}");
        }
    }

    #[test]
    fn what_is_no_address_leaves_the_client_without_one() {
        for hop in [
            "unknown",
            "203.0.113.9, unknown",
            "unknown, 10.9.9.9",
            "203.0.113.9, nonsense",
            "-",
            "_hidden",
            "localhost",
            "proxy.example:80",
            "203.0.113",
            "203.0.113.256",
            "0313.0.113.9",
            "203.0.113.9 10.0.0.1",
            "203.0.113.9:port",
            "203.0.113.9:123456",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "\"",
            "\"203.0.113.9",
            "for=203.0.113.9",
        ] {
            assert_eq!(client("10.1.2.3", &[hop]), "none", "{hop:?}");
        }
        assert_eq!(client_by("x-forwarded-for", "10.1.2.3", &[b"203.0.113.9, \xff"]), "none");
        assert_eq!(client_by("x-forwarded-for", "10.1.2.3", &[b"\xff, 203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn forwarded_is_read_by_its_own_rules() {
        for (value, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
            ("by=10.0.0.1; FOR=\"203.0.113.9:80\" ;host=a.example", "203.0.113.9"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"203.0.113.9:_port\"", "203.0.113.9"),
            ("for=1.1.1.1, for=203.0.113.9, for=10.0.0.1;proto=http", "203.0.113.9"),
            ("host=\"a,b;c\";for=203.0.113.9", "203.0.113.9"),
            ("for=203.0.113.9;ext=\"a, for=1.1.1.1\"", "203.0.113.9"),
            ("for=\"1.1.1.1, for=203.0.113.9", "203.0.113.9"),
            ("for=unknown", "none"),
            ("for=_hidden, for=10.0.0.1", "none"),
            ("for=203.0.113.9, proto=https", "none"),
            ("203.0.113.9", "none"),
            ("for=", "none"),
            ("forged=203.0.113.9", "none"),
        ] {
            assert_eq!(client_by("forwarded", "10.1.2.3", &[value.as_bytes()]), expected, "{value:?}");
        }
        assert_eq!(client_by("forwarded", "192.0.2.1", &[b"for=203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn networks_hold_their_prefix() {
        let holds =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::"));
        assert!(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.2"));
        assert!(!holds("0.0.0.0/0", "::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
