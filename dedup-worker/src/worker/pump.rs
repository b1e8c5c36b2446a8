//! The loop: read, decide, publish, commit; and again, while the batch before is still on its way.
//!
//! Two threads share it. This one reads both inputs and decides. The other carries out transactions, one after the
//! other: it does not begin batch N + 1 before N is known committed. N + 1 is decided meanwhile, against the index and N;
//! whatever happens to N but a confirmed commit throws both away.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use changelog::Point;
use dedup::{Candidate, Remedy, Verdict};
use kafka::Failure;
use service::Shutdown;
use tracing::{error, info, warn};
use wire::changelog::{Checkpoint, Genesis};

use super::decode::{Undecodable, decode};
use super::fault::Fault;
use super::figures::PartitionFigures;
use super::held::Held;
use super::inputs::Inputs;
use super::publish::{Committed, Fate, Job, Publisher};
use super::waiting::{Next, Waiting};
use super::waker::Waker;
use super::watch::Watch;
use crate::crash::{self, Step};

/// Longest wait while nothing comes; a stop is seen after it at the latest.
const IDLE: Duration = Duration::from_millis(50);
/// Time between two looks at a partition that is idle: for what expires, and for its figures.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Pause before an index that has no room, on a full disk, is asked again.
const NO_ROOM: Duration = Duration::from_secs(1);
/// A checkpoint is written after so many buckets, because retention takes the one before away one day.
const CHECKPOINT_BUCKETS: i64 = 1;

/// Buckets for which a clock that contradicts another one is borne: for as long nothing expires.
const STOOD_BUCKETS_MAX: u32 = 14;

/// How large a batch becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes of their keys and values.
    pub bytes_max: usize,
    /// Time that a batch waits for more while no other is on its way.
    pub linger: Duration,
}

/// What the loop needs and does not change.
pub struct Surroundings<'a> {
    /// Size of batches.
    pub limits: BatchLimits,
    /// The clusters behind the inputs, in the inputs' order.
    pub watches: &'a [std::sync::Arc<Watch>],
    /// Ends the loop in good order.
    pub stop: &'a Shutdown,
    /// Wakes the loop.
    pub waker: &'a Waker,
    /// What it tells of itself.
    pub figures: &'a PartitionFigures,
}

/// What the publishing thread is to write, each in a transaction of its own.
enum Order {
    Batch(Job),
    Checkpoint(Checkpoint),
}

/// An order that was carried out, and what is committed by it.
type Done = (Order, Option<Committed>);

/// Runs until it is told to stop; everything that was decided is committed then.
///
/// # Errors
/// [`Fault`]: nothing of what is held may be believed any more.
pub fn pump(held: &mut Held, publisher: Publisher, around: &Surroundings<'_>) -> Result<(), Fault> {
    let is_shadow = matches!(publisher, Publisher::Shadow);
    thread::scope(|scope| {
        let (orders, to_publish) = sync_channel::<Order>(1);
        let (published, done) = sync_channel::<Result<Done, Failure>>(1);
        let waker = around.waker;
        // It owns the publisher: an order that fails takes it along.
        scope.spawn(move || {
            let (mut publisher, mut scratch) = (publisher, Vec::new());
            for order in to_publish {
                let written = match &order {
                    Order::Batch(job) => publisher.publish(job, &mut scratch),
                    Order::Checkpoint(checkpoint) => publisher.checkpoint(checkpoint),
                };
                let (told, rest) = match written {
                    Ok((publisher, committed)) => (Ok((order, committed)), Some(publisher)),
                    Err(failure) => (Err(failure), None),
                };
                let is_heard = published.send(told).is_ok();
                waker.wake();
                match rest {
                    Some(rest) if is_heard => publisher = rest,
                    _ => return,
                }
            }
        });
        let run = Run {
            inputs: Inputs::new(held.partition, around.watches.len()),
            held,
            around,
            is_shadow,
            orders,
            done,
            in_flight: false,
            spare: Some(Job::default()),
            candidates: Vec::new(),
            verdicts: Vec::new(),
            looked_after: Instant::now(),
            no_room_since: None,
        };
        run.run()
    })
}

/// The publishing thread ends before its time only by a bug in it.
fn gone() -> Fault {
    Fault::Again("the publishing thread ended".into())
}

struct Run<'r> {
    held: &'r mut Held,
    inputs: Inputs,
    around: &'r Surroundings<'r>,
    is_shadow: bool,
    orders: SyncSender<Order>,
    done: Receiver<Result<Done, Failure>>,
    in_flight: bool,
    spare: Option<Job>,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
    looked_after: Instant,
    /// Since when housekeeping of the index fails.
    no_room_since: Option<Instant>,
}

impl Run<'_> {
    fn run(mut self) -> Result<(), Fault> {
        loop {
            let mut job = self.spare.take().unwrap_or_default();
            job.records.clear();
            job.fates.clear();
            self.candidates.clear();
            let is_stopped = self.gather(&mut job)?;
            if job.records.is_empty() || is_stopped {
                // What was read and not decided is read again by whoever comes next.
                self.spare = Some(job);
                self.finish()?;
                if is_stopped {
                    return Ok(());
                }
                self.look_after()?;
                continue;
            }
            self.decide(&mut job)?;
            self.inputs.enter(&mut self.held.positions);
            crash::at(Step::Decided);
            job.positions.clone_from(&self.held.positions);
            self.finish()?;
            self.order(Order::Batch(job))?;
            if self.looked_after.elapsed() >= HOUSEKEEPING {
                self.look_after()?;
            }
        }
    }

    /// Fills `job` until it is full, or has waited and nothing is on its way; empty after a while without records. Whether
    /// it was told to stop.
    fn gather(&mut self, job: &mut Job) -> Result<bool, Fault> {
        let limits = self.around.limits;
        let begun = Instant::now();
        let mut first = None;
        let mut bytes = 0;
        loop {
            if self.around.stop.is_triggered() {
                return Ok(true);
            }
            let before = job.records.len();
            let (watches, clock_ms) = (self.around.watches, self.held.clock.now_ms());
            self.inputs.look(watches, &self.held.positions, clock_ms, self.around.waker);
            self.inputs.fetch(&mut self.held.positions);
            if before == 0 && self.inputs.have_records() {
                self.move_clock()?;
            }
            if self.read(job, &mut bytes) {
                return Ok(false);
            }
            self.collect()?;
            if job.records.len() > before {
                first.get_or_insert_with(Instant::now);
                continue;
            }
            let waited = first.unwrap_or(begun).elapsed();
            let enough = if first.is_some() { limits.linger } else { HOUSEKEEPING };
            if !self.in_flight && waited >= enough {
                return Ok(false);
            }
            let left = if self.in_flight { IDLE } else { enough.saturating_sub(waited) };
            self.around.waker.wait(left.min(IDLE));
        }
    }

    /// Reads what has come into `job`; whether it is full.
    fn read(&mut self, job: &mut Job, bytes: &mut usize) -> bool {
        let Genesis { partition_count, seed, .. } = self.held.genesis;
        let (limits, partition, candidates) = (self.around.limits, self.held.partition, &mut self.candidates);
        self.inputs.read(|cluster, record| {
            let (record_bytes, decoded) = decode(&record, partition, partition_count, seed);
            *bytes += record_bytes;
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
            job.records.len() >= limits.records_max || *bytes >= limits.bytes_max
        })
    }

    /// Moves the clock to the oldest record that is there. Each step that it enters is committed before it goes further.
    fn move_clock(&mut self) -> Result<(), Fault> {
        loop {
            let Held { clock, time, partition, .. } = &mut *self.held;
            let moved = clock.advance(self.inputs.reached(self.around.watches), time.now());
            time.moved(moved, *partition);
            self.may_stand()?;
            if !self.held.clock.wants_commit() {
                return Ok(());
            }
            self.checkpoint()?;
        }
    }

    /// A clock that stands because others contradict it keeps every bucket meanwhile. After some of them somebody has to
    /// look.
    fn may_stand(&self) -> Result<(), Fault> {
        let bucket = Duration::from_millis(self.held.genesis.window.bucket_ms());
        let Some(stood) = self.held.time.contradicted_for().filter(|stood| *stood >= bucket * STOOD_BUCKETS_MAX) else {
            return Ok(());
        };
        Err(Fault::RefusedHere(format!(
            "partition {}: this host's clock and the output cluster's have contradicted each other for {} h, in which nothing \
             expired; set the wrong one right",
            self.held.partition,
            stood.as_secs() / 3600
        )))
    }

    /// Decides the batch. Without room, as on a full disk, it waits: nothing is lost by that. A run that cannot be read
    /// after several tries is taken for damage.
    fn decide(&mut self, job: &mut Job) -> Result<(), Fault> {
        let (clock_ms, newest_ms) = (self.held.clock.now_ms(), self.held.time.now().newest_ms());
        let mut waiting = Waiting::default();
        let decided = loop {
            match self.held.index.decide(&self.candidates, clock_ms, newest_ms, &mut self.verdicts) {
                Ok(decided) => break decided,
                Err(error) if error.remedy() == Remedy::Retry => {
                    self.finish()?;
                    let made_room = self.held.index.maintain(clock_ms).is_ok();
                    match waiting.failed(&error, made_room) {
                        Next::AtOnce => continue,
                        Next::Damaged => return Err(Fault::Index(error.to_string())),
                        Next::Wait { is_first: false } => {}
                        Next::Wait { is_first: true } => {
                            let partition = self.held.partition;
                            warn!(partition, %error, "the index cannot decide now; it is asked again every second");
                        }
                    }
                    if self.around.stop.wait_timeout(NO_ROOM) {
                        return Err(Fault::Released);
                    }
                }
                Err(error) => return Err(error.into()),
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
        Ok(())
    }

    /// Hands over what is to be written; nothing else may be on its way.
    fn order(&mut self, order: Order) -> Result<(), Fault> {
        self.orders.send(order).map_err(|_| gone())?;
        self.in_flight = true;
        Ok(())
    }

    /// Writes a checkpoint behind everything that is on its way.
    fn checkpoint(&mut self) -> Result<(), Fault> {
        self.finish()?;
        self.order(Order::Checkpoint(self.held.checkpoint()))?;
        self.finish()
    }

    /// Takes the outcome of what is on its way, if there is one yet.
    fn collect(&mut self) -> Result<(), Fault> {
        if self.in_flight
            && let Ok(done) = self.done.try_recv()
        {
            return self.done(done);
        }
        Ok(())
    }

    /// Waits for the outcome of what is on its way.
    fn finish(&mut self) -> Result<(), Fault> {
        if !self.in_flight {
            return Ok(());
        }
        let done = self.done.recv().map_err(|_| gone())?;
        self.done(done)
    }

    fn done(&mut self, done: Result<Done, Failure>) -> Result<(), Fault> {
        self.in_flight = false;
        match done? {
            (Order::Batch(job), committed) => self.committed(job, committed),
            (Order::Checkpoint(checkpoint), committed) => {
                self.held.checkpointed(checkpoint.clock_ms, committed);
                Ok(())
            }
        }
    }

    fn committed(&mut self, mut job: Job, committed: Option<Committed>) -> Result<(), Fault> {
        let point = if let Some(Committed { point, stamp }) = committed {
            self.held.time.stamped(stamp);
            point
        } else {
            self.held.shadow_offset += 1;
            Point { next_offset: self.held.shadow_offset, leader_epoch: -1, checksum: 0 }
        };
        let Some(decided) = job.decided.take() else { return Ok(()) };
        let clock_ms = decided.clock_ms();
        self.held.index.commit(decided, point);
        crash::at(Step::IndexUpdated);
        self.around.figures.batch(&job.fates, job.expired);
        if self.no_room_since.is_none() {
            self.maintain(clock_ms)?;
        }
        job.records.clear();
        job.fates.clear();
        self.spare = Some(job);
        Ok(())
    }

    /// Housekeeping of the index. On a full disk it is tried once a second, and not behind each batch: each try writes a whole
    /// run.
    fn maintain(&mut self, clock_ms: i64) -> Result<(), Fault> {
        let partition = self.held.partition;
        match self.held.index.maintain(clock_ms) {
            Ok(_) => {
                if let Some(since) = self.no_room_since.take() {
                    info!(partition, after_s = since.elapsed().as_secs(), "housekeeping of the index works again");
                }
            }
            Err(error) if error.remedy() == Remedy::Retry => {
                if self.no_room_since.is_none() {
                    warn!(partition, %error, "housekeeping of the index failed; it is tried again every second");
                    self.no_room_since = Some(Instant::now());
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What is due once a second: the clock of an idle partition, expiry, a checkpoint, figures.
    fn look_after(&mut self) -> Result<(), Fault> {
        self.looked_after = Instant::now();
        self.around.figures.turned();
        if !self.in_flight {
            self.move_clock()?;
        }
        let clock_ms = self.held.clock.now_ms();
        let bucket_ms = self.held.genesis.window.bucket_ms() as i64;
        let is_due = clock_ms - self.held.checkpoint_ms >= CHECKPOINT_BUCKETS * bucket_ms;
        if !self.is_shadow && (is_due || self.held.time.wants_stamp()) {
            self.checkpoint()?;
        }
        self.maintain(clock_ms)?;
        let figures = self.around.figures;
        figures.index_is(self.held.index.stats(), clock_ms);
        self.inputs.closed().for_each(|place| figures.lag_is_unknown(place));
        for (place, (records, since_ms)) in self.inputs.lags() {
            let behind_ms = since_ms.map_or(0, |since_ms| self.held.time.wall_ms() - since_ms).max(0) as u64;
            figures.lag_is(place, records, behind_ms);
            let watch = &self.around.watches[place];
            let is_late = watch.is_late(behind_ms);
            if is_late && !self.held.is_late[place] {
                let (cluster, partition, behind_s) = (watch.cluster().name(), self.held.partition, behind_ms / 1000);
                error!(cluster, partition, behind_s, "what waits is half way to being deleted before it is read");
            }
            self.held.is_late[place] = is_late;
        }
        Ok(())
    }
}
