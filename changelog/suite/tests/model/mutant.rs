//! What can be done wrong, one thing at a time. The search has to find where each of them leads.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A restore takes the positions of the records that it applies, and not those of the checkpoint before them.
    AppliedPositionsAlone,
    /// A checkpoint has the positions of the partitions that this worker has heard of.
    CheckpointOfWhatIsSeen,
    /// After an abort the state is undone, and the positions stay.
    PositionsStay,
    /// After an abort of batch N the batch N + 1, which was decided against it, is kept.
    NextIsKept,
    /// After an unknown outcome the log is replayed under the old fence.
    OldFence,
    /// The log's end is measured before the fence is taken.
    EndBeforeFence,
    /// What expires does so by the clock in memory, which no record has yet.
    ExpiryByMemory,
    /// Pending batches are undone oldest first.
    OldestUndoneFirst,
    /// Pending entries go into what is durable.
    PendingSealed,
    /// The record before a position proves the log by offset and epoch alone.
    ProofWithoutTime,
    /// A rebuild deletes up to the newest record, whosever that is by now.
    DeletesPastItsMark,
}
