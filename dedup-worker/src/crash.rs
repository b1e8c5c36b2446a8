//! Dying or stopping at a named step, for tests: the worst moments are too short to be hit from outside.
//!
//! Both are real. To die is SIGKILL, so nothing is cleaned up. To pause is SIGSTOP: every thread stands until somebody
//! sends SIGCONT, and the world goes on without this process.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The steps between which a crash makes a difference, in the order in which a partition meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The group gave the partition and confirmed it; the fence is not taken.
    Fencing,
    /// The fence is taken; the group is not asked again.
    Fenced,
    /// The group was asked again; the changelog's end is not measured.
    Confirmed,
    /// The end is measured; nothing is replayed.
    Measured,
    /// Some of the changelog is replayed. A pass is a record.
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

    /// What the setting calls it.
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
            Self::RunWritten => "run-written",
            Self::RunTaken => "run-taken",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Die,
    Pause,
}

/// Where, at which pass, and what to do; by default nothing anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crash(Option<(Action, Step, u64)>);

/// Passes of the chosen step in this process, over all partitions.
static PASSES: AtomicU64 = AtomicU64::new(0);

impl Crash {
    /// Reads `STEP:PASS`, as `before-commit:3`, or `pause-STEP:PASS`; an empty text is nothing. `None` for anything
    /// else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let (step, pass) = text.split_once(':')?;
        let (action, name) = step.strip_prefix("pause-").map_or((Action::Die, step), |name| (Action::Pause, name));
        let step = Step::ALL.into_iter().find(|step| step.name() == name)?;
        Some(Self(Some((action, step, pass.parse().ok().filter(|pass| *pass > 0)?))))
    }

    /// Kills or stops this process, if this is the step and the pass.
    #[expect(
        unsafe_code,
        reason = "a signal to this very thread takes effect before the next instruction, one to the process does not"
    )]
    pub fn at(self, step: Step) {
        let Self(Some((action, chosen, pass))) = self else { return };
        if chosen == step && PASSES.fetch_add(1, Relaxed) + 1 == pass {
            let signal = if action == Action::Die { libc::SIGKILL } else { libc::SIGSTOP };
            // SAFETY: the call takes a number and touches no memory.
            unsafe { libc::raise(signal) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_step_and_a_pass() {
        assert_eq!(Crash::parse(""), Some(Crash::default()));
        let point = |action| Some(Crash(Some((action, Step::BeforeCommit, 3))));
        assert_eq!(Crash::parse("before-commit:3"), point(Action::Die));
        assert_eq!(Crash::parse("pause-before-commit:3"), point(Action::Pause));
        for wrong in ["before-commit", "x:1", "produced:0", "pause-:1", "pause-pause-fenced:1", ":1", "produced:"] {
            assert_eq!(Crash::parse(wrong), None, "{wrong}");
        }
        Crash::default().at(Step::Produced);
    }

    #[test]
    fn every_step_has_a_name_of_its_own() {
        for (place, step) in Step::ALL.into_iter().enumerate() {
            let point = Crash::parse(&format!("{}:1", step.name()));
            assert_eq!(point, Some(Crash(Some((Action::Die, step, 1)))));
            assert_eq!(Step::ALL.iter().position(|other| *other == step), Some(place));
        }
    }
}
