//! What can be set on an index.

/// Settings of one lane's index. The defaults serve a lane of up to some ten million events a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Digests in memory at which they are sealed into a run, at least 1; 2,097,152 by default. Each takes 19 bytes of
    /// memory, 32 while the changelog is replayed, and 16 of changelog to be replayed after a crash. A larger number makes fewer and longer runs: with n ids
    /// in the window a repeat asks about n / (8 × this) run filters until its own answers, 0.1 to 0.3 µs each. Sealing
    /// takes about 0.1 µs a digest, during which nothing is decided.
    pub open_digests_max: usize,
    /// Digests in memory, decided batches included, beyond which `decide` and `replay` refuse with
    /// [`IndexError::Full`](crate::IndexError::Full); 8,388,608 by default. It is reached only where sealing fails, on
    /// a full disk, or where nobody calls `maintain`. A single batch is always accepted into an empty table.
    pub unsealed_digests_max: usize,
    /// Whether anybody will ask it; `true` by default. An index that is only filled and closed again makes no filters and
    /// does not read its runs when it is opened; whoever opens it later to ask it makes them, 15 to 30 ns an identity. To
    /// ask it for verdicts or one identity is an error of the program; its runs can be read.
    pub is_asked: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { open_digests_max: 1 << 21, unsealed_digests_max: 1 << 23, is_asked: true }
    }
}
