//! The steps between which a crash makes a difference, in the order in which a lane meets them. Tests
//! [kill or stop](service::crash) the program at each.

use ownership::Step;
use service::{Failure, crash};

/// The variable that says at which step and pass: `DEDUP_CRASH_AT=committed:3`.
pub const VARIABLE: &str = "DEDUP_CRASH_AT";

/// Arms the step that the environment names. For the beginning of the process.
///
/// # Errors
/// [`Failure::Usage`] where it names none.
pub fn arm() -> Result<(), Failure> {
    let steps: Vec<_> = Step::ALL.map(Step::name).into_iter().chain([dedup::RUN_WRITTEN, dedup::RUN_TAKEN]).collect();
    crash::arm(VARIABLE, &steps).map_err(Failure::Usage)
}

/// Kills or stops this process, if this is the step and the pass.
pub(crate) fn at(step: Step) {
    crash::at(step.name());
}
