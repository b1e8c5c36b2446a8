//! Every state that can be reached, breadth first.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use crate::calm::Proven;
use crate::invariants::Violation;
use crate::rules::Rules;
use crate::step::Step;
use crate::world::World;

/// A configuration with more states is too large to be gone through each time.
const STATES_MAX: usize = 2_000_000;

/// Every state was looked at.
pub(crate) struct Complete {
    /// How many there are.
    pub(crate) states: usize,
    /// Steps to the one that is furthest away.
    pub(crate) depth: usize,
}

/// A way to a violation. Of those there are, none has fewer steps before everything is calm.
pub(crate) struct Counterexample {
    /// What leads there, and what follows where nothing more goes wrong.
    pub(crate) steps: (Vec<Step>, Vec<Step>),
    pub(crate) violation: Violation,
}

/// A state that was found: the one before it and the step from there, and its distance.
struct Found {
    from: Option<(usize, Step)>,
    depth: usize,
}

/// Looks at every state, or up to the first violation.
pub(crate) fn search(rules: Rules) -> Result<Complete, Counterexample> {
    let first = World::new(rules);
    let mut found = vec![Found { from: None, depth: 0 }];
    let mut known = HashSet::from([first.key()]);
    let mut proven = Proven::default();
    let mut frontier = VecDeque::from([(first, 0)]);
    let way_to = |found: &[Found], mut place: usize| {
        let mut steps = Vec::new();
        while let Some((before, step)) = found[place].from {
            steps.push(step);
            place = before;
        }
        steps.reverse();
        steps
    };
    while let Some((world, place)) = frontier.pop_front() {
        if let Err((calm, violation)) = proven.holds(&world) {
            return Err(Counterexample { steps: (way_to(&found, place), calm), violation });
        }
        for step in world.steps() {
            match world.after(step) {
                Err(violation) => {
                    let mut steps = way_to(&found, place);
                    steps.push(step);
                    return Err(Counterexample { steps: (steps, Vec::new()), violation });
                }
                Ok(Some(next)) if known.insert(next.key()) => {
                    assert!(found.len() < STATES_MAX, "{}: more than {STATES_MAX} states", rules.name);
                    frontier.push_back((next, found.len()));
                    let depth = found[place].depth + 1;
                    found.push(Found { from: Some((place, step)), depth });
                }
                Ok(_) => {}
            }
        }
    }
    let depth = found.last().map_or(0, |last| last.depth);
    Ok(Complete { states: found.len(), depth })
}

impl fmt::Display for Complete {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} states, the furthest of them {} steps away", self.states, self.depth)
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps: (steps, calm), violation } = self;
        let (count, behind) = (steps.len() + calm.len(), calm.len());
        writeln!(out, "{violation:?} after {count} steps, the last {behind} of them with nothing that goes wrong")?;
        steps.iter().chain(calm).try_for_each(|step| writeln!(out, "    {step:?}"))
    }
}
