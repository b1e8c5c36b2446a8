//! The steps between which a crash makes a difference, in the order in which a partition meets them. Tests
//! [kill or stop](service::crash) the program at each.

use ownership::Step;
use service::{Failure, crash};

/// The variable that says at which step and pass: `DEDUP_CRASH_AT=committed:3`.
pub const VARIABLE: &str = "DEDUP_CRASH_AT";

/// What the variable calls each step, in the order in which a partition meets them.
pub const NAMES: [(&str, Option<Step>); 14] = [
    ("fencing", Some(Step::Fencing)),
    ("fenced", Some(Step::Fenced)),
    ("confirmed", Some(Step::Confirmed)),
    ("measured", Some(Step::Measured)),
    ("restoring", Some(Step::Restoring)),
    ("restored", Some(Step::Restored)),
    ("checkpointed", Some(Step::Checkpointed)),
    ("decided", Some(Step::Decided)),
    ("produced", Some(Step::Produced)),
    ("before-commit", Some(Step::BeforeCommit)),
    ("committed", Some(Step::Committed)),
    ("index-updated", Some(Step::Applied)),
    (dedup::RUN_WRITTEN, None),
    (dedup::RUN_TAKEN, None),
];

/// Arms the step that the environment names. For the beginning of the process.
///
/// # Errors
/// [`Failure::Usage`] where it names none.
pub fn arm() -> Result<(), Failure> {
    crash::arm(VARIABLE, &NAMES.map(|(name, _)| name)).map_err(Failure::Usage)
}

/// Kills or stops this process, if this is the step and the pass.
pub(crate) fn at(step: Step) {
    if let Some((name, _)) = NAMES.iter().find(|(_, named)| *named == Some(step)) {
        crash::at(name);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        assert_eq!(NAMES.map(|(name, _)| name).into_iter().collect::<BTreeSet<_>>().len(), NAMES.len());
        for (name, step) in NAMES {
            assert_eq!(
                NAMES.iter().filter(|(_, other)| step.is_some() && *other == step).count(),
                usize::from(step.is_some()),
                "{name}"
            );
        }
    }
}
