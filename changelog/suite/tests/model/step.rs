//! What may happen next, one thing at a time.

use crate::input::Partition;
use crate::mutant::Mutant;
use crate::rebuild::Rebuild;
use crate::worker::Phase;
use crate::world::World;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record comes in.
    Produce { cluster: usize, id: u8, is_late: bool },
    /// A bucket's time passes.
    Day,
    /// A cluster's topic gets a second partition.
    Grow { cluster: usize },
    /// A cluster's topic is made anew.
    MakeAnew { cluster: usize, keeps_id: bool },
    /// The newest record of a partition is lost.
    Cut { cluster: usize, partition: usize },
    /// Retention takes the oldest record of a partition.
    Trim { cluster: usize, partition: usize },
    /// Retention takes what the window does not reach from the changelog.
    Retain,
    /// What nobody knew the outcome of is committed.
    Land,
    /// A worker brings its index to the end of what is committed.
    Look(usize),
    /// It takes the fence.
    Fence(usize),
    /// It measures the log's end.
    Measure(usize),
    /// It brings its index there, opens its inputs and sends a checkpoint.
    Restore { worker: usize, is_stale: bool },
    /// It reads and decides, a partition before the others.
    Gather { worker: usize, first: usize },
    /// It hears of partitions.
    Learn(usize),
    /// Housekeeping of its index.
    Maintain(usize),
    /// What it sent is committed, and it is told.
    Committed(usize),
    /// What it sent is aborted, and it is told.
    Aborted(usize),
    /// It is told nothing.
    Unknown(usize),
    /// It is told that somebody else has the fence.
    Fenced(usize),
    /// It is killed.
    Crash(usize),
    /// It lets the lane go, and begins again from the log; where nothing else happens any more.
    LetGo(usize),
    /// A rebuild takes the fence.
    Claim(usize),
    /// It goes on by one step.
    Rebuild(usize),
}

impl World {
    /// What may happen next; some of it changes nothing.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.steps_of_inputs(&mut steps);
        (0..self.workers.len()).for_each(|worker| self.steps_of_worker(worker, &mut steps));
        let left = self.left;
        steps.extend(self.limbo.as_ref().map(|_| Step::Land));
        steps.extend((left.retentions > 0).then_some(Step::Retain));
        for (number, rebuild) in self.rebuilds.iter().enumerate() {
            match rebuild {
                Rebuild::Idle => steps.extend((left.rebuilds > 0).then_some(Step::Claim(number))),
                _ => steps.push(Step::Rebuild(number)),
            }
        }
        steps
    }

    fn steps_of_inputs(&self, steps: &mut Vec<Step>) {
        let left = self.left;
        steps.extend((left.days > 0).then_some(Step::Day));
        for (cluster, log) in self.inputs.iter().enumerate() {
            for id in 0..self.rules.ids {
                if left.records > 0 && self.copies[usize::from(id)] < self.rules.copies {
                    steps.push(Step::Produce { cluster, id, is_late: false });
                    steps.extend((left.late > 0).then_some(Step::Produce { cluster, id, is_late: true }));
                }
            }
            steps.extend((left.growths > 0 && log.partitions.len() == 1).then_some(Step::Grow { cluster }));
            steps.extend((left.recreations > 0).then_some(Step::MakeAnew { cluster, keeps_id: true }));
            steps.extend((left.renewals > 0).then_some(Step::MakeAnew { cluster, keeps_id: false }));
            for (partition, Partition { events, .. }) in log.partitions.iter().enumerate() {
                if !events.is_empty() {
                    steps.extend((left.cuts > 0).then_some(Step::Cut { cluster, partition }));
                    steps.extend((left.trims > 0).then_some(Step::Trim { cluster, partition }));
                }
            }
        }
    }

    fn steps_of_worker(&self, worker: usize, steps: &mut Vec<Step>) {
        let left = self.left;
        let may_crash = left.crashes > 0;
        match &self.workers[worker].phase {
            Phase::Idle { .. } => steps.extend((left.takeovers > 0).then_some(Step::Look(worker))),
            Phase::Taking { .. } => steps.extend(self.step_of_takeover(worker)),
            Phase::Held(lane) => {
                if lane.may_gather() {
                    let places = self.inputs.iter().map(|cluster| cluster.partitions.len()).sum();
                    steps.extend((0..places).map(|first| Step::Gather { worker, first }));
                }
                steps.extend(lane.is_stale(&self.inputs).then_some(Step::Learn(worker)));
                steps.extend((left.seals > 0).then_some(Step::Maintain(worker)));
                match lane.in_flight() {
                    Some(_) if lane.epoch != self.fence => steps.push(Step::Fenced(worker)),
                    Some(_) => {
                        // A client has one transaction at a time.
                        let is_free = self.limbo.as_ref().is_none_or(|sent| sent.epoch != lane.epoch);
                        steps.extend(is_free.then_some(Step::Committed(worker)));
                        steps.extend((left.aborts > 0).then_some(Step::Aborted(worker)));
                        steps.extend((left.unknowns > 0 && is_free).then_some(Step::Unknown(worker)));
                    }
                    None => {}
                }
            }
        }
        let is_up = !matches!(self.workers[worker].phase, Phase::Idle { index: None });
        steps.extend((is_up && may_crash).then_some(Step::Crash(worker)));
        let has_stale = matches!(self.workers[worker].phase, Phase::Taking { epoch: Some(_), log: Some(_), .. });
        let has_grown = self.inputs.iter().any(|cluster| cluster.partitions.len() > 1);
        steps.extend((left.stales > 0 && has_stale && has_grown).then_some(Step::Restore { worker, is_stale: true }));
    }

    /// First the fence, then the end.
    pub(crate) fn step_of_takeover(&self, worker: usize) -> Option<Step> {
        let Phase::Taking { epoch, log, .. } = &self.workers[worker].phase else { return None };
        let ends_first = self.rules.is(Mutant::EndBeforeFence);
        Some(match (epoch, log) {
            (Some(_), Some(_)) => Step::Restore { worker, is_stale: false },
            (None, None) if ends_first => Step::Measure(worker),
            (None, _) => Step::Fence(worker),
            (Some(_), None) => Step::Measure(worker),
        })
    }
}
