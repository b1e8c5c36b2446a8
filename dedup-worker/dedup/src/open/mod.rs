//! The open digests: those that the changelog has and no sealed run covers yet.
//!
//! What is decided goes into the [`table`], which answers at once. What a replay brings goes on the [`pile`]: an index is
//! not asked while it is brought to the end of its changelog, and most of what it reads then is sealed without having
//! been looked for. To sort that costs less than to enter it where it could be found.

pub(crate) mod pile;
pub(crate) mod table;

use wire::Bucket;

use crate::fingerprint::Entry;

/// What a run is made of: entries in ascending order, each fingerprint once.
pub(crate) trait Ascending {
    /// How many there are.
    fn len(&self) -> usize;
    /// Each of them.
    fn iter(&self) -> impl Iterator<Item = Entry>;
    /// The bucket of every entry, where that is known without looking at each.
    fn only_bucket(&self) -> Option<Bucket>;
}

/// Which buckets have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Buckets {
    #[default]
    None,
    One(Bucket),
    Several,
}

impl Buckets {
    #[inline]
    fn see(&mut self, bucket: Bucket) {
        if *self != Self::One(bucket) {
            *self = if *self == Self::None { Self::One(bucket) } else { Self::Several };
        }
    }

    fn only(self) -> Option<Bucket> {
        match self {
            Self::One(bucket) => Some(bucket),
            Self::None | Self::Several => None,
        }
    }
}
