//! What can be set on an index.

use rocksdb::Cache;

/// Settings of one partition's index. The defaults serve a partition of up to a few million events a day; clones share
/// one block cache, so every partition of a process is opened with a clone of the same options.
#[derive(Debug, Clone)]
pub struct Options {
    /// Digests in memory at which they are sealed into a run, at least 1; 2,097,152 by default. Each takes 18 to 23
    /// bytes of memory and 16 of changelog to be replayed after a crash. A larger number makes fewer and longer runs:
    /// with n ids in the window a lookup that passes the filters asks about n / (8 × this) run filters. Sealing takes
    /// about 0.1 µs a digest, during which nothing is decided.
    pub open_digests_max: usize,
    /// Digests in memory, decided batches included, beyond which `decide` and `replay` refuse with
    /// [`IndexError::Full`](crate::IndexError::Full); 8,388,608 by default. It is reached only where sealing fails, on
    /// a full disk, or where nobody calls `maintain`. A single batch is always accepted into an empty table.
    pub unsealed_digests_max: usize,
    /// Cache of the runs' blocks.
    pub block_cache: BlockCache,
}

/// A cache that the indexes of a process share.
#[derive(Clone)]
pub struct BlockCache(pub(crate) Cache);

impl BlockCache {
    /// Bytes of the default cache. Identities are looked up at random: unless it holds the whole index, a larger cache
    /// only repeats the operating system's.
    pub const BYTES_DEFAULT: usize = 32 << 20;

    /// A cache of at most `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(Cache::new_lru_cache(bytes))
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache").field("used_bytes", &self.0.get_usage()).finish()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            open_digests_max: 1 << 21,
            unsealed_digests_max: 1 << 23,
            block_cache: BlockCache::new(BlockCache::BYTES_DEFAULT),
        }
    }
}
