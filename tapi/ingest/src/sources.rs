//! Which source a write key belongs to.

use std::collections::HashMap;

use wire::SourceId;

/// The sources that may post.
#[derive(Debug, Clone)]
pub enum Sources {
    /// No source is configured: any non-empty write key is accepted and is itself the source's id.
    Open,
    /// Only these: write key to the source's stable id. Several keys may name one source, so that a key can be rotated.
    Configured(HashMap<Vec<u8>, Vec<u8>>),
}

impl Sources {
    /// The source behind a write key; `None` where the key is empty, too long or unknown. White space around it, which
    /// comes of copying and of line ends in files, is not part of it, unless a configured key has it.
    pub fn resolve<'a>(&'a self, write_key: &'a [u8]) -> Option<SourceId<'a>> {
        let trimmed = write_key.trim_ascii();
        match self {
            Self::Open => SourceId::try_new(trimmed),
            Self::Configured(by_key) => {
                by_key.get(write_key).or_else(|| by_key.get(trimmed)).and_then(|id| SourceId::try_new(id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mode_takes_any_key_but_an_empty_one() {
        assert_eq!(Sources::Open.resolve(b"key").map(SourceId::as_bytes), Some(&b"key"[..]));
        assert_eq!(Sources::Open.resolve(b""), None);
    }

    #[test]
    fn white_space_around_a_key_is_not_part_of_it() {
        assert_eq!(Sources::Open.resolve(b" key\r\n").map(SourceId::as_bytes), Some(&b"key"[..]));
        assert_eq!(Sources::Open.resolve(b" \t"), None);
        let keys = [("key", "web"), (" odd ", "ios")].map(|(key, id)| (key.into(), id.into()));
        let sources = Sources::Configured(HashMap::from(keys));
        assert_eq!(sources.resolve(b"\tkey ").map(SourceId::as_bytes), Some(&b"web"[..]));
        assert_eq!(sources.resolve(b" odd ").map(SourceId::as_bytes), Some(&b"ios"[..]));
        assert_eq!(sources.resolve(b"odd"), None);
    }

    #[test]
    fn configured_keys_share_their_source() {
        let keys = [("old", "web"), ("new", "web")].map(|(key, id)| (key.into(), id.into()));
        let sources = Sources::Configured(HashMap::from(keys));
        assert_eq!(sources.resolve(b"old"), sources.resolve(b"new"));
        assert_eq!(sources.resolve(b"other"), None);
    }
}
