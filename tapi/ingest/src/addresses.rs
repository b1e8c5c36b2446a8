//! How many connections each address has, where that has a bound.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an IPv6 address that are one household's.
const IPV6_PREFIX_BITS: u32 = 64;

/// The connections of all threads by address. Looked at when one opens or closes, never for a request.
#[derive(Debug)]
pub(crate) struct Addresses {
    /// 0 where there is no bound; nothing is counted then.
    connections_max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one connection among those of its address; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Option<(Arc<Addresses>, IpAddr)>);

impl Addresses {
    pub(crate) fn new(connections_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, counts: Mutex::default() })
    }

    /// A place for one more; `None` where the address has as many as it may have.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        if self.connections_max == 0 {
            return Some(Place(None));
        }
        let household = household(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(household).or_default();
        if *count >= self.connections_max {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(self), household))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((addresses, household)) = self.0.take() else { return };
        let mut counts = addresses.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&household) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&household);
            }
        }
    }
}

/// The address, or of IPv6 the network that one subscriber gets.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (Ipv6Addr::BITS - IPV6_PREFIX_BITS);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_bound_and_gets_its_places_back() {
        let addresses = Addresses::new(2);
        let enter = |peer: &str| addresses.enter(peer.parse().unwrap());
        let (first, second) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        drop((second, third, other));
        assert!(addresses.counts.lock().unwrap().is_empty());
        let _six = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::ffff:1").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let addresses = Addresses::new(0);
        let places: Vec<_> = (0..100).map(|_| addresses.enter([127, 0, 0, 1].into())).collect();
        assert!(places.iter().all(Option::is_some) && addresses.counts.lock().unwrap().is_empty());
    }
}
