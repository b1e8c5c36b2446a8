//! A file system in memory, mounted through FUSE, that forgets: after a power cut each write that was not synced is
//! there, not there, or there in part, and names whose folder was not synced may be gone.
//!
//! ```text
//!  program ──system calls──▶ kernel, with its page cache ──FUSE──▶ [`Disk`]: what is seen │ what is durable
//! ```
//!
//! It is for testing programs that promise durability, as they are: their own system calls, on a kernel's own page
//! cache. A [`Disk`] can also be slow, hang, be full, fail syncs, and refuse `O_DIRECT`; it counts what it is asked.
//!
//! What is durable: the bytes of a file after `fsync` or `fdatasync` of it, a write with `O_DSYNC` when it returns, and a
//! name after `fsync` of its folder. Nothing else: not even the name of a file that was synced itself.
//!
//! Buffered writes wait in the kernel's page cache, as on any disk, and reach this one when the kernel writes them back.

mod content;
mod disk;
mod fuse;
mod tree;

use rand::Rng;
use rand::rngs::SmallRng;

pub use disk::{Counts, Disk};
pub use fuse::{Mounted, Unavailable};

/// What becomes of changes that were not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are all there.
    AllKept,
    /// None is there.
    AllLost,
    /// Each one by itself is there, not there, or there in part.
    Each,
}

impl Fate {
    fn keeps(self, random: &mut SmallRng) -> bool {
        match self {
            Self::AllKept => true,
            Self::AllLost => false,
            Self::Each => random.random_bool(0.5),
        }
    }
}
