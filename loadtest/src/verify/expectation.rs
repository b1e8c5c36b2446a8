//! What the ledgers say must, may and must not come out: one byte an event.
//!
//! An hour of 50,000 events a second is 180 million bytes, and as many again for the requests of one ledger while it
//! is read; the events' own bytes are made again from the seed when a line is compared.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

use crate::Error;
use crate::events::Events;
use crate::ledger::{self, Entry};
use crate::retry::Outcome;
use crate::run_file::RunFile;
use crate::workload::Workload;

/// Some request with the event was acknowledged.
const MUST: u8 = 1;
/// Some request with the event may have been kept.
const MAY: u8 = 2;
/// Some request with the event was refused or never reached the server.
const NOT: u8 = 4;
/// The rest of the byte counts how often the event was seen.
const SEEN_SHIFT: u32 = 3;
/// Counts stop here.
pub(super) const SEEN_MAX: u32 = 31;
/// An intended request of which the ledger knows no outcome.
const UNKNOWN: u8 = 6;
/// How often an event of such a request may have been kept, if it has no messageId.
const KEPT_UNKNOWN: u32 = 255;

/// Requests by outcome, over all ledgers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All that were intended.
    pub requests: u64,
    /// Answered with 200.
    pub acknowledged: u64,
    /// Every answer was a 4xx.
    pub refused: u64,
    /// Answered otherwise.
    pub uncertain: u64,
    /// Without an answer, or without a note of one.
    pub unanswered: u64,
    /// No connection could be made.
    pub never_sent: u64,
    /// Bytes of incomplete ledger records, which were ignored.
    pub torn_bytes: u64,
    /// Ledger files without an end: their load generator was killed.
    pub unfinished_files: u64,
}

impl Tally {
    /// Requests without an answer, of all.
    pub fn unanswered_share(&self) -> f64 {
        (self.unanswered + self.never_sent) as f64 / self.requests.max(1) as f64
    }
}

/// How often an event may be in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) min: u32,
    pub(super) max: u32,
}

/// All runs with one seed.
pub(super) struct Run {
    pub(super) workload: Workload,
    pub(super) events: Events,
    states: Vec<AtomicU8>,
    /// Of events without a messageId, where it is not what the state says.
    bounds: HashMap<u64, Bounds>,
}

/// All runs.
pub(super) struct Expectations {
    pub(super) runs: Vec<Run>,
    by_seed: HashMap<u64, usize>,
    pub(super) tally: Tally,
}

impl Expectations {
    /// Reads ledgers. Several runs with one seed are one workload sent several times, so it must be the same one.
    pub(super) fn read(dirs: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let mut all = Self { runs: Vec::new(), by_seed: HashMap::new(), tally: Tally::default() };
        for dir in dirs {
            let dir = dir.as_ref();
            let file = RunFile::read(dir)?;
            let workload = file.workload;
            let index = match all.by_seed.get(&workload.seed) {
                Some(&index) if all.runs[index].workload == workload => index,
                Some(_) => {
                    let message = format!(
                        "{}: another ledger has the same seed and other options, so that one id means two events; \
                         verify them one by one against outputs of their own",
                        dir.display()
                    );
                    return Err(Error::Usage(message));
                }
                None => {
                    let events = Events::try_new(&workload)?;
                    all.by_seed.insert(workload.seed, all.runs.len());
                    all.runs.push(Run { workload, events, states: Vec::new(), bounds: HashMap::new() });
                    all.runs.len() - 1
                }
            };
            all.runs[index].take_ledger(dir, file.threads, &mut all.tally)?;
        }
        Ok(all)
    }

    pub(super) fn run_of(&self, seed: u64) -> Option<&Run> {
        self.by_seed.get(&seed).map(|&index| &self.runs[index])
    }
}

impl Run {
    fn take_ledger(&mut self, dir: &Path, threads: u32, tally: &mut Tally) -> Result<(), Error> {
        let mut outcomes: Vec<u8> = Vec::new();
        let mut kept: HashMap<u64, u8> = HashMap::new();
        let needs_kept = self.workload.without_message_id > 0.0;
        for thread in 0..threads {
            let path = ledger::path(dir, thread);
            let mut is_of_this_thread = true;
            let summary = ledger::read(&path, |Entry { request, outcome, perhaps_kept, .. }| {
                is_of_this_thread &= request % u64::from(threads) == u64::from(thread);
                let index = request as usize;
                if outcomes.len() <= index {
                    outcomes.resize(index + 1, 0);
                }
                outcomes[index] = outcome as u8;
                if needs_kept && perhaps_kept > 1 {
                    kept.insert(request, perhaps_kept);
                }
            })?;
            if summary.seed != self.workload.seed
                || summary.thread != thread
                || summary.threads != threads
                || !is_of_this_thread
            {
                return Err(Error::Failed(format!("{} belongs to another run", path.display())));
            }
            tally.torn_bytes += summary.torn_bytes;
            tally.unfinished_files += u64::from(!summary.is_ended);
            if outcomes.len() < summary.limit as usize {
                outcomes.resize(summary.limit as usize, 0);
            }
            for request in (u64::from(thread)..summary.limit).step_by(threads as usize) {
                let outcome = &mut outcomes[request as usize];
                *outcome = if *outcome == 0 { UNKNOWN } else { *outcome };
            }
        }
        for (request, &outcome) in outcomes.iter().enumerate() {
            if outcome != 0 {
                let request = request as u64;
                let outcome = Outcome::from_byte(outcome);
                tally.count(outcome);
                self.take_request(request, outcome, kept.get(&request).copied().unwrap_or(1).into());
            }
        }
        Ok(())
    }

    fn take_request(&mut self, request: u64, outcome: Option<Outcome>, kept: u32) {
        let (state, bounds) = match outcome {
            Some(Outcome::Acknowledged) => (MUST, Bounds { min: 1, max: kept.max(1) }),
            Some(Outcome::Uncertain | Outcome::Unanswered) => (MAY, Bounds { min: 0, max: kept }),
            Some(Outcome::Refused | Outcome::NeverSent) => (NOT, Bounds { min: 0, max: 0 }),
            None => (MAY, Bounds { min: 0, max: KEPT_UNKNOWN }),
        };
        let slots = self.events.plan().slots(request);
        if self.states.len() < slots.end as usize {
            self.states.resize_with(slots.end as usize, AtomicU8::default);
        }
        for slot in slots {
            let number = self.events.plan().event(slot);
            let before = *self.states[number as usize].get_mut();
            if self.events.plan().lacks_message_id(number) {
                // Each sending may be kept on its own, those of another ledger with the same seed too.
                let old = if before == 0 { Bounds { min: 0, max: 0 } } else { self.bounds(number) };
                let sum = Bounds { min: old.min + bounds.min, max: old.max + bounds.max };
                if sum != default_bounds(before | state) {
                    self.bounds.insert(number, sum);
                }
            }
            *self.states[number as usize].get_mut() = before | state;
        }
    }

    /// Whether this is the `source` that the output shows for the run's events.
    pub(super) fn is_source(&self, source: &[u8]) -> bool {
        source == self.workload.source.as_bytes()
    }

    /// How often event `number` may be in the output.
    pub(super) fn bounds(&self, number: u64) -> Bounds {
        let state = self.states[number as usize].load(Ordering::Relaxed);
        self.bounds.get(&number).copied().unwrap_or_else(|| default_bounds(state))
    }

    /// Whether some request carried event `number`.
    pub(super) fn is_known(&self, number: u64) -> bool {
        self.states.get(number as usize).is_some_and(|state| state.load(Ordering::Relaxed) != 0)
    }

    /// Counts a line of the output.
    pub(super) fn see(&self, number: u64) {
        let more = |state: u8| (u32::from(state >> SEEN_SHIFT) < SEEN_MAX).then(|| state + (1 << SEEN_SHIFT));
        // An event that was seen too often to count stays at the end of the scale.
        let _ = self.states[number as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Every event that a request carried, and how often it was seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = (u64, u32)> {
        self.states.iter().enumerate().filter_map(|(number, state)| {
            let state = state.load(Ordering::Relaxed);
            (state != 0).then(|| (number as u64, u32::from(state >> SEEN_SHIFT)))
        })
    }
}

impl Tally {
    fn count(&mut self, outcome: Option<Outcome>) {
        self.requests += 1;
        *match outcome {
            Some(Outcome::Acknowledged) => &mut self.acknowledged,
            Some(Outcome::Refused) => &mut self.refused,
            Some(Outcome::Uncertain) => &mut self.uncertain,
            Some(Outcome::NeverSent) => &mut self.never_sent,
            Some(Outcome::Unanswered) | None => &mut self.unanswered,
        } += 1;
    }
}

fn default_bounds(state: u8) -> Bounds {
    Bounds { min: u32::from(state & MUST != 0), max: u32::from(state & (MUST | MAY) != 0) }
}
