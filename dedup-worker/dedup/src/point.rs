//! A place in the changelog.

/// How far the changelog has been applied, and what tells whether it is still the same changelog.
///
/// With the log's id, which the directory keeps, this is enough to notice a log that was cut back, restored or made
/// anew under the index: compare the record before `next_offset` with `leader_epoch` and `checksum` before going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangelogPoint {
    /// Offset of the first record that has not been applied.
    pub next_offset: u64,
    /// Leader epoch of the record before it; -1 where there is none, as in a log on disk.
    pub leader_epoch: i32,
    /// Checksum that the record before it ends with, [`wire::changelog::checksum_of`].
    pub checksum: u64,
}
