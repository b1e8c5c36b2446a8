//! messageIds for events that bring none: UUID version 4, from the operating system's random source.

use uuid::Builder;
use uuid::fmt::Hyphenated;

const ID_BYTES: usize = 16;
/// Random bytes fetched at once, so that the system call is shared by 256 ids.
const POOL_BYTES: usize = 4096;

/// Makes ids without allocating.
pub(super) struct RandomIds {
    pool: Box<[u8; POOL_BYTES]>,
    used: usize,
    text: [u8; Hyphenated::LENGTH],
}

impl RandomIds {
    pub(super) fn new() -> Self {
        Self { pool: Box::new([0; POOL_BYTES]), used: POOL_BYTES, text: [0; Hyphenated::LENGTH] }
    }

    /// A new id, as 36 characters that need no escape in JSON.
    pub(super) fn next_id(&mut self) -> &[u8] {
        if self.used == POOL_BYTES {
            getrandom::fill(&mut self.pool[..]).expect("the operating system has a random source");
            self.used = 0;
        }
        let mut bytes = [0; ID_BYTES];
        bytes.copy_from_slice(&self.pool[self.used..self.used + ID_BYTES]);
        self.used += ID_BYTES;
        Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut self.text).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_uuids_and_never_the_same() {
        let mut ids = RandomIds::new();
        let mut seen = HashSet::new();
        for _ in 0..3 * POOL_BYTES / ID_BYTES {
            let id = String::from_utf8(ids.next_id().to_vec()).unwrap();
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
            assert!(seen.insert(id));
        }
    }
}
