//! The client's address: that of the connection, or what a trusted proxy says.

use std::net::IpAddr;
use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::HeaderName;

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
    /// proxy's, because only trusted proxies wrote what stands behind it.
    pub(crate) fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        let Some(header) = self.header.as_ref().filter(|_| self.trusts(peer)) else { return peer };
        let mut client = peer;
        for value in headers.get_all(header).iter().rev() {
            for hop in value.to_str().unwrap_or("").rsplit(',') {
                match hop.trim().parse::<IpAddr>() {
                    Ok(address) => client = address.to_canonical(),
                    Err(_) => return client,
                }
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = Proxies::new("x-forwarded-for", &["10.0.0.0/8".into(), "::1".into()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        proxies.client_ip(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(client("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("::ffff:10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
    }

    #[test]
    fn what_the_client_itself_wrote_is_not_believed() {
        assert_eq!(client("10.1.2.3", &["1.1.1.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.1.2.3", &["203.0.113.9, nonsense"]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &["10.9.9.9"]), "10.9.9.9", "a client inside the trusted network");
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
