//! Which source a write key belongs to.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::hint::black_box;

use wire::SourceId;

/// The hash of write keys, and each key with the id of its source.
type ByHash = HashMap<u64, Vec<(Vec<u8>, Vec<u8>)>>;

/// The sources that may post.
///
/// The time of a look-up tells nothing of the keys that it does not match. A key is found by its SipHash under a seed of
/// this process, which nobody outside can know, so whoever tries keys cannot steer what is compared with what; and the
/// bytes are compared only where all 64 bits of the hash agree, over their whole length.
#[derive(Clone)]
pub enum Sources {
    /// No source is configured: any non-empty write key is accepted and is itself the source's id.
    Open,
    /// Only these.
    Configured {
        /// The seed.
        hasher: RandomState,
        /// Write keys by their hash, each with the stable id of its source. Several may name one source, so that a key can
        /// be rotated.
        by_hash: ByHash,
    },
}

/// Without the keys.
impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => out.write_str("Open"),
            Self::Configured { by_hash, .. } => {
                out.debug_struct("Configured").field("keys", &by_hash.len()).finish_non_exhaustive()
            }
        }
    }
}

impl Sources {
    /// Only these: pairs of a write key and the id of its source. White space around a key is no part of it.
    pub(crate) fn configured<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let (hasher, mut by_hash) = (RandomState::new(), ByHash::new());
        for (key, source) in pairs {
            let key = key.trim_ascii();
            by_hash.entry(hasher.hash_one(key)).or_default().push((key.to_vec(), source.to_vec()));
        }
        Self::Configured { hasher, by_hash }
    }

    /// The source behind a write key; `None` where the key is empty, too long, no text or unknown.
    pub fn resolve<'a>(&'a self, write_key: &'a [u8]) -> Option<SourceId<'a>> {
        match self {
            // The id goes into the output as text.
            Self::Open => std::str::from_utf8(write_key).ok().and_then(|key| SourceId::try_new(key.as_bytes())),
            Self::Configured { hasher, by_hash } => {
                let same_hash = by_hash.get(&hasher.hash_one(write_key))?;
                let (_, source) = same_hash.iter().find(|(key, _)| equal(key, write_key))?;
                SourceId::try_new(source)
            }
        }
    }
}

/// Whether two texts are the same, in a time that depends on their lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| black_box(different | (a ^ b)));
    a.len() == b.len() && different == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mode_takes_any_key_but_an_empty_one() {
        assert_eq!(Sources::Open.resolve(b"key").map(SourceId::as_bytes), Some(&b"key"[..]));
        assert_eq!(Sources::Open.resolve(b""), None);
        assert_eq!(Sources::Open.resolve(b"\xff"), None);
    }

    #[test]
    fn configured_keys_share_their_source() {
        let sources = Sources::configured([(&b"old"[..], &b"web"[..]), (b" new\t", b"web")]);
        assert_eq!(sources.resolve(b"old").map(SourceId::as_bytes), Some(&b"web"[..]));
        assert_eq!(sources.resolve(b"old"), sources.resolve(b"new"));
        for other in ["", "ol", "olds", "Old", "other"] {
            assert_eq!(sources.resolve(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn keys_are_never_printed() {
        let sources = Sources::configured([(&b"secret"[..], &b"web"[..])]);
        assert!(!format!("{sources:?}").contains("secret"));
    }

    #[test]
    fn texts_are_compared_over_their_whole_length() {
        for (a, b, expected) in
            [("", "", true), ("a", "a", true), ("ab", "aa", false), ("ba", "aa", false), ("a", "aa", false)]
        {
            assert_eq!(equal(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
