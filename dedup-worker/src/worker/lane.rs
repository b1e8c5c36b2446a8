//! What is done in one partition: read both inputs, decide, publish, remember.

use std::sync::Arc;
use std::time::{Duration, Instant};

use changelog::{Clock, Positions, Restored};
use dedup::{Candidate, Index, IndexError, Options, Remedy, Verdict};
use kafka::{Isolation, LogReader, Probe, Read};
use ownership::{Committed, Fault, Gathered, Stamp, Waker, Work};
use tracing::{error, info, warn};
use wire::changelog::{Checkpoint, Genesis, encode_checkpoint, encode_genesis};
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::window::INPUT_RETENTION;
use wire::{DigestSeed, PartitionCount, Window};

use super::batch::{Fate, Job};
use super::decode::{Undecodable, decode};
use super::figures::{Figures, INPUTS, PartitionFigures};
use super::inputs::Inputs;
use super::plan::Plan;
use super::spec;
use super::time::Time;
use super::topics;
use super::waiting::{Next, Waiting};

/// Pause before an index that has no room, on a full disk, is asked again.
const NO_ROOM: Duration = Duration::from_secs(1);
/// A checkpoint is written after so many buckets, because retention takes the one before away one day.
const CHECKPOINT_BUCKETS: i64 = 1;
/// Buckets for which a clock that contradicts another one is borne: for as long nothing expires.
const STOOD_BUCKETS_MAX: u32 = 14;
/// Time for an answer of the output cluster.
const ANSWER: Duration = Duration::from_secs(10);
/// Time of one poll for the first record of the output.
const POLL: Duration = Duration::from_millis(50);
/// Longest wait between two looks at what there is to do.
const IDLE: Duration = Duration::from_millis(50);

/// One partition.
pub(crate) struct Lane {
    plan: Arc<Plan>,
    partition: u32,
    waker: Waker,
    figures: Arc<PartitionFigures>,
    /// Where those are taken off when the partition is given up.
    everybody: Arc<Figures>,
    /// `None` before the changelog was restored.
    held: Option<Held>,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
}

/// What is held of a partition whose changelog was restored.
struct Held {
    genesis: Genesis,
    positions: Positions,
    clock: Clock,
    time: Time,
    /// The clock at the newest checkpoint.
    checkpoint_ms: i64,
    wants_checkpoint: bool,
    inputs: Inputs,
    /// Inputs of which it was said that they are read too late.
    is_late: [bool; INPUTS],
    /// When the first record of the batch was read.
    first: Option<Instant>,
    /// The batch is complete and could not be decided yet: what was tried, and when it is tried again.
    undecided: Option<(Waiting, Instant)>,
    /// Since when housekeeping of the index fails.
    no_room_since: Option<Instant>,
}

impl Lane {
    /// Partition `partition`, which `waker` wakes.
    pub(crate) fn new(plan: &Arc<Plan>, partition: u32, waker: Waker, figures: &Arc<Figures>) -> Self {
        let (plan, everybody, figures) = (Arc::clone(plan), Arc::clone(figures), figures.enter(partition));
        let (candidates, verdicts) = (Vec::new(), Vec::new());
        Self { plan, partition, waker, figures, everybody, held: None, candidates, verdicts }
    }

    /// Whether an empty changelog is a new one, and not one that was lost.
    fn is_new(&self, probe: &Probe) -> Result<(), Fault> {
        let partition = self.partition;
        let lost = if self.has_output(probe)? {
            "there is output in events.deduped"
        } else if spec::index_dir(&self.plan.data, partition).join("identity").exists() {
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
        let topic = topics::EVENTS_DEDUPED;
        let mut reader = LogReader::open(cluster, topic, partition, marks.low, Isolation::Committed)?;
        let begun = Instant::now();
        while begun.elapsed() < ANSWER {
            match reader.read(POLL) {
                Read::Record(_) | Read::OutOfRange => return Ok(true),
                Read::End => return Ok(false),
                Read::Nothing | Read::Trouble(_) => {}
            }
        }
        Err(Fault::Again(format!("{EVENTS_DEDUPED} {partition} cannot be read")))
    }

    /// Moves the clock to the oldest record that is there; whether it has entered a step, which is to be committed first.
    fn move_clock(&mut self) -> Result<bool, Fault> {
        let Some(Held { clock, time, inputs, genesis, .. }) = &mut self.held else { return Ok(false) };
        let moved = clock.advance(inputs.reached(&self.plan.watches), time.now());
        time.moved(moved, self.partition);
        // A clock that stands because others contradict it keeps every bucket meanwhile. After some of them somebody has to
        // look.
        let bucket = Duration::from_millis(genesis.window.bucket_ms());
        let Some(stood) = time.contradicted_for().filter(|stood| *stood >= bucket * STOOD_BUCKETS_MAX) else {
            return Ok(clock.wants_commit());
        };
        Err(Fault::RefusedHere(format!(
            "partition {}: this host's clock and the output cluster's have contradicted each other for {} h, in which nothing \
             expired; set the wrong one right",
            self.partition,
            stood.as_secs() / 3600
        )))
    }

    /// Reads what has come into `job`; whether it is full.
    fn read(&mut self, job: &mut Job) -> bool {
        let Some(Held { genesis: Genesis { partition_count, seed, .. }, inputs, .. }) = &mut self.held else {
            return false;
        };
        let (limits, partition, candidates) = (self.plan.limits, self.partition, &mut self.candidates);
        inputs.read(|cluster, record| {
            let (record_bytes, decoded) = decode(&record, partition, *partition_count, *seed);
            job.bytes += record_bytes;
            match decoded {
                Ok(candidate) => {
                    candidates.push(candidate);
                    job.fates.push(Fate::Published);
                }
                Err(why) => {
                    if why == Undecodable::Size {
                        let offset = record.offset();
                        error!(cluster, partition, offset, record_bytes, "a record is set aside without its value");
                    }
                    job.fates.push(Fate::SetAside(why));
                }
            }
            job.records.push(record);
            job.records.len() >= limits.records_max || job.bytes >= limits.bytes_max
        })
    }

    /// Housekeeping of the index. On a full disk it is tried once a second, and not behind each batch: each try writes a whole
    /// run.
    fn maintain(&mut self, index: &mut Index, clock_ms: i64) -> Result<(), Fault> {
        let (partition, Some(held)) = (self.partition, &mut self.held) else { return Ok(()) };
        match index.maintain(clock_ms) {
            Ok(_) => {
                if let Some(since) = held.no_room_since.take() {
                    info!(partition, after_s = since.elapsed().as_secs(), "housekeeping of the index works again");
                }
            }
            Err(error) if error.remedy() == Remedy::Retry => {
                if held.no_room_since.is_none() {
                    warn!(partition, %error, "housekeeping of the index failed; it is tried again every second");
                    held.no_room_since = Some(Instant::now());
                }
            }
            Err(error) => return Err(spec::fault(&error)),
        }
        Ok(())
    }

    /// Decides the batch. Without room, as on a full disk, it waits: nothing is lost by that. A run that cannot be read
    /// after several tries is taken for damage.
    fn decide(&mut self, index: &mut Index, job: &mut Job) -> Result<Gathered, Fault> {
        let held = self.held.as_mut().ok_or(Fault::Released)?;
        let (mut waiting, again) = held.undecided.take().unwrap_or_else(|| (Waiting::default(), Instant::now()));
        let left = again.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            held.undecided = Some((waiting, again));
            return Ok(Gathered::Wait(left));
        }
        let (clock_ms, newest_ms) = (held.clock.now_ms(), held.time.now().newest_ms());
        let decided = loop {
            match index.decide(&self.candidates, clock_ms, newest_ms, &mut self.verdicts) {
                Ok(decided) => break decided,
                Err(error) if error.remedy() == Remedy::Retry => {
                    let made_room = index.maintain(clock_ms).is_ok();
                    match waiting.failed(&error, made_room) {
                        Next::AtOnce => continue,
                        Next::Damaged => return Err(Fault::Lies(error.to_string())),
                        Next::Wait { is_first: false } => {}
                        Next::Wait { is_first: true } => {
                            let partition = self.partition;
                            warn!(partition, %error, "the index cannot decide now; it is asked again every second");
                        }
                    }
                    held.undecided = Some((waiting, Instant::now() + NO_ROOM));
                    return Ok(Gathered::Wait(NO_ROOM));
                }
                Err(error) => return Err(spec::fault(&error)),
            }
        };
        let mut verdicts = self.verdicts.iter();
        for fate in job.fates.iter_mut().filter(|fate| **fate == Fate::Published) {
            if verdicts.next() == Some(&Verdict::Duplicate) {
                *fate = Fate::Dropped;
            }
        }
        job.expired = self.verdicts.iter().filter(|verdict| **verdict == Verdict::Expired).count() as u64;
        job.decided = Some(decided);
        job.partition = self.partition;
        held.inputs.enter(&mut held.positions);
        job.positions.clone_from(&held.positions);
        held.first = None;
        self.candidates.clear();
        Ok(Gathered::Ready)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.everybody.leave(self.partition);
    }
}

impl Work for Lane {
    type State = Index;
    type Batch = Job;

    fn fault(error: IndexError) -> Fault {
        spec::fault(&error)
    }

    fn settings(&self) -> &Options {
        &self.plan.options
    }

    fn begin(&mut self, probe: &Probe) -> Result<Genesis, Fault> {
        let (plan, partition) = (&self.plan, self.partition);
        if plan.is_shadow {
            return Err(Fault::Again(format!("{EVENTS_INDEX} {partition} is empty; there is nothing to shadow")));
        }
        let (found, count) = (probe.topic(EVENTS_INDEX)?.partition_count, plan.partition_count.get());
        if found != count {
            let why = format!("{EVENTS_INDEX} has {found} partitions by now; it had {count}");
            return Err(Fault::RefusedByLog(why));
        }
        if !plan.may_begin_anew {
            self.is_new(probe)?;
        }
        new_genesis(plan.partition_count, plan.window, (plan.wall_ms)())
    }

    fn accept(&self, genesis: &Genesis) -> Result<(), Fault> {
        let (count, expected) = (genesis.partition_count.get(), self.plan.partition_count.get());
        if count == expected {
            return Ok(());
        }
        let partition = self.partition;
        Err(Fault::RefusedByLog(format!(
            "{EVENTS_INDEX} {partition} was begun with {count} partitions, and the topics have {expected}; events would lie in \
             partitions where their repeats are not known"
        )))
    }

    fn genesis(&self, genesis: &Genesis, record: &mut Vec<u8>) {
        encode_genesis(record, self.partition, genesis);
    }

    fn restored(&mut self, genesis: Genesis, restored: &mut Restored<Index>) -> Result<(), Fault> {
        let clock = restored.clock(Duration::from_millis(genesis.window.bucket_ms()), INPUT_RETENTION);
        self.figures.index_is(restored.state.stats(), clock.now_ms());
        self.candidates.clear();
        self.held = Some(Held {
            genesis,
            positions: std::mem::take(&mut restored.positions),
            checkpoint_ms: clock.now_ms(),
            clock,
            time: Time::new(self.plan.wall_ms),
            wants_checkpoint: false,
            inputs: Inputs::new(self.partition, self.plan.watches.len()),
            is_late: [false; INPUTS],
            first: None,
            undecided: None,
            no_room_since: None,
        });
        Ok(())
    }

    fn gather(&mut self, index: &mut Index, job: &mut Job, is_busy: bool) -> Result<Gathered, Fault> {
        let Some(held) = &mut self.held else { return Err(Fault::Released) };
        if held.undecided.is_some() {
            return self.decide(index, job);
        }
        if held.wants_checkpoint && job.records.is_empty() {
            held.wants_checkpoint = false;
            return Ok(Gathered::Checkpoint);
        }
        loop {
            let Some(Held { inputs, positions, clock, first, .. }) = &mut self.held else {
                return Err(Fault::Released);
            };
            inputs.look(&self.plan.watches, positions, clock.now_ms(), &self.waker);
            inputs.fetch(positions);
            let before = job.records.len();
            if before == 0 && !inputs.are_settled(&self.plan.watches) {
                return Ok(Gathered::Wait(IDLE));
            }
            if !inputs.have_records() {
                let linger = self.plan.limits.linger;
                return Ok(match first.map(|first| first.elapsed()) {
                    Some(waited) if !is_busy && waited >= linger => return self.decide(index, job),
                    Some(waited) if !is_busy => Gathered::Wait(linger.saturating_sub(waited).min(IDLE)),
                    _ => Gathered::Wait(IDLE),
                });
            }
            if before == 0 && self.move_clock()? {
                return Ok(Gathered::Checkpoint);
            }
            if self.read(job) {
                return self.decide(index, job);
            }
            if let Some(held) = &mut self.held {
                held.first.get_or_insert_with(Instant::now);
            }
        }
    }

    fn checkpoint(&mut self, record: &mut Vec<u8>) {
        let Some(held) = &mut self.held else { return };
        let (positions, clock_ms) = (held.positions.as_slice().to_vec(), held.clock.now_ms());
        held.checkpoint_ms = clock_ms;
        encode_checkpoint(record, self.partition, &Checkpoint { genesis: held.genesis, positions, clock_ms });
    }

    fn checkpointed(&mut self, index: &mut Index, at: Committed) -> Result<(), Fault> {
        let Some(held) = &mut self.held else { return Ok(()) };
        index.advance(at.point, held.checkpoint_ms);
        // A shadow commits nothing, and so is told no time but this host's.
        held.time.stamped(at.stamp.unwrap_or(Stamp { appended_ms: None, heard: Instant::now() }));
        held.clock.entered();
        Ok(())
    }

    fn committed(&mut self, index: &mut Index, job: &mut Job, at: Committed) -> Result<(), Fault> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if let Some(stamp) = at.stamp {
            held.time.stamped(stamp);
        }
        let Some(decided) = job.decided.take() else { return Ok(()) };
        let clock_ms = decided.clock_ms();
        index.commit(decided, at.point);
        self.figures.batch(&job.fates, job.expired);
        if self.held.as_ref().is_some_and(|held| held.no_room_since.is_none()) {
            self.maintain(index, clock_ms)?;
        }
        Ok(())
    }

    fn tend(&mut self, index: &mut Index, is_busy: bool) -> Result<(), Fault> {
        let has_entered = !is_busy && self.move_clock()?;
        let Some(held) = &mut self.held else { return Ok(()) };
        let clock_ms = held.clock.now_ms();
        let is_due = clock_ms - held.checkpoint_ms >= CHECKPOINT_BUCKETS * held.genesis.window.bucket_ms() as i64;
        held.wants_checkpoint |= has_entered || (!self.plan.is_shadow && (is_due || held.time.wants_stamp()));
        self.maintain(index, clock_ms)?;
        self.figures.index_is(index.stats(), clock_ms);
        let Some(Held { inputs, time, is_late: was_late, .. }) = &mut self.held else { return Ok(()) };
        inputs.closed().for_each(|place| self.figures.lag_is_unknown(place));
        for (place, (records, since_ms)) in inputs.lags() {
            let behind_ms = since_ms.map_or(0, |since_ms| time.wall_ms() - since_ms).max(0) as u64;
            self.figures.lag_is(place, records, behind_ms);
            let watch = &self.plan.watches[place];
            let is_late = watch.is_late(behind_ms);
            if is_late && !was_late[place] {
                let (cluster, partition, behind_s) = (watch.cluster().name(), self.partition, behind_ms / 1000);
                error!(cluster, partition, behind_s, "what waits is half way to being deleted before it is read");
            }
            was_late[place] = is_late;
        }
        Ok(())
    }

    fn release(&mut self, mut index: Index) {
        // So that whoever opens it next replays next to nothing.
        if let Err(error) = index.seal() {
            warn!(partition = self.partition, %error, "the index was not sealed; the next start replays more");
        }
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
