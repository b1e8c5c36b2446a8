//! One case: a log of its own, and the place of a state.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use changelog::{Beginning, Log, Mistrust, Point, Positions, Progress, RestoreError, Restored, Start, State, restore};
use tempfile::TempDir;
use wire::changelog::{Chain, Link, LogPositions, Position};

use crate::{BEGUN_MS, Bench, Content, Memory, Reached, Subject};

pub(crate) type GenesisOf<S> = <<S as Subject>::State as State>::Genesis;
pub(crate) type ErrorOf<B, S> = RestoreError<<B as Bench>::Error, <<S as Subject>::State as State>::Error>;

/// The seed of the genesis that the log has.
const SEED: u64 = 1;

pub(crate) struct Scene<'s, S: Subject, B: Bench> {
    pub(crate) bench: &'s mut B,
    pub(crate) genesis: GenesisOf<S>,
    lane: u32,
    /// Whether anything was appended: some logs make their own beginning where there is none.
    is_begun: bool,
    folder: TempDir,
}

/// What a restore came to, the state being closed.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome<K> {
    pub(crate) known: K,
    pub(crate) applied: Option<Point>,
    pub(crate) positions: Positions,
    pub(crate) clock_ms: Option<i64>,
    pub(crate) begun_ms: Option<i64>,
    pub(crate) thrown_away: Option<Mistrust>,
    pub(crate) records: u64,
}

/// The window's clock at a number.
pub(crate) fn clock_ms(number: u64) -> i64 {
    BEGUN_MS + number.cast_signed() * 10
}

/// Where the inputs stand at a number.
pub(crate) fn positions(number: u64) -> Vec<LogPositions> {
    of_partition(0, number)
}

/// Where one partition of the input stands at a number.
pub(crate) fn of_partition(partition: u32, number: u64) -> Vec<LogPositions> {
    let position = Position { partition, leader_epoch: 2, next_offset: number * 100, appended_ms: clock_ms(number) };
    vec![LogPositions { cluster_id: b"a cluster".to_vec(), topic_id: [7; 16], partitions: vec![position] }]
}

pub(crate) fn reached(number: u64) -> Reached {
    Reached { clock_ms: clock_ms(number), positions: positions(number), has_all_positions: true }
}

/// A batch that has the position of one partition, and not those of the others.
pub(crate) fn moved<G>(number: u64, partition: u32) -> Content<G> {
    let positions = of_partition(partition, number);
    Content::Batch(number, Reached { clock_ms: clock_ms(number), positions, has_all_positions: false })
}

pub(crate) fn batch<G>(number: u64) -> Content<G> {
    Content::Batch(number, reached(number))
}

impl<'s, S: Subject, B: Bench> Scene<'s, S, B> {
    /// With an empty log.
    pub(crate) fn new(name: &str, bench: &'s mut B) -> Self {
        println!("{name}");
        let lane = bench.begin();
        Self { bench, genesis: S::genesis(SEED), lane, is_begun: false, folder: TempDir::new().unwrap() }
    }

    /// With the log that most cases begin with: a genesis, the numbers 1 and 2; a checkpoint and the number 3.
    pub(crate) fn written(name: &str, bench: &'s mut B) -> Self {
        let mut scene = Self::new(name, bench);
        scene.append(&[Content::Genesis(scene.genesis.clone()), batch(1), batch(2)]);
        scene.append(&[scene.checkpoint(2), batch(3)]);
        scene
    }

    pub(crate) fn checkpoint(&self, number: u64) -> Content<GenesisOf<S>> {
        Content::Checkpoint(self.genesis.clone(), reached(number))
    }

    /// A record behind those of this log.
    pub(crate) fn encode(&self, behind: &mut impl Log<Error: Debug>, content: &Content<GenesisOf<S>>) -> Vec<u8> {
        S::encode(self.lane, chain::<S>(behind), content)
    }

    /// A record behind those of the log.
    pub(crate) fn next(&mut self, content: &Content<GenesisOf<S>>) -> Vec<u8> {
        let chain = if self.is_begun { chain::<S>(&mut self.bench.log()) } else { Chain::default() };
        S::encode(self.lane, chain, content)
    }

    /// A record behind whatever is named.
    pub(crate) fn encode_behind(&self, chain: Chain, content: &Content<GenesisOf<S>>) -> Vec<u8> {
        S::encode(self.lane, chain, content)
    }

    /// Commits them, one after the other.
    pub(crate) fn append(&mut self, contents: &[Content<GenesisOf<S>>]) {
        for content in contents {
            let record = self.next(content);
            self.bench.append(&[record]);
            self.is_begun = true;
        }
    }

    /// Where the state is.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A copy of the log as it is.
    pub(crate) fn copy(&mut self) -> Memory {
        Memory::copy_of(&mut self.bench.log())
    }

    /// The offset behind the log's last.
    pub(crate) fn end(&mut self) -> u64 {
        self.bench.log().bounds().unwrap().end
    }

    /// A state in [`dir`](Self::dir) that was made from `past`, under this genesis.
    pub(crate) fn made_from(&self, mut past: Memory, genesis: &GenesisOf<S>) -> S::State {
        let settings = (genesis, &S::settings());
        match restore(&mut past, &self.dir(), None, settings, Beginning::MayBeGone, &mut go_on) {
            Ok(Restored { state, thrown_away: None, .. }) => state,
            Ok(Restored { thrown_away, .. }) => panic!("there was a state already, and {thrown_away:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Keeps a state in [`dir`](Self::dir) that was made from `past`.
    pub(crate) fn remember(&self, past: Memory) {
        S::keep(self.made_from(past, &self.genesis));
    }

    /// Brings the state to the end of the log, or what was kept in memory.
    pub(crate) fn restore(
        &mut self,
        kept: Option<S::State>,
        beginning: Beginning,
    ) -> Result<Restored<S::State>, ErrorOf<B, S>> {
        let dir = self.dir();
        self.restore_in(&dir, kept, beginning)
    }

    fn restore_in(
        &mut self,
        dir: &Path,
        kept: Option<S::State>,
        beginning: Beginning,
    ) -> Result<Restored<S::State>, ErrorOf<B, S>> {
        restore(&mut self.bench.log(), dir, kept, (&self.genesis, &S::settings()), beginning, &mut go_on)
    }

    /// The same, closed again, where nothing of the log is gone.
    pub(crate) fn restored(&mut self) -> Outcome<S::Known> {
        closed::<S, _, _>(self.restore(None, Beginning::MustBeThere))
    }

    /// What a state comes to that is made from what the log holds.
    pub(crate) fn fresh(&mut self) -> Outcome<S::Known> {
        let folder = TempDir::new().unwrap();
        closed::<S, _, _>(self.restore_in(&folder.path().join("state"), None, Beginning::MayBeGone))
    }

    /// Why the log is refused.
    pub(crate) fn refused(&mut self, beginning: Beginning) -> ErrorOf<B, S> {
        match self.restore(None, beginning) {
            Ok(restored) => panic!("not refused: {:?}", outcome::<S>(&restored)),
            Err(error) => error,
        }
    }
}

impl<K> Outcome<K> {
    /// Nothing was thrown away, or this is what came of it.
    pub(crate) fn without_reason(self) -> Self {
        Self { thrown_away: None, ..self }
    }
}

/// What the next record of a log is to name; what cannot be read of it is passed over.
pub(crate) fn chain<S: Subject>(log: &mut impl Log<Error: Debug>) -> Chain {
    let mut chain = Chain::default();
    let read = log.read(Start::First, &mut |placed, bytes| {
        let Point { next_offset: end, checksum, .. } = placed.next;
        chain.before = Some(Link { end, checksum });
        if let Ok(record) = S::State::decode(bytes) {
            let said = S::State::said(&record);
            if said.is_mark {
                chain.checkpoint = None;
            }
            if said.has_all_positions {
                chain.checkpoint = Some(end);
            }
        }
        ControlFlow::Continue(())
    });
    // One that looks for the ends of records does not get past one that cannot be read.
    let _ = read;
    chain
}

pub(crate) fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What a restore came to.
pub(crate) fn outcome<S: Subject>(restored: &Restored<S::State>) -> Outcome<S::Known> {
    Outcome {
        known: S::known(&restored.state),
        applied: restored.state.applied(),
        positions: restored.positions.clone(),
        clock_ms: restored.clock_ms,
        begun_ms: restored.begun_ms,
        thrown_away: restored.thrown_away.clone(),
        records: restored.records,
    }
}

pub(crate) fn closed<S: Subject, L: Debug, E: Debug>(
    restored: Result<Restored<S::State>, RestoreError<L, E>>,
) -> Outcome<S::Known> {
    match restored {
        Ok(restored) => {
            let outcome = outcome::<S>(&restored);
            S::keep(restored.state);
            outcome
        }
        Err(error) => panic!("{error:?}"),
    }
}
