//! Bringing a state to the end of its log.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use wire::changelog::Chain;

use crate::passage::{Hole, Passage};
use crate::{Applied, Clock, Log, Mistrust, Placed, Point, Positions, Said, Start, State, Undecodable};

/// A state at the end of its log.
#[derive(Debug)]
pub struct Restored<S> {
    /// The state.
    pub state: S,
    /// How far the inputs have been read.
    pub positions: Positions,
    /// What the next record of the log is to name.
    pub chain: Chain,
    /// The window's clock at the newest record, milliseconds since the Unix epoch; `None` where there is only a genesis.
    pub clock_ms: Option<i64>,
    /// When the genesis was made, where it was among what was replayed, by whichever clock has it earlier.
    pub begun_ms: Option<i64>,
    /// Why the state that was there was thrown away, if it was.
    pub thrown_away: Option<Mistrust>,
    /// Records replayed.
    pub records: u64,
}

impl<S> Restored<S> {
    /// The window's clock as it stands there; for the lengths see [`Clock::resume`].
    pub fn clock(&self, bucket: Duration, input_retention: Duration) -> Clock {
        match (self.clock_ms, self.begun_ms) {
            (Some(clock_ms), _) => Clock::resume(clock_ms, bucket, input_retention),
            (None, begun_ms) => Clock::begin(begun_ms.unwrap_or(0), bucket, input_retention),
        }
    }
}

/// What is to be done where records of the window are gone from the log's beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// It is refused: what they published would be published again.
    MustBeThere,
    /// What is left is taken for all there was.
    MayBeGone,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Where it began.
    pub from: u64,
    /// Offset of the log reached.
    pub offset: u64,
    /// Offset to be reached.
    pub end: u64,
    /// Entries since it began.
    pub entries: u64,
}

/// Why a state is not at the end of its log, sorted by what follows.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError<L, S> {
    /// The log cannot be read now; again later.
    #[error("{0}")]
    Log(L),
    /// The state could not do something; its own error says what follows.
    #[error("{0}")]
    State(S),
    /// There are records, but neither a genesis nor a checkpoint among them: nobody can say what they mean.
    #[error("holds neither a genesis nor a checkpoint between {from} and {to}")]
    NoGenesis {
        /// First offset that is there.
        from: u64,
        /// Offset behind the last.
        to: u64,
    },
    /// Two records that do not agree on what never changes.
    #[error("holds two different geneses, the second one at {at}: {found}")]
    TwoGeneses {
        /// The offset of the second.
        at: u64,
        /// Both of them.
        found: String,
    },
    /// Records of the window are gone from the beginning, and no state knows them.
    #[error("begins in the middle of the window, at {at}")]
    BeginsInsideWindow {
        /// The first offset that is there.
        at: u64,
    },
    /// It was being made again from something else, and that was not finished.
    #[error("a rebuild was interrupted")]
    Unfinished,
    /// A record cannot be read.
    #[error("is damaged at {at}: {why}")]
    Damaged {
        /// Its offset.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A newer program wrote a record.
    #[error("was written by a newer version of this program, in format {version}, at {at}")]
    Newer {
        /// Its offset.
        at: u64,
        /// Its version.
        version: u8,
    },
    /// An older program wrote a record, and this one does not read it.
    #[error(
        "was written by an older version of this program, in format {version}, at {at}, which is not read any more"
    )]
    Older {
        /// Its offset.
        at: u64,
        /// Its version.
        version: u8,
    },
    /// A record names another one before it than lies there, or a checkpoint that is none.
    #[error("has a hole before {at}: that record does not follow the one before it")]
    Hole {
        /// Its offset.
        at: u64,
    },
    /// Whoever was told of the progress said so.
    #[error("stopped")]
    Stopped,
}

/// The error of a state that is made from such a log.
pub type ErrorOf<L, S> = RestoreError<<L as Log>::Error, <S as State>::Error>;

/// Is told how far a replay has come, and says whether to go on.
pub type Tell<'t> = &'t mut dyn FnMut(Progress) -> ControlFlow<()>;

/// What the newest record says, without reading the whole log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// How far the inputs have been read.
    pub positions: Positions,
    /// The window's clock, milliseconds since the Unix epoch; of a genesis alone: when it was made.
    pub clock_ms: i64,
    /// Whether the log is being made again from something else, or that was interrupted.
    pub is_unfinished: bool,
}

/// Offsets before the end among which the newest record is looked for first: records and the marks of transactions,
/// aborted ones included.
const TAIL_OFFSETS: u64 = 64;

/// The first genesis or checkpoint, whichever comes first; `None` where nothing was ever committed, although there may be
/// offsets that an aborted genesis took.
///
/// # Errors
/// [`RestoreError`]; above all where there are records without one, or where they have been deleted, and where nothing but the
/// mark of a rebuild is there yet.
pub fn genesis<L: Log, S: State>(log: &mut L) -> Result<Option<S::Genesis>, ErrorOf<L, S>> {
    let bounds = log.bounds().map_err(RestoreError::Log)?;
    let (mut genesis, mut is_empty, mut is_marked) = (None, bounds.start == 0, false);
    let _ = each::<L, S, RestoreError<_, _>>(log, Start::First, |_, record| {
        let said = S::said(&record);
        (is_empty, is_marked) = (false, is_marked || said.is_mark);
        genesis = said.genesis;
        Ok(if genesis.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    match genesis {
        Some(genesis) => Ok(Some(genesis)),
        None if is_empty => Ok(None),
        None if is_marked => Err(RestoreError::Unfinished),
        None => Err(RestoreError::NoGenesis { from: bounds.start, to: bounds.end }),
    }
}

/// What the first record of a log says of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// The window's clock, milliseconds since the Unix epoch; of the genesis: when it was made.
    pub clock_ms: i64,
    /// Whether nothing came before: it is the genesis, or the mark of a log that is made again.
    pub is_beginning: bool,
}

/// What the first record says; `None` where there is none.
///
/// # Errors
/// [`RestoreError`].
pub fn first<L: Log, S: State>(log: &mut L) -> Result<Option<First>, ErrorOf<L, S>> {
    let mut first = None;
    let _ = each::<L, S, RestoreError<_, _>>(log, Start::First, |_, record| {
        let Said { clock_ms, is_genesis, is_mark, .. } = S::said(&record);
        first = Some(First { clock_ms, is_beginning: is_genesis || is_mark });
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// What the newest record says, and those before it back to the one that has every position; `None` where there is none.
///
/// # Errors
/// [`RestoreError`].
pub fn newest<L: Log, S: State>(log: &mut L) -> Result<Option<Newest>, ErrorOf<L, S>> {
    let bounds = log.bounds().map_err(RestoreError::Log)?;
    let mut offsets = TAIL_OFFSETS;
    let mut passage = loop {
        let from = bounds.end.saturating_sub(offsets).max(bounds.start);
        let start = if from == bounds.start { Start::First } else { Start::Before(from + 1) };
        let passage = pass::<L, S>(log, start)?;
        if passage.is_begun() || from == bounds.start {
            break passage;
        }
        offsets *= 2;
    };
    if let Some(end) = passage.begins_at().filter(|end| *end > bounds.start) {
        passage = pass::<L, S>(log, Start::Before(end))?;
    }
    if !passage.is_begun() {
        return Ok(None);
    }
    let Passage { clock_ms, begun_ms, is_unfinished, .. } = passage;
    let positions = passage.into_positions().unwrap_or_default();
    Ok(Some(Newest { positions, clock_ms: clock_ms.or(begun_ms).unwrap_or(0), is_unfinished }))
}

/// Reads to the end.
fn pass<L: Log, S: State>(log: &mut L, start: Start) -> Result<Passage, ErrorOf<L, S>> {
    let mut passage = Passage::default();
    let _ = each::<L, S, RestoreError<_, _>>(log, start, |placed, record| {
        let Placed { offset: at, .. } = placed;
        passage.take(placed, &S::said(&record)).map_err(|Hole| RestoreError::Hole { at })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(passage)
}

/// Brings the state in `dir` to the end of `log`, which began with `genesis`, or `kept`, which was there before a fault. A
/// state that is not what the log says is thrown away, and made from the first record.
///
/// # Errors
/// [`RestoreError`]; the state in `dir` is then as far as it came.
pub fn restore<L: Log, S: State>(
    log: &mut L,
    dir: &Path,
    kept: Option<S>,
    (genesis, settings): (&S::Genesis, &S::Settings),
    beginning: Beginning,
    tell: Tell<'_>,
) -> Result<Restored<S>, ErrorOf<L, S>> {
    let mut replay = Replay { log, dir, genesis, settings, beginning, tell };
    let mistrust = match replay.run(kept) {
        Ok(restored) => return Ok(restored),
        Err(Failed::Error(error)) => return Err(error),
        Err(Failed::Mistrust(mistrust)) => mistrust,
    };
    S::destroy(dir).map_err(RestoreError::State)?;
    match replay.run(None) {
        Ok(restored) => Ok(Restored { thrown_away: Some(mistrust), ..restored }),
        Err(Failed::Error(error)) => Err(error),
        // Made a moment ago, from this log.
        Err(Failed::Mistrust(_)) => {
            Err(RestoreError::Damaged { at: 0, why: "what was just made from it is not of it" })
        }
    }
}

enum Failed<L, S> {
    Mistrust(Mistrust),
    Error(RestoreError<L, S>),
}

impl<L, S> From<RestoreError<L, S>> for Failed<L, S> {
    fn from(error: RestoreError<L, S>) -> Self {
        Self::Error(error)
    }
}

struct Replay<'r, L: Log, S: State> {
    log: &'r mut L,
    dir: &'r Path,
    genesis: &'r S::Genesis,
    settings: &'r S::Settings,
    beginning: Beginning,
    tell: Tell<'r>,
}

impl<L: Log, S: State> Replay<'_, L, S> {
    fn run(&mut self, kept: Option<S>) -> Result<Restored<S>, Failed<L::Error, S::Error>> {
        let mut state = match kept {
            Some(mut state) => {
                state.discard();
                state
            }
            None => S::open(self.dir, self.log.id(), self.genesis, self.settings).map_err(Self::failed)?,
        };
        let bounds = self.log.bounds().map_err(RestoreError::Log)?;
        let mark = state.applied();
        let start = match mark {
            None => Start::First,
            Some(mark) if mark.next_offset > bounds.end => return Err(Failed::Mistrust(Mistrust::AheadOfLog)),
            Some(mark) if mark.next_offset <= bounds.start => return Err(Failed::Mistrust(Mistrust::LogBeginsLater)),
            // It proves that this is the same log, and it has the positions.
            Some(mark) => Start::Before(mark.next_offset),
        };
        // Before anything is entered: a state that has applied something is proof that all was there.
        if mark.is_none() && self.beginning == Beginning::MustBeThere {
            self.reaches_back(bounds.start)?;
        }
        let from = mark.map_or(bounds.start, |mark| mark.next_offset);
        let start = match mark {
            None => Start::First,
            Some(mark) => self.before(mark, start)?,
        };
        let mut progress = Progress { from, offset: from, end: bounds.end, entries: 0 };
        let (mut passage, mut records) = (Passage::default(), 0);
        let Self { log, genesis, tell, beginning, .. } = self;
        let end = each::<L, S, Failed<_, _>>(log, start, |placed, record| {
            let Placed { offset, next, .. } = placed;
            let said = S::said(&record);
            if let Some(found) = said.genesis.as_ref().filter(|found| found != genesis) {
                let found = format!("{genesis:?} and {found:?}");
                return Err(RestoreError::TwoGeneses { at: offset, found }.into());
            }
            passage.take(placed, &said).map_err(|Hole| RestoreError::Hole { at: offset })?;
            // What comes before the mark is read for its positions alone.
            if mark.is_some_and(|mark| next.next_offset <= mark.next_offset) {
                return Ok(ControlFlow::Continue(()));
            }
            if state.apply(offset, next, &record).map_err(Self::failed)? == Applied::Yes {
                records += 1;
            }
            (progress.offset, progress.entries) = (next.next_offset, progress.entries + said.entries);
            Ok(tell(progress))
        })?;
        if end.is_break() {
            return Err(RestoreError::Stopped.into());
        }
        if passage.is_unfinished {
            return Err(RestoreError::Unfinished.into());
        }
        let Passage { chain, clock_ms, begun_ms, .. } = passage;
        let positions = match (passage.into_positions(), *beginning) {
            (Some(positions), _) => positions,
            (None, Beginning::MayBeGone) => Positions::default(),
            (None, Beginning::MustBeThere) => return Err(RestoreError::Hole { at: bounds.start }.into()),
        };
        Ok(Restored { state, positions, chain, clock_ms, begun_ms, thrown_away: None, records })
    }

    /// Demands that the record under the mark is the one that the state ends with, and says where reading begins: at the
    /// newest record up to there that has every position, where that is there.
    fn before(&mut self, mark: Point, start: Start) -> Result<Start, Failed<L::Error, S::Error>> {
        let mut found = None;
        let _ = each::<L, S, Failed<_, _>>(self.log, start, |Placed { next, .. }, record| {
            if (mark.next_offset, mark.checksum) == (next.next_offset, next.checksum) {
                let said = S::said(&record);
                found = Some(if said.has_all_positions { Some(next.next_offset) } else { said.chain.checkpoint });
            }
            Ok(ControlFlow::Break(()))
        })?;
        let Some(checkpoint) = found else { return Err(Failed::Mistrust(Mistrust::OtherRecord)) };
        let begins = self.log.bounds().map_err(RestoreError::Log)?.start;
        // One that is gone, as retention takes it, is not missed where a later one is there: the state has all that comes
        // before its mark. Nor is there one where the log is being made again; the newest record says so.
        Ok(checkpoint.filter(|end| *end > begins).map_or(start, Start::Before))
    }

    fn failed(error: S::Error) -> Failed<L::Error, S::Error> {
        S::mistrust(&error).map_or(Failed::Error(RestoreError::State(error)), Failed::Mistrust)
    }

    /// Refuses a log of which records are gone that the window still reaches. Retention takes only older ones, and leaves
    /// a checkpoint or a batch at the beginning; so does who cuts it, or makes it anew under a live owner.
    fn reaches_back(&mut self, at: u64) -> Result<(), ErrorOf<L, S>> {
        let first = first::<L, S>(self.log)?;
        let Some(First { clock_ms: begins_ms, is_beginning: false }) = first else { return Ok(()) };
        let newest = newest::<L, S>(self.log)?;
        if newest.as_ref().is_some_and(|newest| newest.is_unfinished) {
            return Err(RestoreError::Unfinished);
        }
        let clock_ms = newest.map_or(begins_ms, |newest| newest.clock_ms);
        let window = S::window(self.genesis);
        if window.at(begins_ms) <= window.oldest(clock_ms) {
            return Ok(());
        }
        Err(RestoreError::BeginsInsideWindow { at })
    }
}

/// Hands each record to `take`, decoded, until that breaks off or fails; how it ended.
///
/// # Errors
/// As `take`; where the log cannot be read; [`RestoreError::Damaged`] and [`RestoreError::Newer`].
pub fn each<L: Log, S: State, E: From<ErrorOf<L, S>>>(
    log: &mut L,
    start: Start,
    mut take: impl FnMut(Placed, S::Record<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<ControlFlow<()>, E> {
    let mut outcome = Ok(ControlFlow::Continue(()));
    let read = log.read(start, &mut |placed, bytes| {
        outcome = match S::decode(bytes) {
            Ok(record) => take(placed, record),
            Err(Undecodable::Damaged(why)) => Err(RestoreError::Damaged { at: placed.offset, why }.into()),
            Err(Undecodable::Newer(version)) => Err(RestoreError::Newer { at: placed.offset, version }.into()),
            Err(Undecodable::Older(version)) => Err(RestoreError::Older { at: placed.offset, version }.into()),
        };
        if matches!(outcome, Ok(ControlFlow::Continue(()))) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    read.map_err(RestoreError::Log)?;
    outcome
}
