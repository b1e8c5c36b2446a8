//! What an index holds and has done, as plain numbers.

/// Figures of one partition's index. Those that count things done start at 0 with every open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Identities in sealed runs, expired ones whose run is still there included.
    pub sealed_digests: u64,
    /// Bytes of the runs' files.
    pub sealed_bytes: u64,
    /// Sealed runs.
    pub runs: u64,
    /// Identities in memory that no run covers, those of uncommitted batches included.
    pub open_digests: u64,
    /// Bytes of memory they take, spare room included.
    pub open_bytes: u64,
    /// Of the open digests, those of batches decided and not committed.
    pub pending_digests: u64,
    /// Batches decided and not committed.
    pub pending_batches: u64,
    /// Group filters, each asked once for every event that is not in memory.
    pub filters: u64,
    /// Identities in the group filters, those of runs that have been dropped since included.
    pub filter_keys: u64,
    /// Identities that the group filters have room for. A new filter is made before one is over its room.
    pub filter_keys_max: u64,
    /// Bytes of memory of the group filters.
    pub filter_bytes: u64,
    /// Bytes of memory of the runs' own filters.
    pub run_filter_bytes: u64,
    /// Oldest bucket with an identity in a sealed run.
    pub oldest_bucket: Option<u32>,
    /// Candidates decided.
    pub candidates: u64,
    /// Of them, duplicates.
    pub duplicates: u64,
    /// Of them, published although older than the window.
    pub expired: u64,
    /// Candidates that were in memory.
    pub open_hits: u64,
    /// Candidates that a group filter let through.
    pub filter_passes: u64,
    /// Reads of a run.
    pub store_reads: u64,
    /// Reads that found the identity.
    pub store_hits: u64,
    /// Runs sealed.
    pub runs_sealed: u64,
    /// Runs dropped because their newest bucket had expired.
    pub runs_dropped: u64,
    /// Attempts to seal or drop that failed.
    pub maintenance_failures: u64,
}

/// What one call of [`Index::maintain`](crate::Index::maintain) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// Expired runs dropped.
    pub runs_dropped: u32,
    /// Digests sealed into a run.
    pub digests_sealed: u64,
    /// Bytes of that run's file.
    pub bytes_sealed: u64,
}
