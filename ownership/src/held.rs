//! The loop of a lane that is held: gather, publish, commit; and again, while the batch before is still on its way.
//!
//! Two threads share it. The lane's own gathers. A [publishing](Publishers) one carries out a transaction; the way to the log
//! goes along with it and comes back with a confirmed commit, so batch N + 1 is not begun before N is known committed. N + 1 is
//! gathered meanwhile, against the state and N; whatever happens to N but a confirmed commit throws both away.
//!
//! A lane that is handed over is worked on until its next owner takes the fence. That one does so at once where no
//! transaction is open, and waits for half a second where one is (librdkafka 2.12.1, measured), so there is a pause behind
//! each.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, never, select};
use kafka::Failure;
use wire::changelog::Chain;

use crate::board::Place;
use crate::ending::Ending;
use crate::line::Line;
use crate::publishers::{PATIENCE, Publishers};
use crate::{Batch, Committed, Fault, Gathered, Spec, Standing, Step, Work};

/// Between two looks at what is due now and then.
const TEND: Duration = Duration::from_secs(1);
/// Longest wait, and so until a stop is seen at the latest.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Time from a commit to the next transaction where work has come in meanwhile: what comes in this time goes with it. A
/// transaction costs the broker as much as a few hundred records.
const PAUSE: Duration = Duration::from_millis(10);

/// Longest time for which a lane that is handed over is worked on. Its next owner is there long before, if there is one.
pub(crate) const HANDING_OVER: Duration = Duration::from_secs(5);
/// Time without a transaction behind each of a lane that is handed over: its next owner sees that one has ended, and takes
/// its fence meanwhile, some 10 ms later on a machine that is not busy.
const HANDING_OVER_PAUSE: Duration = Duration::from_millis(40);

/// What a publishing thread is to write, each in a transaction of its own.
enum Order<B> {
    Batch(B),
    Checkpoint(Vec<u8>),
}

/// An order that was carried out.
struct Done<B> {
    order: Order<B>,
    /// What is committed by it.
    at: Committed,
    /// The way to the log.
    line: Line,
    /// Memory of the log's record.
    scratch: Vec<u8>,
}

/// What became of an order. One that failed has taken the way to the log along.
type Outcome<B> = Result<Done<B>, Failure>;

/// What is held of a lane.
pub(crate) struct Held<'h, W: Work> {
    pub(crate) spec: &'static Spec,
    pub(crate) work: &'h mut W,
    pub(crate) state: &'h mut W::State,
    pub(crate) publishers: &'h Publishers,
    pub(crate) ending: &'h Ending,
    pub(crate) woken: &'h Receiver<()>,
    pub(crate) place: &'h Place,
    /// Batches committed so far.
    pub(crate) committed: &'h mut u64,
    /// What the next record of the log is to name.
    pub(crate) chain: Chain,
}

impl<W: Work> Held<'_, W> {
    /// Runs until it is told to end; everything that was handed to a publishing thread is committed then.
    ///
    /// # Errors
    /// [`Fault`]: nothing that is not committed may be believed any more.
    pub(crate) fn run(self, line: Line) -> Result<(), Fault> {
        let (batch, now) = (Some(W::Batch::default()), Instant::now());
        let (line, scratch, on_its_way) = (Some(line), Vec::new(), None);
        let (is_loaded, quiet_until, handed_over) = (false, now, None);
        Run { held: self, line, scratch, on_its_way, spare: batch, tended: now, is_loaded, quiet_until, handed_over }
            .run()
    }
}

struct Run<'h, W: Work> {
    held: Held<'h, W>,
    /// The way to the log; `None` while an order has it.
    line: Option<Line>,
    /// Overwritten by each record of the log.
    scratch: Vec<u8>,
    /// Where the outcome comes of the order that is being carried out.
    on_its_way: Option<Receiver<Outcome<W::Batch>>>,
    /// `None` while both batches are in use.
    spare: Option<W::Batch>,
    tended: Instant,
    /// Whether there was something to do while the last transaction was on its way.
    is_loaded: bool,
    /// Until then what has come in waits for more.
    quiet_until: Instant,
    /// Since when it is handed over.
    handed_over: Option<Instant>,
}

impl<W: Work> Run<'_, W> {
    fn run(mut self) -> Result<(), Fault> {
        let mut batch = self.spare.take().unwrap_or_default();
        while !self.is_over() {
            if self.tended.elapsed() >= TEND {
                self.tended = Instant::now();
                self.held.place.turned();
                self.held.work.tend(self.held.state, self.on_its_way.is_some())?;
            }
            let quiet = self.quiet_until.saturating_duration_since(Instant::now());
            let is_busy = self.on_its_way.is_some() || !quiet.is_zero();
            match self.held.work.gather(self.held.state, &mut batch, is_busy)? {
                Gathered::Ready => {
                    (self.held.spec.at)(Step::Decided);
                    self.finish()?;
                    if self.handed_over.is_some() {
                        // The next owner's fence is to find a moment without a transaction.
                        thread::sleep(self.quiet_until.saturating_duration_since(Instant::now()));
                    }
                    let next = self.spare.take().unwrap_or_default();
                    self.is_loaded = false;
                    self.order(Order::Batch(std::mem::replace(&mut batch, next)))?;
                }
                Gathered::Checkpoint => self.checkpoint()?,
                Gathered::Wait(time) => {
                    self.is_loaded |= self.on_its_way.is_some() && !batch.is_empty();
                    let limit = if quiet.is_zero() { WAIT_MAX } else { quiet.min(WAIT_MAX) };
                    self.wait(time.min(limit))?;
                }
            }
        }
        // What was gathered and not handed over is gathered again by whoever comes next.
        self.finish()
    }

    /// Whether it is to end now.
    fn is_over(&mut self) -> bool {
        if self.held.ending.is_asked() && self.handed_over.is_none() {
            self.handed_over = Some(Instant::now());
            self.held.place.is(Standing::HandingOver);
        }
        self.held.ending.is_at_once() || self.handed_over.is_some_and(|since| since.elapsed() > HANDING_OVER)
    }

    /// Waits for an outcome, a wake-up, or the time.
    fn wait(&mut self, time: Duration) -> Result<(), Fault> {
        let done = self.on_its_way.as_ref().map_or_else(never, |done| {
            self.held.publishers.look();
            done.clone()
        });
        let outcome = select! {
            recv(done) -> outcome => Some(outcome.map_err(|_| gone())),
            recv(self.held.woken) -> _ => None,
            default(time) => None,
        };
        outcome.map_or(Ok(()), |outcome| self.done(outcome))
    }

    /// Hands over what is to be written; nothing else may be on its way.
    fn order(&mut self, order: Order<W::Batch>) -> Result<(), Fault> {
        let (Some(line), mut scratch) = (self.line.take(), std::mem::take(&mut self.scratch)) else {
            return Err(gone());
        };
        let (tell, told) = bounded(1);
        let carry_out = move || {
            let written = match &order {
                Order::Batch(batch) => line.batch(batch, &mut scratch),
                Order::Checkpoint(record) => line.record(record),
            };
            // Whoever gave it waits for it.
            let _ = tell.send(written.map(|(line, at)| Done { order, at, line, scratch }));
        };
        let given = self.held.publishers.give(carry_out);
        given.map_err(|error| Fault::Again(format!("no thread that publishes: {error}")))?;
        self.on_its_way = Some(told);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), Fault> {
        self.finish()?;
        let mut record = Vec::new();
        self.held.work.checkpoint(self.held.chain, &mut record);
        self.order(Order::Checkpoint(record))?;
        self.finish()
    }

    /// Waits for the outcome of what is on its way.
    fn finish(&mut self) -> Result<(), Fault> {
        while let Some(done) = &self.on_its_way {
            match done.recv_timeout(PATIENCE) {
                Ok(outcome) => return self.done(Ok(outcome)),
                Err(RecvTimeoutError::Timeout) => self.held.publishers.look(),
                Err(RecvTimeoutError::Disconnected) => return self.done(Err(gone())),
            }
        }
        Ok(())
    }

    fn done(&mut self, outcome: Result<Outcome<W::Batch>, Fault>) -> Result<(), Fault> {
        self.on_its_way = None;
        let Done { order, at, line, scratch } = outcome?.inspect_err(|why| self.held.work.lost(why))?;
        (self.line, self.scratch) = (Some(line), scratch);
        let Held { work, state, committed, spec, chain, .. } = &mut self.held;
        *chain = at.chain;
        match order {
            Order::Checkpoint(_) => work.checkpointed(state, at),
            Order::Batch(mut batch) => {
                let pause = match self.handed_over {
                    Some(_) => HANDING_OVER_PAUSE,
                    None if self.is_loaded => PAUSE,
                    None => Duration::ZERO,
                };
                self.quiet_until = Instant::now() + pause;
                work.committed(state, &mut batch, at)?;
                **committed += 1;
                (spec.at)(Step::Applied);
                batch.clear();
                self.spare = Some(batch);
                Ok(())
            }
        }
    }
}

impl<W: Work> Drop for Run<'_, W> {
    /// Whatever ended it, nothing of it goes on when the lane is begun with again.
    fn drop(&mut self) {
        while let Some(done) = &self.on_its_way
            && matches!(done.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout))
        {
            self.held.publishers.look();
        }
    }
}

/// Nobody tells what became of an order only by a bug in who carried it out.
fn gone() -> Fault {
    Fault::Again("a transaction ended without an outcome".into())
}
