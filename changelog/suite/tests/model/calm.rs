//! What follows where nothing goes wrong any more: a worker takes over and reads everything. So each state is asked whether
//! its promises can still be kept.

use std::collections::HashSet;

use crate::invariants::Violation;
use crate::rebuild::Rebuild;
use crate::rules::Left;
use crate::step::Step;
use crate::worker::Phase;
use crate::world::World;

/// More steps than any of these worlds needs.
const STEPS_MAX: usize = 100;

/// States from which everything was read, and nothing was lost or came out twice.
#[derive(Debug, Default)]
pub(crate) struct Proven(HashSet<u128>);

impl Proven {
    /// Whether everything is read from this state on as well.
    pub(crate) fn holds(&mut self, world: &World) -> Result<(), (Vec<Step>, Violation)> {
        let mut world = World { left: Left::NONE, ..world.clone() };
        let (mut keys, mut steps) = (vec![world.key()], Vec::new());
        while keys.last().is_some_and(|key| !self.0.contains(key)) {
            match world.calm_step() {
                Err((step, violation)) => {
                    steps.push(step);
                    return Err((steps, violation));
                }
                Ok(Some((step, next))) => {
                    steps.push(step);
                    keys.push(next.key());
                    world = next;
                }
                Ok(None) => match world.nothing_is_lost() {
                    Ok(()) => break,
                    Err(violation) => return Err((steps, violation)),
                },
            }
            if steps.len() == STEPS_MAX {
                return Err((steps, Violation::Stuck));
            }
        }
        self.0.extend(keys);
        Ok(())
    }
}

impl World {
    /// As it is when everything is read.
    pub(crate) fn drained(mut self) -> Result<Self, Violation> {
        while let Some((_, next)) = self.calm_step().map_err(|(_, violation)| violation)? {
            self = next;
        }
        Ok(self)
    }

    /// The next step, and what it comes to; `None` where everything is read.
    fn calm_step(&self) -> Result<Option<(Step, Self)>, (Step, Violation)> {
        let owner = self.workers.iter().position(|worker| worker.lane().is_some_and(|lane| lane.epoch == self.fence));
        let step = if let Some(step) = self.calm_step_of_rebuild() {
            step
        } else if let Some(worker) = owner {
            let lane = self.workers[worker].lane().expect("it owns the lane");
            if lane.in_flight().is_some() {
                // What an earlier client of the same fence had sent comes first.
                if self.limbo.is_some() { Step::Land } else { Step::Committed(worker) }
            } else if lane.is_stale(&self.inputs) {
                Step::Learn(worker)
            } else {
                Step::Gather { worker, first: 0 }
            }
        } else {
            match &self.workers[0].phase {
                Phase::Idle { .. } => Step::Look(0),
                Phase::Held(_) => Step::LetGo(0),
                Phase::Taking { epoch: Some(epoch), .. } if *epoch != self.fence => Step::LetGo(0),
                Phase::Taking { epoch, log, .. } => match (epoch, log) {
                    (Some(_), Some(_)) => Step::Restore { worker: 0, is_stale: false },
                    (Some(_), None) => Step::Measure(0),
                    (None, _) => self.step_of_takeover(0).expect("it takes over"),
                },
            }
        };
        let next = self.after(step).map_err(|violation| (step, violation))?;
        Ok(next.map(|next| (step, next)))
    }

    /// A rebuild that is not finished is run again, to its end.
    fn calm_step_of_rebuild(&self) -> Option<Step> {
        let is_under_way = |rebuild: &Rebuild| rebuild.epoch() == Some(self.fence);
        if let Some(number) = self.rebuilds.iter().position(is_under_way) {
            return Some(Step::Rebuild(number));
        }
        let is_unfinished = self.newest().is_some_and(|newest| newest.is_unfinished);
        is_unfinished.then_some(Step::Claim(0))
    }
}
