//! What an index holds and has done, as plain numbers.

use std::iter::Sum;

/// Figures of one lane's index. Those that count things done start at 0 with every open.
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

impl Stats {
    /// Identities in the window, with those in memory. One that lies in two places may count twice.
    pub fn known_digests(&self) -> u64 {
        self.sealed_digests + self.open_digests
    }

    /// The figures of two indexes as if they were one; every field is named, so that no new one is forgotten.
    fn plus(self, other: Self) -> Self {
        Self {
            sealed_digests: self.sealed_digests + other.sealed_digests,
            sealed_bytes: self.sealed_bytes + other.sealed_bytes,
            runs: self.runs + other.runs,
            open_digests: self.open_digests + other.open_digests,
            open_bytes: self.open_bytes + other.open_bytes,
            pending_digests: self.pending_digests + other.pending_digests,
            pending_batches: self.pending_batches + other.pending_batches,
            filters: self.filters + other.filters,
            filter_keys: self.filter_keys + other.filter_keys,
            filter_keys_max: self.filter_keys_max + other.filter_keys_max,
            filter_bytes: self.filter_bytes + other.filter_bytes,
            run_filter_bytes: self.run_filter_bytes + other.run_filter_bytes,
            oldest_bucket: self.oldest_bucket.into_iter().chain(other.oldest_bucket).min(),
            candidates: self.candidates + other.candidates,
            duplicates: self.duplicates + other.duplicates,
            expired: self.expired + other.expired,
            open_hits: self.open_hits + other.open_hits,
            filter_passes: self.filter_passes + other.filter_passes,
            store_reads: self.store_reads + other.store_reads,
            store_hits: self.store_hits + other.store_hits,
            runs_sealed: self.runs_sealed + other.runs_sealed,
            runs_dropped: self.runs_dropped + other.runs_dropped,
            maintenance_failures: self.maintenance_failures + other.maintenance_failures,
        }
    }
}

/// The figures of all lanes of a process.
impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(stats: I) -> Self {
        stats.fold(Self::default(), Self::plus)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_indexes_has_the_oldest_bucket_of_any() {
        let [none, old, new] =
            [None, Some(3), Some(7)].map(|oldest_bucket| Stats { oldest_bucket, ..Stats::default() });
        assert_eq!([none, new, old].into_iter().sum::<Stats>(), old);
        assert_eq!([none].into_iter().sum::<Stats>(), none);
        let one = Stats { sealed_digests: 2, open_digests: 3, ..new };
        assert_eq!([one, one].into_iter().sum::<Stats>().known_digests(), 10);
    }
}
