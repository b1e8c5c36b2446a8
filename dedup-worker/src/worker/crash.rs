//! Dying at a named point of the loop, for tests: the worst moments are too short to be hit from outside.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The points between which a crash makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The output records are acknowledged; the changelog record is not sent.
    Produced,
    /// Everything is acknowledged; the commit is not asked for.
    BeforeCommit,
    /// The commit is confirmed; the index does not know.
    Committed,
    /// The index knows.
    IndexUpdated,
}

/// Where and at which pass to die; by default nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crash(Option<(Step, u64)>);

/// Passes of the chosen step in this process, over all partitions.
static PASSES: AtomicU64 = AtomicU64::new(0);

impl Crash {
    /// Reads `STEP:PASS`, as `before-commit:3`; an empty text is never. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        let (step, pass) = text.split_once(':')?;
        let step = match step {
            "produced" => Step::Produced,
            "before-commit" => Step::BeforeCommit,
            "committed" => Step::Committed,
            "index-updated" => Step::IndexUpdated,
            _ => return None,
        };
        Some(Self(Some((step, pass.parse().ok().filter(|pass| *pass > 0)?))))
    }

    /// Ends the process without any cleaning up, if this is the point.
    pub fn at(self, step: Step) {
        if let Self(Some((chosen, pass))) = self
            && chosen == step
            && PASSES.fetch_add(1, Relaxed) + 1 == pass
        {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_step_and_a_pass() {
        assert_eq!(Crash::parse(""), Some(Crash::default()));
        assert_eq!(Crash::parse("before-commit:3"), Some(Crash(Some((Step::BeforeCommit, 3)))));
        assert_eq!(
            (Crash::parse("before-commit"), Crash::parse("x:1"), Crash::parse("produced:0")),
            (None, None, None)
        );
        Crash::default().at(Step::Produced);
    }
}
