//! One partition, from the first look to letting go.
//!
//! 1. look at the changelog, and bring the index to what is committed there, while the owner before may still work. What
//!    must be refused is refused here, without a fence: a fence would push out whoever puts it right;
//! 2. ask the group whether the partition still is this worker's, and take the fence: from here on nobody else can commit
//!    for the partition;
//! 3. ask the group again: who was frozen between being told and taking the fence has just pushed the rightful owner
//!    out, and goes;
//! 4. measure the end of the changelog, open transactions included;
//! 5. bring the index to that end;
//! 6. write a checkpoint: whoever holds an older fence finds out, and retention may take the genesis;
//! 7. read, decide, commit.
//!
//! Any fault drops all of it. If the group still gives the partition to this worker it begins again at 1. Nothing that
//! happens to one partition ends the process.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use changelog::{Beginning, Positions, Progress, RestoreError, Restored, newest, unfinished};
use dedup::{Index, Options};
use kafka::{Cluster, Fenced, Isolation, Probe, Read, Reader, TopicFacts};
use service::Shutdown;
use tracing::{error, info, warn};
use wire::changelog::Genesis;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::window::INPUT_RETENTION;
use wire::{DigestSeed, PartitionCount, Window};

use super::changelog::{Changelog, refused};
use super::fault::Fault;
use super::figures::{INPUTS, PartitionFigures, State};
use super::held::Held;
use super::input::Input;
use super::publish::{Publisher, Way};
use super::pump::{BatchLimits, End, Surroundings, changes, pump};
use super::time::Time;
use super::waker::Waker;
use super::watch::{InputState, Watch};
use crate::crash::{self, Step};

/// First pause after a fault; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Last pause after faults.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Between two looks at a partition that is refused.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Time for an answer of the output cluster.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// A transaction that is open for longer than a commit takes may be a dead worker's, which only the fence ends.
const OPEN_MAX: Duration = Duration::from_millis(100);
/// Between two looks at whether it still is.
const OPEN_PAUSE: Duration = Duration::from_millis(10);
/// Time of one poll for the first record of the output.
const POLL: Duration = Duration::from_millis(50);

/// What every partition's owner works with.
#[derive(Debug)]
pub struct Plan {
    /// The cluster of output and changelog.
    pub output: Cluster,
    /// The inputs.
    pub watches: Vec<Arc<Watch>>,
    /// Folder of the indexes.
    pub data: PathBuf,
    /// Settings of an index.
    pub options: Options,
    /// Size of batches.
    pub limits: BatchLimits,
    /// Longest life of a transaction, and of a wait for it.
    pub transaction_timeout: Duration,
    /// Window of a changelog that does not exist yet.
    pub window: Window,
    /// Partitions of every topic.
    pub partition_count: PartitionCount,
    /// Nothing is published.
    pub is_shadow: bool,
    /// An empty changelog beside output or an index is begun anew, and one whose beginning is gone is taken as it is; else
    /// both are refused.
    pub may_begin_anew: bool,
    /// The wall clock, milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
}

impl Plan {
    /// Folder of one partition's index.
    pub fn index_dir(&self, partition: u32) -> PathBuf {
        index_dir(&self.data, partition)
    }
}

/// Folder of one partition's index below the data folder.
pub fn index_dir(data: &Path, partition: u32) -> PathBuf {
    data.join(format!("index-{partition:05}"))
}

/// The one transactional id of a partition, the same for every worker there will ever be.
pub fn transactional_id(partition: u32) -> String {
    format!("turnstile.{EVENTS_INDEX}.{partition}")
}

/// One partition that this worker should own.
pub struct Owner<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Which partition.
    pub partition: u32,
    /// Asks the group whether it is still this worker's.
    pub confirms: &'a dyn Fn() -> bool,
    /// Given when it is to be let go.
    pub stop: &'a Shutdown,
    /// Whether that was given, for whoever reads meanwhile.
    pub is_stopped: &'a dyn Fn() -> bool,
    /// Wakes the loop.
    pub waker: Waker,
    /// What it tells of itself.
    pub figures: &'a PartitionFigures,
}

/// The index at some end of the changelog, and what that began with.
type Known = (Genesis, Restored<Index>);

impl Owner<'_> {
    /// Works until the partition is to be let go.
    pub fn run(&self) {
        let counters = self.figures.counters();
        let mut pause = RETRY_FIRST;
        let mut refused = None;
        let partition = self.partition;
        while !self.stop.is_triggered() {
            let batches = counters.batches.load(Relaxed);
            let held = catch_unwind(AssertUnwindSafe(|| self.hold()));
            let fault = match held {
                Ok(Ok(()) | Err(Fault::Released)) => return,
                // Whoever takes over does so by the fence, perhaps in the middle of the last commit. That is no fault.
                Ok(Err(fault)) if self.stop.is_triggered() => {
                    let reason = fault.to_string();
                    info!(partition, reason, "everything uncommitted was dropped; the partition is let go");
                    return;
                }
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Again("a bug in this program; what it said stands above".into()),
            };
            let state = match fault {
                Fault::RefusedByLog(reason) => State::RefusedByLog(reason),
                Fault::RefusedHere(reason) => State::RefusedHere(reason),
                fault => {
                    refused = None;
                    counters.faults.fetch_add(1, Relaxed);
                    if let Fault::Index(_) = fault {
                        self.throw_away();
                    }
                    if counters.batches.load(Relaxed) > batches {
                        pause = RETRY_FIRST;
                    }
                    let reason = fault.to_string();
                    warn!(partition, reason, "everything uncommitted was dropped; beginning again from the changelog");
                    self.figures.state_is(State::Failing(reason, pause));
                    self.stop.wait_timeout(pause);
                    pause = (pause * 2).min(RETRY_LAST);
                    continue;
                }
            };
            if let State::RefusedByLog(reason) | State::RefusedHere(reason) = &state
                && refused.as_ref() != Some(&state)
            {
                error!(partition, reason, "the partition is refused; it is looked at again until that is put right");
            }
            self.figures.state_is(state.clone());
            refused = Some(state);
            self.stop.wait_timeout(LOOK_AGAIN);
        }
    }

    fn throw_away(&self) {
        self.figures.counters().indexes_thrown_away.fetch_add(1, Relaxed);
        if let Err(error) = Index::destroy(&self.plan.index_dir(self.partition)) {
            error!(partition = self.partition, %error, "the index cannot be thrown away");
        }
    }

    fn hold(&self) -> Result<(), Fault> {
        let (plan, partition) = (self.plan, self.partition);
        let known = if plan.is_shadow { None } else { self.look()? };
        self.is_confirmed()?;
        crash::at(Step::Fencing);
        let publisher = self.fence()?;
        crash::at(Step::Fenced);
        self.is_confirmed()?;
        crash::at(Step::Confirmed);
        let (genesis, mut restored, publisher) = self.restore(publisher, known)?;
        crash::at(Step::Restored);
        let records = restored.records;
        let clock = restored.clock(Duration::from_millis(genesis.window.bucket_ms()), INPUT_RETENTION);
        self.replayed(&mut restored);
        let mut held = Held {
            partition,
            genesis,
            index: restored.state,
            positions: restored.positions,
            checkpoint_ms: clock.now_ms(),
            clock,
            time: Time::new(plan.wall_ms),
            shadow_offset: 0,
            is_late: [false; INPUTS],
        };
        self.figures.index_is(held.index.stats(), held.clock.now_ms());
        held.shadow_offset = held.index.applied().map_or(0, |point| point.next_offset);
        let checkpoint = held.checkpoint();
        let (mut publisher, committed) = publisher.checkpoint(&checkpoint)?;
        held.checkpointed(checkpoint.clock_ms, committed);
        crash::at(Step::Checkpointed);
        self.figures.counters().takeovers.fetch_add(1, Relaxed);
        info!(partition, records, "the partition is taken over");
        self.figures.state_is(State::Running);
        loop {
            // Counted first: what changes while the inputs are opened is noticed.
            let changes = changes(&plan.watches);
            let inputs = self.inputs(&held);
            let around = Surroundings {
                limits: plan.limits,
                watches: &plan.watches,
                changes,
                stop: self.stop,
                waker: &self.waker,
                figures: self.figures,
            };
            let (end, kept) = pump(&mut held, publisher, &inputs, &around)?;
            publisher = kept;
            match end {
                End::InputsChanged => {}
                End::InputCut(place) => self.forget(&mut held.positions, &inputs[place].1),
                End::Stopped => break,
            }
        }
        // So that whoever opens it next replays next to nothing.
        if let Err(error) = held.index.seal() {
            warn!(partition, %error, "the index was not sealed; the next start replays more");
        }
        info!(partition, "the partition is let go");
        Ok(())
    }

    /// Before the fence, so that nobody is pushed out needlessly, and after it, so that nobody has been.
    fn is_confirmed(&self) -> Result<(), Fault> {
        if (self.confirms)() {
            return Ok(());
        }
        // A revocation will follow, or the group is in the middle of a rebalance.
        Err(Fault::Again("the group does not confirm the partition".into()))
    }

    fn fence(&self) -> Result<Publisher, Fault> {
        self.figures.state_is(State::Fencing);
        if self.plan.is_shadow {
            // What it had decided for itself is no truth.
            Index::destroy(&self.plan.index_dir(self.partition))?;
            return Ok(Publisher::Shadow);
        }
        let id = transactional_id(self.partition);
        let producer = Fenced::take(&self.plan.output, &id, self.plan.transaction_timeout)?;
        Ok(Publisher::Kafka(Way::new(producer, self.partition)))
    }

    /// Brings the index to what is committed, without a fence, and refuses what has to be refused. Nothing where the changelog
    /// is new.
    ///
    /// Nor is there anything while somebody's transaction stays open: the changelog can be read up to its beginning, which
    /// may lie before what the index knows, and an index that is ahead of what can be read is believed by nobody.
    fn look(&self) -> Result<Option<Known>, Fault> {
        let (whole, committed) =
            (Probe::new(&self.plan.output, PROBE_TIMEOUT)?, Probe::committed(&self.plan.output, PROBE_TIMEOUT)?);
        let facts = whole.topic(EVENTS_INDEX)?;
        self.same_count(&facts)?;
        // What the index knows lies before this end.
        let end = self.changelog(&whole, &facts)?.marks.high;
        let begun = Instant::now();
        let mut changelog = self.changelog(&committed, &facts)?;
        while changelog.marks.high < end && begun.elapsed() < OPEN_MAX && !self.stop.wait_timeout(OPEN_PAUSE) {
            changelog = self.changelog(&committed, &facts)?;
        }
        let Some(genesis) = self.genesis(&mut changelog, &whole)? else { return Ok(None) };
        if changelog.marks.high < end {
            let refused = |error| refused(self.partition, error);
            let newest = newest::<_, Index>(&mut changelog).map_err(refused)?;
            let is_unfinished = newest.is_some_and(|newest| unfinished::is_marked(newest.positions.as_slice()));
            return if is_unfinished { Err(refused(RestoreError::Unfinished)) } else { Ok(None) };
        }
        let mut restored = self.replay(&mut changelog, &genesis, None)?;
        self.replayed(&mut restored);
        Ok(Some((genesis, restored)))
    }

    /// Measures the changelog's end and brings the index there. An empty changelog gets its genesis first.
    fn restore(
        &self,
        mut publisher: Publisher,
        known: Option<Known>,
    ) -> Result<(Genesis, Restored<Index>, Publisher), Fault> {
        let plan = self.plan;
        let probe = Probe::new(&plan.output, PROBE_TIMEOUT)?;
        let facts = probe.topic(EVENTS_INDEX)?;
        self.same_count(&facts)?;
        let mut changelog = self.changelog(&probe, &facts)?;
        crash::at(Step::Measured);
        let (known, kept) = known.map(|(genesis, restored)| (genesis, restored.state)).unzip();
        let found = if known.is_some() { known } else { self.genesis(&mut changelog, &probe)? };
        let genesis = if let Some(genesis) = found {
            genesis
        } else {
            let genesis = new_genesis(plan.partition_count, plan.window, (plan.wall_ms)())?;
            publisher = publisher.genesis(&genesis)?;
            changelog = self.changelog(&probe, &facts)?;
            genesis
        };
        let restored = self.replay(&mut changelog, &genesis, kept)?;
        publisher.changelog_ends_at(changelog.marks.high);
        Ok((genesis, restored, publisher))
    }

    /// The changelog up to its end as that is now, as far as the client that asks may see.
    fn changelog<'c>(&'c self, probe: &Probe, facts: &'c TopicFacts) -> Result<Changelog<'c>, Fault> {
        let marks = probe.watermarks(EVENTS_INDEX, self.partition)?;
        Ok(Changelog {
            cluster: &self.plan.output,
            facts,
            partition: self.partition,
            marks,
            is_stopped: self.is_stopped,
        })
    }

    /// What the changelog began with; `None` where it is to be begun.
    fn genesis(&self, changelog: &mut Changelog<'_>, probe: &Probe) -> Result<Option<Genesis>, Fault> {
        let (plan, partition) = (self.plan, self.partition);
        let genesis = match changelog.genesis() {
            Ok(Some(genesis)) => genesis,
            Ok(None) if plan.is_shadow => {
                return Err(Fault::Again(format!("{EVENTS_INDEX} {partition} is empty; there is nothing to shadow")));
            }
            // Nothing was ever committed, or what was is gone.
            none @ (Ok(None) | Err(Fault::RefusedByLog(_))) => {
                if !plan.may_begin_anew {
                    none?;
                    self.is_new(probe, &plan.index_dir(partition))?;
                }
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        let (count, expected) = (genesis.partition_count.get(), plan.partition_count.get());
        if count != expected {
            return Err(Fault::RefusedByLog(format!(
                "{EVENTS_INDEX} {partition} was begun with {count} partitions, and the topics have {expected}; events would \
                 lie in partitions where their repeats are not known"
            )));
        }
        Ok(Some(genesis))
    }

    /// Brings the index to the measured end: the one that is kept, or the one in its folder.
    fn replay(
        &self,
        changelog: &mut Changelog<'_>,
        genesis: &Genesis,
        kept: Option<Index>,
    ) -> Result<Restored<Index>, Fault> {
        let plan = self.plan;
        self.figures.state_is(State::Restoring(Progress::default()));
        let tell = &mut |progress: Progress| {
            self.figures.state_is(State::Restoring(progress));
            crash::at(Step::Restoring);
            if self.stop.is_triggered() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let beginning = if plan.may_begin_anew { Beginning::MayBeGone } else { Beginning::MustBeThere };
        let (dir, made) = (plan.index_dir(self.partition), (genesis, &plan.options));
        let restored = changelog::restore(changelog, &dir, kept, made, beginning, tell);
        restored.map_err(|error| refused(self.partition, error))
    }

    /// Counts what a replay did, and says why it had to make the index again, if it had to.
    fn replayed(&self, restored: &mut Restored<Index>) {
        let counters = self.figures.counters();
        counters.replayed.fetch_add(restored.records, Relaxed);
        if let Some(reason) = restored.thrown_away.take() {
            counters.indexes_thrown_away.fetch_add(1, Relaxed);
            warn!(partition = self.partition, %reason, "the index was thrown away and made again from the changelog");
        }
    }

    /// Whether an empty changelog is a new one, and not one that was lost.
    fn is_new(&self, probe: &Probe, dir: &Path) -> Result<(), Fault> {
        let partition = self.partition;
        let lost = if self.has_output(probe)? {
            "there is output in events.deduped"
        } else if dir.join("identity").exists() {
            "there is an index"
        } else {
            return Ok(());
        };
        Err(Fault::RefusedByLog(format!(
            "{EVENTS_INDEX} {partition} is empty, but {lost}: what was published is not known any more, and would be \
             published again. Make it again with `dedup-worker rebuild --from events.deduped`, or begin anew with \
             `dedup-worker run --begin-anew`"
        )))
    }

    /// Whether anything was ever published. The mark that an aborted transaction leaves is an offset, and no output.
    fn has_output(&self, probe: &Probe) -> Result<bool, Fault> {
        let marks = probe.watermarks(EVENTS_DEDUPED, self.partition)?;
        if marks.low > 0 || marks.low == marks.high {
            return Ok(marks.low > 0);
        }
        let (cluster, partition) = (&self.plan.output, self.partition);
        let reader = Reader::open(cluster, EVENTS_DEDUPED, partition, marks.low, Isolation::Committed)?;
        let begun = Instant::now();
        while begun.elapsed() < PROBE_TIMEOUT && !self.stop.is_triggered() {
            match reader.read(POLL) {
                Read::Record(_) | Read::OutOfRange => return Ok(true),
                Read::End => return Ok(false),
                Read::Nothing | Read::Trouble(_) => {}
            }
        }
        Err(Fault::Again(format!("{EVENTS_DEDUPED} {partition} cannot be read")))
    }

    fn same_count(&self, facts: &TopicFacts) -> Result<(), Fault> {
        let count = self.plan.partition_count.get();
        if facts.partition_count == count {
            return Ok(());
        }
        let found = facts.partition_count;
        Err(Fault::RefusedByLog(format!("{EVENTS_INDEX} has {found} partitions by now; it had {count}")))
    }

    /// The log of that input was cut, so that where it was read to means nothing any more.
    fn forget(&self, positions: &mut Positions, input: &Input) {
        let (partition, cluster) = (self.partition, input.cluster());
        let facts = input.facts();
        let read_to = positions.of(facts.cluster_id.as_bytes(), facts.topic_id).map(|position| position.next_offset);
        error!(
            partition,
            cluster,
            read_to,
            "the input was cut, and no longer holds what was read from it; it is read from its earliest record"
        );
        positions.forget(facts.cluster_id.as_bytes(), facts.topic_id);
    }

    /// Opens the inputs that can be read now. One that does not answer is opened when it does: to ask it here would keep
    /// the others waiting.
    fn inputs(&self, held: &Held) -> Vec<(usize, Input)> {
        self.figures.lags_are_unknown();
        let mut inputs = Vec::new();
        for (place, watch) in self.plan.watches.iter().enumerate() {
            let facts = match watch.state() {
                InputState::Ready(facts) => facts,
                InputState::Away(..) => {
                    watch.forget();
                    continue;
                }
                InputState::Unknown | InputState::Unfit(_) => continue,
            };
            let position = held.positions.of(facts.cluster_id.as_bytes(), facts.topic_id);
            let clock_ms = held.clock.now_ms();
            match Input::open(watch.cluster(), facts, self.partition, position, clock_ms) {
                Ok(mut input) => {
                    let waker = self.waker.clone();
                    input.on_readable(move || waker.wake());
                    inputs.push((place, input));
                }
                // It has just gone away. The others are read; this one is opened when it is back.
                Err(fault) => {
                    let cluster = watch.cluster().name();
                    warn!(partition = self.partition, cluster, %fault, "the input cannot be opened now");
                    watch.forget();
                }
            }
        }
        inputs
    }
}

/// A genesis with a seed of its own.
///
/// # Errors
/// Where the operating system has no random numbers.
pub fn new_genesis(partition_count: PartitionCount, window: Window, created_ms: i64) -> Result<Genesis, Fault> {
    let seed = getrandom::u64().map_err(|error| Fault::Again(format!("no random numbers: {error}")))?;
    Ok(Genesis { partition_count, seed: DigestSeed(seed), window, created_ms })
}
