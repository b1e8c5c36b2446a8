//! The steps between which a crash makes a difference, in the order in which a partition meets them. Tests
//! [kill or stop](service::crash) the program at each.

use service::{Failure, crash};

/// The variable that says at which step and pass: `DEDUP_CRASH_AT=committed:3`.
pub const VARIABLE: &str = "DEDUP_CRASH_AT";

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The index is where the changelog is, as far as that could be read without the fence; the group has confirmed the
    /// partition; the fence is not taken.
    Fencing,
    /// The fence is taken; the group is not asked again.
    Fenced,
    /// The group was asked again; the changelog's end is not measured.
    Confirmed,
    /// The end is measured; the rest is not replayed.
    Measured,
    /// Some of the changelog is replayed, before the fence or behind it. A pass is a record.
    Restoring,
    /// The index is at the measured end; the checkpoint is not written.
    Restored,
    /// The checkpoint is committed; no input is read.
    Checkpointed,
    /// A batch is gathered and decided; it is not handed over.
    Decided,
    /// The output records are acknowledged; the changelog record is not sent.
    Produced,
    /// Everything is acknowledged; the commit is not asked for.
    BeforeCommit,
    /// The commit is confirmed; the index does not know.
    Committed,
    /// The index knows.
    IndexUpdated,
    /// A run's file is written and synced; the store has not taken it.
    RunWritten,
    /// The store has taken the run; nothing in memory knows.
    RunTaken,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 14] = [
        Self::Fencing,
        Self::Fenced,
        Self::Confirmed,
        Self::Measured,
        Self::Restoring,
        Self::Restored,
        Self::Checkpointed,
        Self::Decided,
        Self::Produced,
        Self::BeforeCommit,
        Self::Committed,
        Self::IndexUpdated,
        Self::RunWritten,
        Self::RunTaken,
    ];

    /// What the variable calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::Fenced => "fenced",
            Self::Confirmed => "confirmed",
            Self::Measured => "measured",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
            Self::Checkpointed => "checkpointed",
            Self::Decided => "decided",
            Self::Produced => "produced",
            Self::BeforeCommit => "before-commit",
            Self::Committed => "committed",
            Self::IndexUpdated => "index-updated",
            Self::RunWritten => dedup::RUN_WRITTEN,
            Self::RunTaken => dedup::RUN_TAKEN,
        }
    }
}

/// Arms the step that the environment names. For the beginning of the process.
///
/// # Errors
/// [`Failure::Usage`] where it names none.
pub fn arm() -> Result<(), Failure> {
    crash::arm(VARIABLE, &Step::ALL.map(Step::name)).map_err(Failure::Usage)
}

/// Kills or stops this process, if this is the step and the pass.
pub(crate) fn at(step: Step) {
    crash::at(step.name());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        assert_eq!(Step::ALL.map(Step::name).into_iter().collect::<BTreeSet<_>>().len(), Step::ALL.len());
        for (place, step) in Step::ALL.into_iter().enumerate() {
            assert_eq!(Step::ALL.iter().position(|other| *other == step), Some(place));
        }
    }
}
