//! What is done in one lane: read both inputs, decide, publish, remember.

mod gathering;

use std::sync::Arc;
use std::time::{Duration, Instant};

use changelog::{Clock, Positions, Restored};
use dedup::{Candidate, Index, IndexError, Options, Remedy, Verdict};
use kafka::{Failure, Probe, TopicFacts};
use ownership::{Committed, Fault, Gathered, Stamp, Waker, Work};
use tracing::{error, info, warn};
use wire::changelog::{Chain, Checkpoint, Genesis, encode_checkpoint, encode_genesis};
use wire::topic::EVENTS_INDEX;
use wire::window::INPUT_RETENTION;

use super::batch::Job;
use super::beginning::{is_new, new_genesis};
use super::figures::{Figures, INPUTS, LaneFigures};
use super::inputs::Inputs;
use super::named::Under;
use super::plan::Plan;
use super::rotation::Rotation;
use super::sizes::{Origin, Size};
use super::spec;
use super::stray::Stray;
use super::time::Time;
use super::waiting::Waiting;

/// Pause before an index that has no room, on a full disk, is asked again.
const NO_ROOM: Duration = Duration::from_secs(1);
/// A checkpoint is written after so much time, whatever the window's clock does: retention takes the one before away one day.
const CHECKPOINT_AFTER: Duration = Duration::from_hours(6);
/// A batch has every position when so many bytes of batches lie behind the last record that had them: whoever goes on from a
/// record, or asks how far a lane has come, reads no more than that and a batch.
const POSITIONS_EVERY_BYTES: usize = 1 << 20;
/// Batches for which the same holds, however small they are.
const POSITIONS_EVERY_BATCHES: u32 = 1_000;
/// For how long a partition of the output is passed over whose batch was not committed.
const PASSED_OVER: Duration = Duration::from_secs(10);
/// Buckets for which a clock that contradicts another one is borne: for as long nothing expires.
const STOOD_BUCKETS_MAX: u32 = 14;
/// Longest wait between two looks at what there is to do.
const IDLE: Duration = Duration::from_millis(50);

/// One lane.
pub(crate) struct Lane {
    plan: Arc<Plan>,
    number: u32,
    waker: Waker,
    figures: Arc<LaneFigures>,
    /// Where those are taken off when the lane is given up.
    everybody: Arc<Figures>,
    /// `None` before the changelog was restored.
    held: Option<Held>,
    /// Inputs that were opened before the fence, where the changelog stood then.
    early: Option<Inputs>,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
    rotation: Rotation,
    /// Where the batch goes that is on its way, how many records it has, and the first of them.
    sending: Option<(u32, usize, Origin)>,
    size: Size,
    /// A partition of the output that a batch was not committed to, and until when it is passed over.
    failed: Option<(u32, Instant)>,
    /// The topics that it was taken over under.
    under: Under,
}

/// What is held of a lane whose changelog was restored.
struct Held {
    genesis: Genesis,
    positions: Positions,
    /// As the last record has them that was handed over.
    told: Positions,
    /// Bytes and number of batches since a record had every position.
    since_all: (usize, u32),
    /// Records of each input that are not this lane's.
    stray: [Stray; INPUTS],
    clock: Clock,
    time: Time,
    /// The clock at the newest checkpoint, and when that was written.
    checkpoint_ms: i64,
    checkpoint: Instant,
    wants_checkpoint: bool,
    /// The clock of the newest record that is committed. By a later one nothing is dropped: whoever goes on from the log
    /// decides by this.
    committed_ms: i64,
    inputs: Inputs,
    /// Inputs of which it was said that they are read too late.
    is_late: [bool; INPUTS],
    /// The batch is complete and could not be decided yet: what was tried, and when it is tried again.
    undecided: Option<(Waiting, Instant)>,
    /// Since when housekeeping of the index fails.
    no_room_since: Option<Instant>,
}

impl Lane {
    /// Lane `lane`, which `waker` wakes.
    pub(crate) fn new(plan: &Arc<Plan>, lane: u32, waker: Waker, figures: &Arc<Figures>) -> Self {
        let (plan, everybody, figures) = (Arc::clone(plan), Arc::clone(figures), figures.enter(lane));
        let (candidates, verdicts) = (Vec::new(), Vec::new());
        let rotation = Rotation::new(plan.lanes, lane);
        let (held, early, sending, failed) = (None, None, None, None);
        let size = Size::new(plan.limits.records_max);
        Self {
            plan,
            number: lane,
            waker,
            figures,
            everybody,
            held,
            early,
            candidates,
            verdicts,
            rotation,
            sending,
            size,
            failed,
            under: Under::default(),
        }
    }

    /// Moves the clock to the oldest record that is there; whether it has entered a step, which is to be committed first.
    fn move_clock(&mut self) -> Result<bool, Fault> {
        let Some(Held { clock, time, inputs, genesis, .. }) = &mut self.held else { return Ok(false) };
        let moved = clock.advance(inputs.reached(&self.plan.watches), time.now());
        time.moved(moved, self.number);
        // A clock that stands because others contradict it keeps every bucket meanwhile. After some of them somebody has to
        // look.
        let bucket = Duration::from_millis(genesis.window.bucket_ms());
        let Some(stood) = time.contradicted_for().filter(|stood| *stood >= bucket * STOOD_BUCKETS_MAX) else {
            return Ok(clock.wants_commit());
        };
        Err(Fault::RefusedHere(format!(
            "lane {}: this host's clock and the output cluster's have contradicted each other for {} h, in which nothing \
             expired; set the wrong one right",
            self.number,
            stood.as_secs() / 3600
        )))
    }

    /// Housekeeping of the index. On a full disk it is tried once a second, and not behind each batch: each try writes a whole
    /// run.
    fn maintain(&mut self, index: &mut Index, clock_ms: i64) -> Result<(), Fault> {
        let (lane, Some(held)) = (self.number, &mut self.held) else { return Ok(()) };
        match index.maintain(clock_ms) {
            Ok(_) => {
                if let Some(since) = held.no_room_since.take() {
                    info!(lane, after_s = since.elapsed().as_secs(), "housekeeping of the index works again");
                }
            }
            Err(error) if error.remedy() == Remedy::Retry => {
                if held.no_room_since.is_none() {
                    warn!(lane, %error, "housekeeping of the index failed; it is tried again every second");
                    held.no_room_since = Some(Instant::now());
                }
            }
            Err(error) => return Err(spec::fault(&error)),
        }
        Ok(())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.everybody.leave(self.number);
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
        let (plan, lane) = (&self.plan, self.number);
        if plan.is_shadow {
            return Err(Fault::Again(format!("{EVENTS_INDEX} {lane} is empty; there is nothing to shadow")));
        }
        let lanes = plan.lanes.get();
        if lane >= lanes {
            return Err(Fault::RefusedByLog(format!(
                "{EVENTS_INDEX} {lane} is no lane: there are {lanes}, by the genesis of lane 0, however many partitions the \
                 topic has got; nothing is lost and nothing is to be done"
            )));
        }
        if !plan.may_begin_anew {
            is_new(plan, lane, probe)?;
        }
        new_genesis(plan.lanes, plan.seed, plan.window, (plan.wall_ms)())
    }

    fn accept(&self, genesis: &Genesis) -> Result<(), Fault> {
        let (lane, plan) = (self.number, &self.plan);
        if genesis.lanes != plan.lanes {
            let (found, expected) = (genesis.lanes.get(), plan.lanes.get());
            return Err(Fault::RefusedByLog(format!(
                "{EVENTS_INDEX} {lane} was begun with {found} lanes, and there are {expected}; events would lie in lanes where \
                 their repeats are not known"
            )));
        }
        if plan.seed.is_some_and(|seed| seed != genesis.seed) {
            return Err(Fault::RefusedByLog(format!(
                "{EVENTS_INDEX} {lane} was begun with another seed than fleet.seed; leave that empty, or give the one of before"
            )));
        }
        Ok(())
    }

    fn found(&mut self, log: &TopicFacts) {
        self.under = self.plan.outputs.under();
        self.under.found(EVENTS_INDEX, log);
    }

    fn genesis(&self, genesis: &Genesis, record: &mut Vec<u8>) {
        encode_genesis(record, self.number, Chain::default(), genesis);
    }

    fn caught_up(&mut self, restored: &Restored<Index>) {
        // What is left of a time before reads the same partitions.
        (self.held, self.early) = (None, None);
        let mut inputs = Inputs::new(self.plan.lanes, self.number, self.plan.watches.len());
        // The clock is told behind the fence.
        inputs.look(&self.plan.watches, &restored.positions, 0, &self.waker);
        self.early = Some(inputs);
    }

    fn restored(&mut self, genesis: Genesis, restored: &mut Restored<Index>) -> Result<(), Fault> {
        let clock = restored.clock(Duration::from_millis(genesis.window.bucket_ms()), INPUT_RETENTION);
        self.figures.index_is(restored.state.stats(), clock.now_ms());
        self.candidates.clear();
        // A batch that was on its way has not come back: it may be the partition that it went to.
        if let Some((partition, ..)) = self.sending.take() {
            self.failed = Some((partition, Instant::now() + PASSED_OVER));
        }
        let positions = std::mem::take(&mut restored.positions);
        // Those of a time before first: they read the same partitions.
        self.held = None;
        let mut inputs = self.early.take();
        if let Some(inputs) = &mut inputs {
            inputs.go_to(&positions, clock.now_ms());
        }
        let new = || Inputs::new(self.plan.lanes, self.number, self.plan.watches.len());
        let inputs = inputs.unwrap_or_else(new);
        self.held = Some(Held {
            genesis,
            told: positions.clone(),
            positions,
            since_all: (0, 0),
            stray: Default::default(),
            checkpoint_ms: clock.now_ms(),
            checkpoint: Instant::now(),
            committed_ms: clock.now_ms(),
            clock,
            time: Time::new(self.plan.wall_ms),
            wants_checkpoint: false,
            inputs,
            is_late: [false; INPUTS],
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
            let Some(Held { inputs, positions, clock, .. }) = &mut self.held else {
                return Err(Fault::Released);
            };
            inputs.look(&self.plan.watches, positions, clock.now_ms(), &self.waker);
            inputs.fetch(positions);
            let before = job.records.len();
            if before == 0 && !inputs.are_settled(&self.plan.watches) {
                return Ok(Gathered::Wait(IDLE));
            }
            if !inputs.have_records() {
                return if before > 0 && !is_busy { self.decide(index, job) } else { Ok(Gathered::Wait(IDLE)) };
            }
            if before == 0 && self.move_clock()? {
                return Ok(Gathered::Checkpoint);
            }
            if self.read(job) {
                return self.decide(index, job);
            }
        }
    }

    fn checkpoint(&mut self, chain: Chain, record: &mut Vec<u8>) {
        let Some(held) = &mut self.held else { return };
        // What was read into a batch that is not handed over is not committed by this.
        let (positions, clock_ms) = (held.told.as_slice().to_vec(), held.clock.now_ms());
        (held.checkpoint_ms, held.checkpoint, held.since_all) = (clock_ms, Instant::now(), (0, 0));
        encode_checkpoint(record, self.number, chain, &Checkpoint { genesis: held.genesis, positions, clock_ms });
    }

    fn checkpointed(&mut self, index: &mut Index, at: Committed) -> Result<(), Fault> {
        let Some(held) = &mut self.held else { return Ok(()) };
        index.advance(at.point, held.checkpoint_ms);
        held.committed_ms = held.checkpoint_ms;
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
        self.sending = None;
        self.size.committed();
        let Some(decided) = job.decided.take() else { return Ok(()) };
        let clock_ms = decided.clock_ms();
        held.committed_ms = clock_ms;
        index.commit(decided, at.point);
        self.figures.batch(&job.fates, job.expired);
        if self.held.as_ref().is_some_and(|held| held.no_room_since.is_none()) {
            self.maintain(index, clock_ms)?;
        }
        Ok(())
    }

    fn lost(&mut self, why: &Failure) {
        let Some((partition, records, first)) = self.sending.filter(|_| why.is_too_large()) else { return };
        self.size.refused(records, first);
        // It is not the partition's fault.
        self.sending = None;
        let (lane, next) = (self.number, self.size.records());
        warn!(lane, partition, records, next, "a batch was refused for its size; smaller ones are tried");
    }

    fn tend(&mut self, index: &mut Index, is_busy: bool) -> Result<(), Fault> {
        if let Some(why) = self.plan.outputs.differs(&self.under) {
            return Err(Fault::Again(why));
        }
        // What is gathered and not decided is decided at the clock of its first record.
        let has_entered = !is_busy && self.candidates.is_empty() && self.move_clock()?;
        let Some(held) = &mut self.held else { return Ok(()) };
        let (clock_ms, committed_ms) = (held.clock.now_ms(), held.committed_ms);
        let is_due = held.checkpoint.elapsed() >= CHECKPOINT_AFTER;
        held.wants_checkpoint |= has_entered || (!self.plan.is_shadow && (is_due || held.time.wants_stamp()));
        self.maintain(index, committed_ms)?;
        self.figures.index_is(index.stats(), clock_ms);
        let Some(Held { inputs, time, is_late: was_late, .. }) = &mut self.held else { return Ok(()) };
        inputs.closed().for_each(|place| self.figures.lag_is_unknown(place));
        for (place, (records, since_ms)) in inputs.lags() {
            let behind_ms = since_ms.map_or(0, |since_ms| time.wall_ms() - since_ms).max(0) as u64;
            self.figures.lag_is(place, records, behind_ms);
            let watch = &self.plan.watches[place];
            let is_late = watch.is_late(behind_ms);
            if is_late && !was_late[place] {
                let (cluster, lane, behind_s) = (watch.cluster().name(), self.number, behind_ms / 1000);
                error!(cluster, lane, behind_s, "what waits is half way to being deleted before it is read");
            }
            was_late[place] = is_late;
        }
        Ok(())
    }

    fn release(&mut self, mut index: Index) {
        // So that whoever opens it next replays next to nothing.
        if let Err(error) = index.seal() {
            warn!(lane = self.number, %error, "the index was not sealed; the next start replays more");
        }
    }
}
