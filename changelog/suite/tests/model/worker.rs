//! A process that would own the lane, from the first look to its end.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use changelog::{
    Beginning, ErrorOf, Point, Positions, RestoreError, Restored, Said, Start, State as _, each, genesis, restore,
};
use wire::changelog::{Chain, Genesis, encode_genesis};
use wire::{DigestSeed, LaneCount};

use crate::index::{Index, Sealed, over};
use crate::invariants::Violation;
use crate::lane::{LANE, Lane, Transaction};
use crate::mutant::Mutant;
use crate::rules::{Rules, START_MS, window};
use crate::truth::Truth;

/// A process.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Worker {
    /// What lies on its disk while no index has it open.
    disk: Option<Sealed>,
    pub(crate) phase: Phase,
}

/// How far it is.
#[derive(Debug, Clone, Hash)]
pub(crate) enum Phase {
    /// Nothing is begun. The index is kept over a fault, and lost by a crash.
    Idle { index: Option<Index> },
    /// It has looked at the log, and takes it over.
    Taking { index: Option<Index>, epoch: Option<u8>, log: Option<Truth> },
    /// It believes to own the lane.
    Held(Box<Lane>),
}

/// Why a takeover ends.
pub(crate) enum Refused {
    /// The log is being made again: it is looked at another time.
    Unfinished,
    /// It is against a rule.
    Violation(Violation),
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self { disk: None, phase: Phase::Idle { index: None } }
    }

    /// The lane that it believes to own.
    pub(crate) fn lane(&self) -> Option<&Lane> {
        if let Phase::Held(lane) = &self.phase { Some(lane) } else { None }
    }

    /// The same, to work on.
    pub(crate) fn lane_mut(&mut self) -> Option<&mut Lane> {
        if let Phase::Held(lane) = &mut self.phase { Some(lane) } else { None }
    }

    /// What it would publish, and has not been told the outcome of.
    pub(crate) fn in_flight(&self) -> Option<&Transaction> {
        self.lane()?.in_flight()
    }

    fn take_index(&mut self) -> Option<Index> {
        match std::mem::replace(&mut self.phase, Phase::Idle { index: None }) {
            Phase::Idle { index } | Phase::Taking { index, .. } => index,
            Phase::Held(lane) => Some(lane.index),
        }
    }

    /// It is killed.
    pub(crate) fn crash(&mut self) {
        if let Some(index) = self.take_index() {
            self.disk = Some(index.into_sealed());
        }
    }

    /// It begins again from the log, with what it has in memory.
    pub(crate) fn fault(&mut self) {
        self.phase = Phase::Idle { index: self.take_index() };
    }

    /// It brings the index to the end of what is committed, without a fence.
    pub(crate) fn look(&mut self, rules: &Rules, log: &Truth) -> Result<(), Refused> {
        let mut log = log.clone();
        let found = genesis::<_, Index>(&mut log).map_err(|error| refused(&error))?;
        let index = match found {
            Some(genesis) => Some(self.replay(rules, &mut log, &genesis)?.state),
            None => self.take_index(),
        };
        self.phase = Phase::Taking { index, epoch: None, log: None };
        Ok(())
    }

    /// Brings the index to the end of the log that was measured, and holds the lane.
    pub(crate) fn restore(
        &mut self,
        rules: &Rules,
        epoch: u8,
        mut log: Truth,
        seen: Vec<usize>,
    ) -> Result<(), Refused> {
        let genesis = genesis::<_, Index>(&mut log).map_err(|error| refused(&error))?;
        let genesis = genesis.expect("whoever finds an empty log begins it");
        let restored = self.replay(rules, &mut log, &genesis)?;
        self.phase = Phase::Held(Box::new(Lane::new(*rules, epoch, genesis, restored, seen)));
        Ok(())
    }

    fn replay(&mut self, rules: &Rules, log: &mut Truth, genesis: &Genesis) -> Result<Restored<Index>, Refused> {
        let kept = self.take_index();
        let disk = kept.as_ref().map(Index::sealed).cloned().or_else(|| self.disk.take());
        let applied = match &kept {
            Some(index) => index.applied(),
            None => disk.as_ref().and_then(Sealed::covered),
        };
        let (restored, disk) = over(disk, || {
            let made = (genesis, &rules.mutant);
            restore(log, Path::new(""), kept, made, Beginning::MustBeThere, &mut |_| ControlFlow::Continue(()))
        });
        self.disk = disk;
        let mut restored = restored.map_err(|error| refused(&error))?;
        if rules.is(Mutant::AppliedPositionsAlone) {
            restored.positions = positions_behind(log, applied);
        }
        Ok(restored)
    }
}

/// The genesis that a lane is begun with; each rebuild has a seed of its own.
pub(crate) fn genesis_of(seed: u8, created_ms: i64) -> Genesis {
    Genesis { lanes: LaneCount::ONE, seed: DigestSeed(seed.into()), window: window(), created_ms }
}

/// The record that begins a lane.
pub(crate) fn first_record() -> Rc<[u8]> {
    let mut record = Vec::new();
    encode_genesis(&mut record, LANE, Chain::default(), &genesis_of(0, START_MS));
    record.into()
}

fn refused(error: &ErrorOf<Truth, Index>) -> Refused {
    match error {
        RestoreError::Unfinished => Refused::Unfinished,
        error => Refused::Violation(Violation::LogIsRefused(error.to_string())),
    }
}

/// What only the records behind a place say of the positions.
fn positions_behind(log: &mut Truth, applied: Option<Point>) -> Positions {
    let mut positions = Positions::default();
    let read = each::<_, Index, ErrorOf<Truth, Index>>(log, Start::First, |placed, record| {
        if applied.is_none_or(|point| point.next_offset < placed.next.next_offset) {
            let Said { positions: moved, .. } = Index::said(&record);
            positions.enter(moved);
        }
        Ok(ControlFlow::Continue(()))
    });
    let _ = read.expect("it was read a moment ago");
    positions
}
