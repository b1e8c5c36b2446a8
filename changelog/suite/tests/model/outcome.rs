//! What a step makes of a world.

use std::rc::Rc;

use wire::changelog::Link;

use crate::index::Index;
use crate::input::{Cluster, Partition};
use crate::invariants::Violation;
use crate::lane::Lane;
use crate::mutant::Mutant;
use crate::rebuild::{Rebuild, batch, beginning, end, identities, mark};
use crate::rules::{BUCKET_MS, Rules, START_MS, window};
use crate::step::Step;
use crate::worker::{Phase, Refused, Worker, genesis_of};
use crate::world::World;

impl World {
    /// What a step makes of it; `None` where it changes nothing.
    pub(crate) fn after(&self, step: Step) -> Result<Option<Self>, Violation> {
        let mut next = self.clone();
        if !next.take(step)? {
            return Ok(None);
        }
        next.nothing_is_out_twice()?;
        Ok(Some(next))
    }

    fn take(&mut self, step: Step) -> Result<bool, Violation> {
        match step {
            Step::Produce { cluster, id, is_late } => self.produce(cluster, id, is_late),
            Step::Day => {
                self.left.days -= 1;
                self.now_ms += BUCKET_MS;
            }
            Step::Grow { cluster } => {
                self.left.growths -= 1;
                self.inputs[cluster].partitions.push(Partition::default());
            }
            Step::MakeAnew { cluster, keeps_id } => {
                let left = if keeps_id { &mut self.left.recreations } else { &mut self.left.renewals };
                *left -= 1;
                self.inputs[cluster].make_anew(keeps_id);
            }
            Step::Cut { cluster, partition } => {
                self.left.cuts -= 1;
                self.inputs[cluster].partitions[partition].cut();
            }
            Step::Trim { cluster, partition } => return Ok(self.trim(cluster, partition)),
            Step::Retain => return Ok(self.retain()),
            Step::Land => {
                let Some(sent) = self.limbo.take() else { return Ok(false) };
                self.land(&sent);
            }
            Step::Claim(number) => {
                self.left.rebuilds = self.left.rebuilds.saturating_sub(1);
                let epoch = self.take_fence();
                self.settle(epoch);
                self.rebuilds[number] = Rebuild::Fenced { epoch };
            }
            Step::Rebuild(number) => self.rebuild(number),
            Step::Look(worker)
            | Step::Fence(worker)
            | Step::Measure(worker)
            | Step::Restore { worker, .. }
            | Step::Gather { worker, .. }
            | Step::Learn(worker)
            | Step::Maintain(worker)
            | Step::Committed(worker)
            | Step::Aborted(worker)
            | Step::Unknown(worker)
            | Step::Fenced(worker)
            | Step::Crash(worker)
            | Step::LetGo(worker) => return self.work(worker, step),
        }
        Ok(true)
    }

    fn produce(&mut self, cluster: usize, id: u8, is_late: bool) {
        self.left.records -= 1;
        self.left.late -= u8::from(is_late);
        self.copies[usize::from(id)] += 1;
        // No two records are appended at the same time.
        self.now_ms += 1;
        let received_ms = if is_late { START_MS / 2 } else { self.now_ms };
        self.inputs[cluster].produce(id, received_ms, self.now_ms);
    }

    /// Retention of an input takes a record whose id is out already; any other would be lost.
    fn trim(&mut self, cluster: usize, partition: usize) -> bool {
        let log = &mut self.inputs[cluster].partitions[partition];
        let is_out = self.output.iter().any(|published| published.event.id == log.at(log.start).id);
        if is_out {
            self.left.trims -= 1;
            log.trim();
        }
        is_out
    }

    /// Retention of the changelog leaves a record at its beginning that is no younger than the window's oldest bucket.
    fn retain(&mut self) -> bool {
        let Some(newest) = self.newest() else { return false };
        let oldest = window().oldest(newest.clock_ms);
        let mut rest = self.truth.clone();
        let offsets: Vec<_> = rest.records().map(|(placed, _)| placed.offset).collect();
        for offset in offsets {
            let mut shorter = rest.clone();
            shorter.delete_before(offset);
            let first = changelog::first::<_, Index>(&mut shorter).ok().flatten();
            if first.is_some_and(|first| window().at(first.clock_ms) <= oldest) {
                rest = shorter;
            }
        }
        let is_shorter = rest.begin() > self.truth.begin();
        if is_shorter {
            self.left.retentions -= 1;
            self.truth = rest;
        }
        is_shorter
    }

    fn rebuild(&mut self, number: usize) {
        let rebuild = self.rebuilds[number];
        let has_fence = rebuild.epoch() == Some(self.fence);
        let append = |world: &mut Self, record: Rc<[u8]>| {
            let point = world.truth.append(&record, world.now_ms);
            Link { end: point.next_offset, checksum: point.checksum }
        };
        self.rebuilds[number] = match rebuild {
            // It needs no fence.
            Rebuild::Marked { epoch, offset, checksum } => {
                let newest = self.truth.records().last().map_or(offset, |(placed, _)| placed.offset);
                let is_greedy = self.rules.is(Mutant::DeletesPastItsMark);
                self.truth.delete_before(if is_greedy { newest } else { offset });
                Rebuild::Deleted { epoch, offset, checksum }
            }
            _ if !has_fence => Rebuild::Idle,
            Rebuild::Fenced { epoch } => {
                let Link { end, checksum } = append(self, mark(epoch, self.now_ms));
                Rebuild::Marked { epoch, offset: end - 1, checksum }
            }
            Rebuild::Deleted { epoch, offset, checksum } => {
                let earliest = self.inputs.iter().flat_map(Cluster::events).map(|event| event.appended_ms);
                let created_ms = earliest.min().unwrap_or(self.now_ms);
                let mark = Link { end: offset + 1, checksum };
                let Link { end, checksum } = append(self, beginning(mark, &genesis_of(epoch, created_ms)));
                Rebuild::Begun { epoch, created_ms, end, checksum }
            }
            Rebuild::Begun { epoch, created_ms, end: before, checksum } => {
                let genesis = genesis_of(epoch, created_ms);
                let (entries, clock_ms) = identities(&genesis, &self.output);
                let mut before = Link { end: before, checksum };
                if !entries.is_empty() {
                    before = append(self, batch(before, clock_ms, &entries));
                }
                append(self, end(before, genesis, clock_ms));
                Rebuild::Idle
            }
            Rebuild::Idle => Rebuild::Idle,
        };
    }

    fn work(&mut self, number: usize, step: Step) -> Result<bool, Violation> {
        let rules = self.rules;
        // The others are untouched by what this one does in its own memory.
        let mut worker = std::mem::replace(&mut self.workers[number], Worker::new());
        let outcome = self.work_of(&mut worker, step, &rules);
        self.workers[number] = worker;
        match outcome {
            Ok(is_changed) => Ok(is_changed),
            Err(Refused::Unfinished) => Ok(true),
            Err(Refused::Violation(violation)) => Err(violation),
        }
    }

    fn work_of(&mut self, worker: &mut Worker, step: Step, rules: &Rules) -> Result<bool, Refused> {
        match step {
            Step::Look(_) => {
                self.left.takeovers = self.left.takeovers.saturating_sub(1);
                worker.look(rules, &self.truth)?;
            }
            Step::Fence(_) => {
                let taken = self.take_fence();
                if let Phase::Taking { epoch, log, .. } = &mut worker.phase {
                    *epoch = Some(taken);
                    // Its end was measured before.
                    if log.is_some() {
                        self.settle(taken);
                    }
                }
            }
            Step::Measure(_) => {
                if let Phase::Taking { epoch: Some(epoch), .. } = &worker.phase {
                    self.settle(*epoch);
                }
                if let Phase::Taking { log, .. } = &mut worker.phase {
                    *log = Some(self.truth.clone());
                }
            }
            Step::Restore { is_stale, .. } => return self.restore(worker, is_stale),
            Step::Crash(_) => {
                self.left.crashes -= 1;
                self.goes_into_limbo(worker);
                worker.crash();
            }
            Step::LetGo(_) => {
                self.goes_into_limbo(worker);
                worker.fault();
            }
            Step::Fenced(_) => worker.fault(),
            Step::Unknown(_) => {
                self.left.unknowns -= 1;
                self.goes_into_limbo(worker);
                let epoch = worker.lane().map(|lane| lane.epoch);
                worker.fault();
                if let Phase::Idle { index } = &mut worker.phase
                    && rules.is(Mutant::OldFence)
                {
                    worker.phase = Phase::Taking { index: index.take(), epoch, log: None };
                }
            }
            Step::Aborted(_) => {
                self.left.aborts -= 1;
                self.truth.abort();
                if !worker.lane_mut().is_some_and(Lane::goes_on_after_abort) {
                    worker.fault();
                }
            }
            Step::Committed(_) => {
                let Some(sent) = worker.in_flight().cloned() else { return Ok(false) };
                let point = self.land(&sent);
                worker.lane_mut().expect("it has sent").committed(point);
            }
            Step::Gather { first, .. } => {
                let lane = worker.lane_mut().expect("it gathers");
                return Ok(lane.gather(&self.inputs, first, self.now_ms));
            }
            Step::Learn(_) => worker.lane_mut().expect("it learns").learn(&self.inputs),
            Step::Maintain(_) => {
                self.left.seals -= 1;
                worker.lane_mut().expect("it maintains").maintain();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Nobody who could be told waits for what was sent.
    fn goes_into_limbo(&mut self, worker: &Worker) {
        if let Some(sent) = worker.in_flight().filter(|sent| sent.epoch == self.fence) {
            self.limbo = Some(sent.clone());
        }
    }

    fn restore(&mut self, worker: &mut Worker, is_stale: bool) -> Result<bool, Refused> {
        let Phase::Taking { epoch, log, .. } = &mut worker.phase else { return Ok(false) };
        let (Some(epoch), Some(mut log)) = (*epoch, log.take()) else { return Ok(false) };
        self.left.stales -= u8::from(is_stale);
        if log.end() == 0 {
            // The genesis is a transaction of its own, and the end is measured again behind it.
            if epoch != self.fence {
                worker.fault();
                return Ok(true);
            }
            self.begin();
            log = self.truth.clone();
        }
        let seen = self.inputs.iter().map(|cluster| if is_stale { 1 } else { cluster.partitions.len() });
        worker.restore(&self.rules, epoch, log, seen.collect())?;
        Ok(true)
    }
}
