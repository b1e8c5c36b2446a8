//! What the two processes of a hand-over say to each other: one datagram each, a kind, then what belongs to it. Pure.

use crate::listeners::Role;

/// The form of all of this. A process that hears another number says so and changes nothing.
pub(super) const VERSION: u8 = 1;
/// Bytes of the longest one.
pub(super) const BYTES_MAX: usize = 1 + PASSED_BYTES_MAX;
/// Bytes of what may be told of a connection that is passed on.
pub const PASSED_BYTES_MAX: usize = 64 * 1024;

/// One of them, by who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// The next one: I am here, and speak this version.
    Hello(u8),
    /// The old one: no, and why.
    Refused(String),
    /// The old one: a listener, in the same datagram.
    Listener(Role),
    /// The old one: those were all, so many.
    Offered(u32),
    /// The next one: all that could be prepared is; let go.
    Ready,
    /// The old one: a connection, in the same datagram, and what is to be known of it.
    Connection(Vec<u8>),
    /// The old one: the data is free, and those were all connections, so many.
    Released(u32),
    /// The next one: I serve.
    Serving,
    /// The next one: I cannot, and why.
    Failed(String),
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let of = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
        match self {
            Self::Hello(version) => of(1, &[*version]),
            Self::Refused(reason) => of(2, cut(reason)),
            Self::Listener(role) => of(3, &[u8::from(*role == Role::Admin)]),
            Self::Offered(count) => of(4, &count.to_le_bytes()),
            Self::Ready => of(5, &[]),
            Self::Connection(state) => of(6, state),
            Self::Released(count) => of(7, &count.to_le_bytes()),
            Self::Serving => of(8, &[]),
            Self::Failed(reason) => of(9, cut(reason)),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let count = || rest.try_into().ok().map(u32::from_le_bytes);
        let text = || String::from_utf8_lossy(rest).into_owned();
        match (kind, rest) {
            (1, [version]) => Some(Self::Hello(*version)),
            (2, _) => Some(Self::Refused(text())),
            (3, [0]) => Some(Self::Listener(Role::Work)),
            (3, [1]) => Some(Self::Listener(Role::Admin)),
            (4, _) => count().map(Self::Offered),
            (5, []) => Some(Self::Ready),
            (6, _) => Some(Self::Connection(rest.to_vec())),
            (7, _) => count().map(Self::Released),
            (8, []) => Some(Self::Serving),
            (9, _) => Some(Self::Failed(text())),
            _ => None,
        }
    }
}

/// A reason is for people; nobody needs all of a long one.
fn cut(reason: &str) -> &[u8] {
    &reason.as_bytes()[..reason.len().min(4096)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_was_written_and_nothing_else_is_one() {
        for message in [
            Message::Hello(VERSION),
            Message::Refused("no".into()),
            Message::Listener(Role::Work),
            Message::Listener(Role::Admin),
            Message::Offered(3),
            Message::Ready,
            Message::Connection(vec![0, 255]),
            Message::Connection(Vec::new()),
            Message::Released(70_000),
            Message::Serving,
            Message::Failed("the disk".into()),
        ] {
            assert_eq!(Message::parse(&message.encode()), Some(message));
        }
        for wrong in [&b""[..], b"\0", b"\x01", b"\x03\x02", b"\x04abc", b"\x05x", b"\x0a"] {
            assert_eq!(Message::parse(wrong), None, "{wrong:?}");
        }
        assert!(Message::Failed("x".repeat(10_000)).encode().len() < BYTES_MAX);
    }
}
