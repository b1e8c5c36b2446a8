//! Steps of a hand-over at which a test may kill this process or let it stand.

use service::{Failure, crash};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The next process has prepared all that does not need the data, and has not said so.
    Prepared,
    /// It was told that the data is free.
    Released,
    /// It has opened the data.
    Opened,
    /// It is about to say that it serves.
    Begun,
    /// The old process has been told that the next one is ready.
    Wanted,
    /// It has freed the data, and has not said so.
    Freed,
    /// It has said so.
    Given,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::Prepared, Self::Released, Self::Opened, Self::Begun, Self::Wanted, Self::Freed, Self::Given];

    const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Released => "released",
            Self::Opened => "opened",
            Self::Begun => "begun",
            Self::Wanted => "wanted",
            Self::Freed => "freed",
            Self::Given => "given",
        }
    }
}

/// Arms the step that this variable of the environment names, if it names one: `opened:1` is the step and its pass.
///
/// # Errors
/// [`Failure::Usage`] where it names none that there is.
pub fn arm_crash(variable: &str) -> Result<(), Failure> {
    crash::arm(variable, &Step::ALL.map(Step::name)).map_err(Failure::Usage)
}

/// Kills or stops this process, if a test has armed this step.
pub(super) fn at(step: Step) {
    crash::at(step.name());
}
