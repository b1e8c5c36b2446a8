//! One lane, from the first look to letting go.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use changelog::{Beginning, Progress, RestoreError, Restored, State as _, newest};
use crossbeam_channel::Receiver;
use kafka::{Group, Prepared, Probe, TopicFacts};
use tracing::{error, info, warn};

use crate::board::Place;
use crate::ending::Ending;
use crate::held::Held;
use crate::line::Line;
use crate::publishers::Publishers;
use crate::sight::Sight;
use crate::{Committed, Fault, GenesisOf, Log, Reading, Spec, Standing, Step, Work};

/// First pause after a fault; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Last pause after faults.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Between two questions to the group whether the lane is this process's. It does not say so in the middle of a rebalance.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Longest time of such questions before the fence; a rebalance is over by then.
const ASK_BEFORE: Duration = Duration::from_secs(10);
/// The same behind the fence, where who was pushed out needlessly waits for the answer.
const ASK_BEHIND: Duration = Duration::from_secs(1);
/// Between two looks at a lane that is refused.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A transaction that is open for longer than a commit takes may be a dead owner's, which only the fence ends.
const OPEN_MAX: Duration = Duration::from_millis(100);
/// Between two looks at whether it still is.
const OPEN_PAUSE: Duration = Duration::from_millis(10);

/// The state where the log ended before the fence.
struct Known<W: Work> {
    /// Which log.
    facts: TopicFacts,
    /// Where that ended.
    end: u64,
    /// What it began with.
    genesis: GenesisOf<W>,
    restored: Restored<W::State>,
}

/// The state at the log's end behind the fence, what that began with, and the way to it.
type Ready<W> = (GenesisOf<W>, Restored<<W as Work>::State>, Line);

/// One lane that this process should own.
pub(crate) struct Owner<'a, W: Work> {
    pub(crate) spec: &'static Spec,
    pub(crate) lane: u32,
    pub(crate) work: W,
    /// Says whether the lane is still this process's.
    pub(crate) group: Group,
    /// Who carry out its transactions.
    pub(crate) publishers: &'a Publishers,
    pub(crate) ending: &'a Ending,
    /// Whether it is to end, for whoever reads meanwhile.
    pub(crate) is_stopped: &'a dyn Fn() -> bool,
    pub(crate) woken: Receiver<()>,
    pub(crate) place: Place,
    /// Batches committed so far.
    pub(crate) committed: u64,
    /// The state, kept over a fault: what was applied of the log need not be read again.
    pub(crate) state: Option<W::State>,
}

impl<W: Work> Owner<'_, W> {
    /// Works until the lane is to end.
    pub(crate) fn run(mut self) {
        let (lane, mut pause, mut refused) = (self.lane, RETRY_FIRST, None);
        while !self.ending.is_asked() {
            let committed = self.committed;
            let held = catch_unwind(AssertUnwindSafe(|| self.hold(refused.is_some())));
            let fault = match held {
                Ok(Ok(()) | Err(Fault::Released)) => return,
                // Whoever takes over does so by the fence, in the middle of whatever. That is no fault.
                Ok(Err(fault)) if self.ending.is_asked() => {
                    info!(lane, reason = fault.to_string(), "everything uncommitted was dropped; the lane is let go");
                    if let Fault::Lies(_) = fault {
                        self.state = None;
                    }
                    return self.release();
                }
                Ok(Err(fault)) => fault,
                Err(_) => {
                    // Whatever it was in the middle of.
                    self.state = None;
                    Fault::Again("a bug in this program; what it said stands above".into())
                }
            };
            let standing = match fault {
                Fault::RefusedByLog(reason) => Standing::RefusedByLog(reason),
                Fault::RefusedHere(reason) => Standing::RefusedHere(reason),
                fault => {
                    refused = None;
                    self.place.counts().faults.fetch_add(1, Relaxed);
                    let reason = fault.to_string();
                    if let Fault::Lies(_) = fault {
                        self.throw_away();
                    }
                    if self.committed > committed {
                        pause = RETRY_FIRST;
                    }
                    warn!(lane, reason, "everything uncommitted was dropped; beginning again from the log");
                    self.place.is(Standing::Failing(reason, pause));
                    self.ending.pause(pause);
                    pause = (pause * 2).min(RETRY_LAST);
                    continue;
                }
            };
            if let Standing::RefusedByLog(reason) | Standing::RefusedHere(reason) = &standing
                && refused.as_ref() != Some(&standing)
            {
                error!(lane, reason, "the lane is refused; it is looked at again until that is put right");
            }
            self.place.is(standing.clone());
            refused = Some(standing);
            self.ending.pause(LOOK_AGAIN);
        }
    }

    fn throw_away(&mut self) {
        self.state = None;
        self.place.counts().thrown_away.fetch_add(1, Relaxed);
        if let Err(error) = W::State::destroy(&self.spec.dir(self.lane)) {
            error!(lane = self.lane, %error, "what was kept of the lane cannot be thrown away");
        }
    }

    fn hold(&mut self, was_refused: bool) -> Result<(), Fault> {
        let (spec, lane) = (self.spec, self.lane);
        self.place.is(Standing::Waiting);
        // It connects while the log is looked at. A lane that is refused needs none.
        let mut prepared = if was_refused { None } else { self.prepare()? };
        let sight = Sight::new(spec, lane)?;
        let known = if spec.is_shadow { None } else { self.look(&sight)? };
        if let Some(known) = &known {
            self.work.caught_up(&known.restored);
        }
        self.confirm(ASK_BEFORE)?;
        (spec.at)(Step::Fencing);
        self.place.is(Standing::Fencing);
        if prepared.is_none() {
            prepared = self.prepare()?;
        }
        if let Some(known) = &known {
            sight.await_quiet(known.end, |time| self.ending.pause(time))?;
            if self.ending.is_asked() {
                return Err(Fault::Released);
            }
        }
        let mut line = match prepared {
            Some(prepared) => Line::fence(spec, lane, prepared)?,
            None => self.shadow()?,
        };
        (spec.at)(Step::Fenced);
        self.confirm(ASK_BEHIND)?;
        (spec.at)(Step::Confirmed);
        let (genesis, mut restored);
        (genesis, restored, line) = self.restore(&sight, line, known)?;
        (spec.at)(Step::Restored);
        let (records, chain) = (restored.records, restored.chain);
        self.replayed(&mut restored);
        self.work.restored(genesis, &mut restored)?;
        let state = self.state.insert(restored.state);
        let mut record = Vec::new();
        self.work.checkpoint(chain, &mut record);
        let at: Committed;
        (line, at) = line.record(&record)?;
        self.work.checkpointed(state, at)?;
        (spec.at)(Step::Checkpointed);
        drop(sight);
        self.place.counts().takeovers.fetch_add(1, Relaxed);
        info!(lane, records, "the lane is taken over");
        self.place.is(Standing::Running);
        let held = Held {
            spec,
            work: &mut self.work,
            state,
            publishers: self.publishers,
            ending: self.ending,
            woken: &self.woken,
            place: &self.place,
            committed: &mut self.committed,
            chain: at.chain,
        };
        held.run(line)?;
        self.release();
        info!(lane, "the lane is let go");
        Ok(())
    }

    fn release(&mut self) {
        if let Some(mut state) = self.state.take() {
            state.discard();
            self.work.release(state);
        }
    }

    /// The client of the next fence; a shadow takes none.
    fn prepare(&self) -> Result<Option<Prepared>, Fault> {
        if self.spec.is_shadow {
            return Ok(None);
        }
        let Spec { cluster, transaction_max, log, outputs, .. } = self.spec;
        let prepared = Prepared::new(cluster, &self.spec.transactional_id(self.lane), *transaction_max)?;
        prepared.learn(&[log]);
        prepared.learn(outputs);
        Ok(Some(prepared))
    }

    /// What a shadow had decided for itself is no truth.
    fn shadow(&mut self) -> Result<Line, Fault> {
        self.state = None;
        W::State::destroy(&self.spec.dir(self.lane)).map_err(|error| Fault::Again(error.to_string()))?;
        Ok(Line::Shadow(0))
    }

    /// Before the fence, so that nobody is pushed out needlessly, and after it, so that nobody has been. A "no" is followed by
    /// a revocation, or a rebalance is under way, so it is asked again, for so long.
    fn confirm(&self, limit: Duration) -> Result<(), Fault> {
        let (begun, mut has_said) = (Instant::now(), false);
        while !self.group.confirms(self.lane) {
            if !std::mem::replace(&mut has_said, true) {
                info!(lane = self.lane, "the group does not confirm the lane yet; asking again");
            }
            if self.ending.pause(ASK_AGAIN) {
                return Err(Fault::Released);
            }
            if begun.elapsed() > limit {
                return Err(Fault::Again("the group does not confirm the lane".into()));
            }
        }
        Ok(())
    }

    /// Brings the state to what is committed, without a fence, and refuses what has to be refused. Nothing where the log is
    /// new.
    ///
    /// Nor is there anything while somebody's transaction stays open: the log can be read up to its beginning, which may lie
    /// before what the state knows, and a state that is ahead of what can be read is believed by nobody.
    fn look(&mut self, sight: &Sight) -> Result<Option<Known<W>>, Fault> {
        let Sight { whole, committed, reading, .. } = sight;
        let facts = whole.topic(self.spec.topic)?;
        // What the state knows lies before this end.
        let end = self.log(whole, &facts, reading)?.marks.high;
        let begun = Instant::now();
        let mut log = self.log(committed, &facts, reading)?;
        while log.marks.high < end && begun.elapsed() < OPEN_MAX && !self.ending.pause(OPEN_PAUSE) {
            log = self.log(committed, &facts, reading)?;
        }
        let Some(genesis) = self.genesis(&mut log)? else {
            // Whether it may be begun is asked before anybody is pushed out.
            self.work.begin(whole)?;
            return Ok(None);
        };
        if log.marks.high < end {
            let newest = newest::<_, W::State>(&mut log).map_err(|error| log.refused(error, W::fault))?;
            let is_unfinished = newest.is_some_and(|newest| newest.is_unfinished);
            return if is_unfinished { Err(log.refused(RestoreError::Unfinished, W::fault)) } else { Ok(None) };
        }
        let kept = self.state.take();
        let mut restored = self.replay(&mut log, &genesis, kept)?;
        self.replayed(&mut restored);
        let end = log.marks.high;
        Ok(Some(Known { facts, end, genesis, restored }))
    }

    /// Measures the log's end and brings the state there. An empty log gets its genesis first.
    fn restore(&mut self, sight: &Sight, mut line: Line, known: Option<Known<W>>) -> Result<Ready<W>, Fault> {
        let Sight { whole: probe, reading, .. } = sight;
        let facts = probe.topic(self.spec.topic)?;
        if !TopicFacts::is_same_log(known.as_ref().map(|known| &known.facts), Some(&facts)) {
            reading.forget();
        }
        let mut log = self.log(probe, &facts, reading)?;
        self.work.found(&facts);
        (self.spec.at)(Step::Measured);
        let (known, kept) = known.map(|known| (known.genesis, known.restored.state)).unzip();
        let kept = kept.or_else(|| self.state.take());
        let found = if known.is_some() { known } else { self.genesis(&mut log)? };
        let genesis = if let Some(genesis) = found {
            genesis
        } else {
            let genesis = self.work.begin(probe)?;
            let mut record = Vec::new();
            self.work.genesis(&genesis, &mut record);
            (line, _) = line.record(&record)?;
            log = self.log(probe, &facts, reading)?;
            genesis
        };
        let restored = self.replay(&mut log, &genesis, kept)?;
        line.ends_at(log.marks.high, restored.chain);
        Ok((genesis, restored, line))
    }

    /// The log up to its end as that is now, as far as the client that asks may see.
    fn log<'l>(&self, probe: &Probe, facts: &'l TopicFacts, reading: &'l Reading) -> Result<Log<'l>, Fault>
    where
        Self: 'l,
    {
        let marks = probe.watermarks(self.spec.topic, self.lane)?;
        Ok(Log { spec: self.spec, facts, lane: self.lane, marks, reading, is_stopped: self.is_stopped })
    }

    /// What the log began with; `None` where it is to be begun.
    fn genesis(&self, log: &mut Log<'_>) -> Result<Option<GenesisOf<W>>, Fault> {
        let found = match changelog::genesis::<_, W::State>(log) {
            // What was there is gone, and that is borne.
            Err(RestoreError::NoGenesis { .. }) if self.spec.beginning == Beginning::MayBeGone => None,
            found => found.map_err(|error| log.refused(error, W::fault))?,
        };
        if let Some(genesis) = &found {
            self.work.accept(genesis)?;
        }
        Ok(found)
    }

    /// Brings the state to the measured end: the one that is kept, or the one in its folder.
    fn replay(
        &self,
        log: &mut Log<'_>,
        genesis: &GenesisOf<W>,
        kept: Option<W::State>,
    ) -> Result<Restored<W::State>, Fault> {
        let spec = self.spec;
        self.place.is(Standing::Restoring(Progress::default()));
        let tell = &mut |progress: Progress| {
            self.place.is(Standing::Restoring(progress));
            (spec.at)(Step::Restoring);
            if self.ending.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let made = (genesis, self.work.settings());
        let restored = changelog::restore(log, &spec.dir(self.lane), kept, made, spec.beginning, tell);
        restored.map_err(|error| log.refused(error, W::fault))
    }

    fn replayed(&mut self, restored: &mut Restored<W::State>) {
        self.place.counts().replayed.fetch_add(restored.records, Relaxed);
        if let Some(reason) = restored.thrown_away.take() {
            let why = reason.to_string();
            warn!(lane = self.lane, why, "what was kept of the lane was thrown away and made again from the log");
            self.place.counts().thrown_away.fetch_add(1, Relaxed);
        }
    }
}
