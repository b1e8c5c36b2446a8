//! One partition, from the fence to letting go.
//!
//! 1. take the fence: from here on nobody else can commit for the partition;
//! 2. ask the group again: who was frozen between being told and taking the fence has just pushed the rightful owner
//!    out, and goes;
//! 3. measure the end of the changelog, open transactions included;
//! 4. bring the index to that end;
//! 5. write a checkpoint: whoever holds an older fence finds out, and retention may take the genesis;
//! 6. read, decide, commit.
//!
//! Any fault drops all of it. If the group still gives the partition to this worker it begins again at 1.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use changelog::{Beginning, Positions, Progress, Restored};
use dedup::{Index, Options};
use kafka::{Cluster, Fenced, Probe, TopicFacts};
use service::Shutdown;
use tracing::{error, info, warn};
use wire::changelog::Genesis;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::window::INPUT_RETENTION;
use wire::{DigestSeed, PartitionCount, Window};

use super::changelog::{Changelog, refused};
use super::fault::Fault;
use super::figures::{INPUTS, PartitionFigures, State};
use super::input::Input;
use super::publish::Publisher;
use super::pump::{BatchLimits, End, Held, Surroundings, changes, checkpoint, pump};
use super::time::Time;
use super::waker::Waker;
use super::watch::{InputState, Watch};
use crate::crash::{self, Step};

/// First pause after a fault; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Last pause after faults.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Time for an answer of the output cluster.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// Wakes the loop.
    pub waker: Waker,
    /// What it tells of itself.
    pub figures: &'a PartitionFigures,
}

impl Owner<'_> {
    /// Works until the partition is to be let go.
    ///
    /// # Errors
    /// The reason why somebody has to decide; the process is to stop.
    pub fn run(&self) -> Result<(), String> {
        let counters = self.figures.counters();
        let mut pause = RETRY_FIRST;
        let partition = self.partition;
        loop {
            let batches = counters.batches.load(Relaxed);
            let reason = match self.hold() {
                Ok(()) | Err(Fault::Released) => return Ok(()),
                Err(Fault::Refused(reason)) => return Err(reason),
                Err(Fault::Index(reason)) => {
                    counters.indexes_thrown_away.fetch_add(1, Relaxed);
                    if let Err(error) = Index::destroy(&self.plan.index_dir(partition)) {
                        error!(partition, %error, "the index cannot be thrown away");
                    }
                    reason
                }
                Err(Fault::Again(reason)) => reason,
            };
            counters.faults.fetch_add(1, Relaxed);
            if counters.batches.load(Relaxed) > batches {
                pause = RETRY_FIRST;
            }
            warn!(partition, reason, "everything uncommitted was dropped; beginning again from the changelog");
            self.figures.state_is(State::Failing(reason));
            if self.stop.wait_timeout(pause) {
                return Ok(());
            }
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    fn hold(&self) -> Result<(), Fault> {
        let (plan, partition) = (self.plan, self.partition);
        self.is_confirmed()?;
        crash::at(Step::Fencing);
        let publisher = self.fence()?;
        crash::at(Step::Fenced);
        self.is_confirmed()?;
        crash::at(Step::Confirmed);
        let (genesis, mut restored) = self.restore(&publisher)?;
        crash::at(Step::Restored);
        let records = restored.records;
        let clock = restored.clock(Duration::from_millis(genesis.window.bucket_ms()), INPUT_RETENTION);
        let counters = self.figures.counters();
        counters.replayed.fetch_add(records, Relaxed);
        if let Some(reason) = restored.thrown_away.take() {
            counters.indexes_thrown_away.fetch_add(1, Relaxed);
            warn!(partition, %reason, "the index was thrown away and made again from the changelog");
        }
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
            publisher: Publisher::Shadow,
        };
        self.figures.index_is(held.index.stats(), held.clock.now_ms());
        held.shadow_offset = held.index.applied().map_or(0, |point| point.next_offset);
        checkpoint(&mut held, &publisher)?;
        crash::at(Step::Checkpointed);
        held.publisher = publisher;
        counters.takeovers.fetch_add(1, Relaxed);
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
            match pump(&mut held, &inputs, &around)? {
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
        Ok(Publisher::Kafka { producer, partition: self.partition, end: 0.into() })
    }

    /// Measures the changelog's end and brings the index there. An empty changelog gets its genesis first.
    fn restore(&self, publisher: &Publisher) -> Result<(Genesis, Restored<Index>), Fault> {
        let (plan, partition) = (self.plan, self.partition);
        let probe = Probe::new(&plan.output, PROBE_TIMEOUT)?;
        let facts = probe.topic(EVENTS_INDEX)?;
        self.same_count(&facts)?;
        let dir = plan.index_dir(partition);
        let tell = &mut |progress: Progress| {
            self.figures.state_is(State::Restoring(progress));
            crash::at(Step::Restoring);
            if self.stop.is_triggered() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let is_stopped = || self.stop.is_triggered();
        let measure = || -> Result<Changelog<'_>, Fault> {
            let marks = probe.watermarks(EVENTS_INDEX, partition)?;
            Ok(Changelog { cluster: &plan.output, facts: &facts, partition, marks, is_stopped: &is_stopped })
        };
        self.figures.state_is(State::Restoring(Progress::default()));
        let mut changelog = measure()?;
        crash::at(Step::Measured);
        let genesis = match changelog.genesis() {
            Ok(Some(genesis)) => genesis,
            Ok(None) if plan.is_shadow => {
                return Err(Fault::Again(format!("{EVENTS_INDEX} {partition} is empty; there is nothing to shadow")));
            }
            // Nothing was ever committed, or what was is gone.
            none @ (Ok(None) | Err(Fault::Refused(_))) => {
                if !plan.may_begin_anew {
                    none?;
                    self.is_new(&probe, &dir)?;
                }
                let genesis = new_genesis(plan.partition_count, plan.window, (plan.wall_ms)())?;
                publisher.genesis(&genesis)?;
                changelog = measure()?;
                genesis
            }
            Err(fault) => return Err(fault),
        };
        let beginning = if plan.may_begin_anew { Beginning::MayBeGone } else { Beginning::MustBeThere };
        let restored = changelog::restore(&mut changelog, &dir, None, (&genesis, &plan.options), beginning, tell);
        let restored = restored.map_err(|error| refused(partition, error))?;
        publisher.changelog_ends_at(changelog.marks.high);
        let count = genesis.partition_count;
        if count != plan.partition_count {
            return Err(Fault::Refused(format!(
                "{EVENTS_INDEX} {partition} was begun with {} partitions, and the topics have {}; events would lie in \
                 partitions where their repeats are not known",
                count.get(),
                plan.partition_count.get()
            )));
        }
        Ok((genesis, restored))
    }

    /// Whether an empty changelog is a new one, and not one that was lost.
    fn is_new(&self, probe: &Probe, dir: &Path) -> Result<(), Fault> {
        let partition = self.partition;
        let lost = if probe.watermarks(EVENTS_DEDUPED, partition)?.high > 0 {
            "there is output in events.deduped"
        } else if dir.join("identity").exists() {
            "there is an index"
        } else {
            return Ok(());
        };
        Err(Fault::Refused(format!(
            "{EVENTS_INDEX} {partition} is empty, but {lost}: what was published is not known any more, and would be \
             published again. Make it again with `dedup-worker rebuild --from events.deduped`, or begin anew with \
             `dedup-worker run --begin-anew`"
        )))
    }

    fn same_count(&self, facts: &TopicFacts) -> Result<(), Fault> {
        let count = self.plan.partition_count.get();
        if facts.partition_count == count {
            return Ok(());
        }
        let found = facts.partition_count;
        Err(Fault::Refused(format!("{EVENTS_INDEX} has {found} partitions by now; it had {count}")))
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
    let seed = getrandom::u64().map_err(|error| Fault::Refused(format!("no random numbers: {error}")))?;
    Ok(Genesis { partition_count, seed: DigestSeed(seed), window, created_ms })
}
