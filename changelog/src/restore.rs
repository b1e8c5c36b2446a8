//! Bringing a state to the end of its log.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use wire::changelog::Position;

use crate::unfinished::is_marked;
use crate::{Applied, Clock, Log, Mistrust, Placed, Positions, Said, Start, State, Undecodable};

/// A state at the end of its log.
#[derive(Debug)]
pub struct Restored<S> {
    /// The state.
    pub state: S,
    /// How far the inputs have been read.
    pub positions: Positions,
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
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
}

/// Offsets before the end among which the newest record is looked for first: records and the marks of transactions,
/// aborted ones included.
const TAIL_OFFSETS: u64 = 64;

/// The first genesis or checkpoint, whichever comes first; `None` where nothing was ever committed, although there may be
/// offsets that an aborted genesis took.
///
/// # Errors
/// [`RestoreError`]; above all where there are records without one, or where they have been deleted.
pub fn genesis<L: Log, S: State>(log: &mut L) -> Result<Option<S::Genesis>, ErrorOf<L, S>> {
    let bounds = log.bounds().map_err(RestoreError::Log)?;
    let (mut genesis, mut is_empty) = (None, bounds.start == 0);
    let _ = each::<L, S, RestoreError<_, _>>(log, Start::First, |_, record| {
        is_empty = false;
        genesis = S::said(&record).genesis;
        Ok(if genesis.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    if genesis.is_some() || is_empty {
        return Ok(genesis);
    }
    Err(RestoreError::NoGenesis { from: bounds.start, to: bounds.end })
}

/// What the first record says; `None` where there is none.
///
/// # Errors
/// [`RestoreError`].
pub fn first<L: Log, S: State>(log: &mut L) -> Result<Option<Said<S::Genesis>>, ErrorOf<L, S>> {
    let mut first = None;
    let _ = each::<L, S, RestoreError<_, _>>(log, Start::First, |_, record| {
        first = Some(S::said(&record));
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// What the newest record says; `None` where there is none.
///
/// # Errors
/// [`RestoreError`].
pub fn newest<L: Log, S: State>(log: &mut L) -> Result<Option<Newest>, ErrorOf<L, S>> {
    let bounds = log.bounds().map_err(RestoreError::Log)?;
    let mut offsets = TAIL_OFFSETS;
    loop {
        let from = bounds.end.saturating_sub(offsets).max(bounds.start);
        let start = if from == bounds.start { Start::First } else { Start::Before(from + 1) };
        let mut newest = None;
        let _ = each::<L, S, RestoreError<_, _>>(log, start, |_, record| {
            let Said { clock_ms, positions, .. } = S::said(&record);
            newest = Some(Newest { positions: Positions::from_record(&positions.unwrap_or_default()), clock_ms });
            Ok(ControlFlow::Continue(()))
        })?;
        if newest.is_some() || from == bounds.start {
            return Ok(newest);
        }
        offsets *= 2;
    }
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
        let mut progress = Progress { from, offset: from, end: bounds.end, entries: 0 };
        let (mut proof, mut records) = (mark, 0);
        let (mut positions, mut clock_ms, mut begun_ms) = (Vec::<Position>::new(), None::<i64>, None::<i64>);
        let Self { log, genesis, tell, .. } = self;
        let end = each::<L, S, Failed<_, _>>(log, start, |Placed { offset, next, appended_ms }, record| {
            if let Some(mark) = proof.take()
                && (mark.next_offset, mark.checksum) != (next.next_offset, next.checksum)
            {
                return Err(Failed::Mistrust(Mistrust::OtherRecord));
            }
            let said = S::said(&record);
            if let Some(found) = said.genesis.as_ref().filter(|found| found != genesis) {
                let found = format!("{genesis:?} and {found:?}");
                return Err(RestoreError::TwoGeneses { at: offset, found }.into());
            }
            if said.is_genesis {
                begun_ms = Some(appended_ms.map_or(said.clock_ms, |ms| ms.min(said.clock_ms)));
            } else {
                clock_ms = clock_ms.max(Some(said.clock_ms));
            }
            positions = said.positions.unwrap_or_default();
            if state.apply(offset, next, &record).map_err(Self::failed)? == Applied::Yes {
                records += 1;
            }
            (progress.offset, progress.entries) = (next.next_offset, progress.entries + said.entries);
            Ok(tell(progress))
        })?;
        if end.is_break() {
            return Err(RestoreError::Stopped.into());
        }
        if proof.is_some() {
            return Err(Failed::Mistrust(Mistrust::OtherRecord));
        }
        if is_marked(&positions) {
            return Err(RestoreError::Unfinished.into());
        }
        let positions = Positions::from_record(&positions);
        Ok(Restored { state, positions, clock_ms, begun_ms, thrown_away: None, records })
    }

    fn failed(error: S::Error) -> Failed<L::Error, S::Error> {
        S::mistrust(&error).map_or(Failed::Error(RestoreError::State(error)), Failed::Mistrust)
    }

    /// Refuses a log of which records are gone that the window still reaches. Retention takes only older ones, and leaves
    /// a checkpoint or a batch at the beginning; so does who cuts it, or makes it anew under a live owner.
    fn reaches_back(&mut self, at: u64) -> Result<(), ErrorOf<L, S>> {
        let first = first::<L, S>(self.log)?;
        let Some(Said { clock_ms: begins_ms, is_genesis: false, .. }) = first else { return Ok(()) };
        let clock_ms = newest::<L, S>(self.log)?.map_or(begins_ms, |newest| newest.clock_ms);
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
