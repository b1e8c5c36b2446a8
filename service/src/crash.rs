//! Dying or stopping at a named step, for tests: the worst moments are too short to be hit from outside.
//!
//! Both are real. To die is SIGKILL, so nothing is cleaned up. To pause is SIGSTOP: every thread stands until somebody
//! sends SIGCONT, and the world goes on without this process.
//!
//! A step is armed by an environment variable that is read where the process begins. It is no setting, because nobody who
//! runs the program is to find it, and no cargo feature, because the program that is tested is the one that is shipped.
//! A step that is not armed costs one look at a word that never changes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What happens at the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Die,
    Pause,
}

/// Where, at which pass, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Armed {
    action: Action,
    step: &'static str,
    pass: u64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();
/// Passes of the armed step in this process, over all that meet it.
static PASSES: AtomicU64 = AtomicU64::new(0);

/// Arms the step that the environment variable `variable` names, if it names one: `STEP:PASS`, as `before-commit:3`, or
/// `pause-STEP:PASS`. For the beginning of a process.
///
/// # Errors
/// Where it names none of `steps`, with what it may say.
pub fn arm(variable: &str, steps: &[&'static str]) -> Result<(), String> {
    let Ok(text) = std::env::var(variable) else { return Ok(()) };
    let Some(armed) = parse(&text, steps) else {
        let steps = steps.join(", ");
        return Err(format!("{variable}: a step and a number from 1, as STEP:3 or pause-STEP:3, is one of {steps}"));
    };
    let _ = ARMED.set(armed);
    tracing::warn!(step = armed.step, pass = armed.pass, action = ?armed.action, variable, "a crash is armed");
    Ok(())
}

fn parse(text: &str, steps: &[&'static str]) -> Option<Armed> {
    let (name, pass) = text.split_once(':')?;
    let (action, name) = name.strip_prefix("pause-").map_or((Action::Die, name), |name| (Action::Pause, name));
    let step = steps.iter().find(|step| **step == name)?;
    Some(Armed { action, step, pass: pass.parse().ok().filter(|pass| *pass > 0)? })
}

/// Kills or stops this process, if this is the step and the pass.
#[expect(
    unsafe_code,
    reason = "a signal to this very thread takes effect before the next instruction, one to the process does not"
)]
pub fn at(step: &str) {
    let Some(armed) = ARMED.get() else { return };
    if armed.step == step && PASSES.fetch_add(1, Relaxed) + 1 == armed.pass {
        let signal = if armed.action == Action::Die { libc::SIGKILL } else { libc::SIGSTOP };
        // SAFETY: the call takes a number and touches no memory.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [&str; 3] = ["fenced", "produced", "before-commit"];

    #[test]
    fn a_point_is_a_step_and_a_pass() {
        let point = |action| Some(Armed { action, step: "before-commit", pass: 3 });
        assert_eq!(parse("before-commit:3", &STEPS), point(Action::Die));
        assert_eq!(parse("pause-before-commit:3", &STEPS), point(Action::Pause));
        for wrong in ["", "before-commit", "x:1", "produced:0", "pause-:1", "pause-pause-fenced:1", ":1", "produced:"] {
            assert_eq!(parse(wrong, &STEPS), None, "{wrong}");
        }
        at("produced");
    }
}
