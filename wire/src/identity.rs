//! Who an event is: its source and its messageId, and the 128-bit digest the index keeps of both.
//!
//! The source is part of the identity so that one customer cannot silence another's event by sending its id first. It
//! is the source's stable id, not its write key, so rotating a key changes nothing.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::limits::{MESSAGE_ID_BYTES_MAX, SOURCE_BYTES_MAX};

const LENGTH_BYTES: usize = 4;

/// A source's stable id: 1 to [`SOURCE_BYTES_MAX`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId<'a>(&'a [u8]);

/// A messageId as decoded text: 1 to [`MESSAGE_ID_BYTES_MAX`] bytes of UTF-8, or WTF-8 where the client sent a lone
/// surrogate, so that two different ones stay different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId<'a>(&'a [u8]);

impl<'a> SourceId<'a> {
    /// `None` where `bytes` is empty or longer than [`SOURCE_BYTES_MAX`].
    pub fn try_new(bytes: &'a [u8]) -> Option<Self> {
        (1..=SOURCE_BYTES_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The id's bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> MessageId<'a> {
    /// `None` where `bytes` is empty or longer than [`MESSAGE_ID_BYTES_MAX`].
    pub fn try_new(bytes: &'a [u8]) -> Option<Self> {
        (1..=MESSAGE_ID_BYTES_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The id's bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// The random seed of all digests of one index. It is made once, at the first start, and kept in the changelog's
/// genesis: without it nobody outside can construct two ids that collide. It is never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestSeed(pub u64);

impl DigestSeed {
    /// The seed that stands for a secret: XXH3-64 of its bytes.
    pub fn of_secret(secret: &[u8]) -> Self {
        Self(xxh3_64(secret))
    }
}

impl std::fmt::Debug for DigestSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestSeed(..)")
    }
}

/// What the index keeps of an event's identity: XXH3-128 over the length-prefixed source and messageId.
///
/// The changelog carries all 128 bits; an index keeps the 96 that the day's number leaves it, and those decide: with n ids in
/// the window a new one is taken for an old one with a chance of n / 2^96. Of 60 billion ids, each new to a window that holds
/// as many, 5e-8 are expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub u128);

impl Digest {
    /// Bytes of a digest on the wire.
    pub const BYTES: usize = 16;

    /// The digest of an identity. The length prefixes (u32, little-endian) keep `("ab", "c")` and `("a", "bc")` apart.
    pub fn of(seed: DigestSeed, source: SourceId<'_>, message_id: MessageId<'_>) -> Self {
        let mut bytes = [0_u8; 2 * LENGTH_BYTES + SOURCE_BYTES_MAX + MESSAGE_ID_BYTES_MAX];
        let mut end = 0;
        for part in [source.0, message_id.0] {
            bytes[end..end + LENGTH_BYTES].copy_from_slice(&(part.len() as u32).to_le_bytes());
            end += LENGTH_BYTES;
            bytes[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        Self(xxh3_128_with_seed(&bytes[..end], seed.0))
    }

    /// The bytes on the wire, little-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0.to_le_bytes()
    }

    /// The inverse of [`Digest::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: u64, source: &str, id: &str) -> Digest {
        Digest::of(
            DigestSeed(seed),
            SourceId::try_new(source.as_bytes()).unwrap(),
            MessageId::try_new(id.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn identity_is_source_and_id_and_seed() {
        let one = digest(7, "ab", "c");
        assert_eq!(one, digest(7, "ab", "c"));
        assert_ne!(one, digest(7, "a", "bc"));
        assert_ne!(one, digest(8, "ab", "c"));
        assert_eq!(one, Digest::from_bytes(one.to_bytes()));
    }

    #[test]
    fn digest_is_xxh3_of_the_documented_bytes() {
        let bytes = [b"\x02\0\0\0ab".as_slice(), b"\x01\0\0\0c"].concat();
        assert_eq!(digest(7, "ab", "c").0, xxh3_128_with_seed(&bytes, 7));
    }

    #[test]
    fn lengths_have_bounds() {
        assert_eq!(MessageId::try_new(b""), None);
        assert!(MessageId::try_new(&[b'x'; MESSAGE_ID_BYTES_MAX]).is_some());
        assert_eq!(MessageId::try_new(&[b'x'; MESSAGE_ID_BYTES_MAX + 1]), None);
        assert_eq!(SourceId::try_new(b""), None);
        assert!(SourceId::try_new(&[b'x'; SOURCE_BYTES_MAX]).is_some());
        assert_eq!(SourceId::try_new(&[b'x'; SOURCE_BYTES_MAX + 1]), None);
        digest(1, &"s".repeat(SOURCE_BYTES_MAX), &"m".repeat(MESSAGE_ID_BYTES_MAX));
    }
}
