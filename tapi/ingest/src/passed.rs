//! What the next process is told of a connection that it takes over: who the client is, and the bytes that were read of
//! a request which had not begun.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | 1 if it has had an answer, 0 if not |
//! | 16 | the client's address, IPv4 mapped into IPv6 |
//! | the rest | what was read of the next request's head |

use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use service::handover::PASSED_BYTES_MAX;

/// Bytes before those that were read.
const HEAD_BYTES: usize = 17;

/// A connection between two requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) client: IpAddr,
    /// It has had an answer.
    pub(crate) idle: bool,
    pub(crate) read: Bytes,
}

impl State {
    /// Whether so many bytes of a head can be told.
    pub(crate) fn fits(read_bytes: usize) -> bool {
        HEAD_BYTES + read_bytes <= PASSED_BYTES_MAX
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let client = match self.client {
            IpAddr::V4(client) => client.to_ipv6_mapped(),
            IpAddr::V6(client) => client,
        };
        [&[u8::from(self.idle)], &client.octets()[..], &self.read].concat()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let ([idle @ 0..=1, client @ ..], read) = bytes.split_first_chunk::<HEAD_BYTES>()? else { return None };
        let client = Ipv6Addr::from(*client.first_chunk::<16>()?).to_canonical();
        Some(Self { client, idle: *idle == 1, read: Bytes::copy_from_slice(read) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_told_and_heard_alike() {
        for (client, idle, read) in [("192.0.2.1", true, ""), ("2001:db8::1", false, "POST /v1/b"), ("::1", true, "\0")]
        {
            let state = State { client: client.parse().unwrap(), idle, read: Bytes::from_static(read.as_bytes()) };
            assert_eq!(State::parse(&state.encode()), Some(state));
        }
        let mapped = State { client: "::ffff:192.0.2.1".parse().unwrap(), idle: false, read: Bytes::new() };
        assert_eq!(State::parse(&mapped.encode()).unwrap().client, IpAddr::from([192, 0, 2, 1]));
        assert_eq!(State::parse(&[0; 16]), None);
        assert_eq!(State::parse(&[2; 17]), None);
        assert!(State::fits(PASSED_BYTES_MAX - 17) && !State::fits(PASSED_BYTES_MAX - 16));
    }
}
