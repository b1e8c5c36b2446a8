//! The smallest state: how many numbers there were, and their sum. It has its own records, genesis and file.

mod file;
mod record;
mod subject;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use changelog::{Applied, LogId, Mistrust, Point, Said, State, Undecodable};
use thiserror::Error;
use wire::Window;

pub use record::{CounterGenesis, CounterRecord};
pub use subject::CounterSubject;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many numbers.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
}

/// A sum of numbers.
#[derive(Debug)]
pub struct Counter {
    path: PathBuf,
    log: LogId,
    seed: u64,
    applied: Option<Point>,
    committed: Sum,
    decided: Vec<u64>,
}

/// Why it could not do something.
#[derive(Debug, Error)]
pub enum CounterError {
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What is kept is not to be believed.
    #[error("{0}")]
    Untrue(Mistrust),
}

impl Counter {
    /// What it knows, uncommitted numbers included.
    pub fn known(&self) -> Sum {
        self.decided.iter().fold(self.committed, |sum, number| sum.plus(*number))
    }

    /// Counts a number that no log has yet.
    pub fn decide(&mut self, number: u64) {
        self.decided.push(number);
    }

    /// Makes what was applied durable: all of it or nothing.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn keep(&self) -> io::Result<()> {
        let Some(applied) = self.applied else { return Ok(()) };
        file::Kept { log: self.log, seed: self.seed, applied, sum: self.committed }.write(&self.path)
    }
}

impl Sum {
    fn plus(self, number: u64) -> Self {
        Self { count: self.count + 1, sum: self.sum + number }
    }
}

impl State for Counter {
    type Genesis = CounterGenesis;
    type Settings = ();
    type Error = CounterError;
    type Record<'r> = CounterRecord;

    fn open(dir: &Path, log: LogId, genesis: &CounterGenesis, (): &()) -> Result<Self, CounterError> {
        fs::create_dir_all(dir)?;
        let path = file::path(dir);
        let kept = file::Kept::read(&path)?;
        if let Some(kept) = &kept {
            if kept.log != log {
                return Err(CounterError::Untrue(Mistrust::OtherLog("it counts another log".into())));
            }
            if kept.seed != genesis.seed {
                return Err(CounterError::Untrue(Mistrust::OtherGenesis("it counts under another seed".into())));
            }
        }
        let (applied, committed) = kept.map_or((None, Sum::default()), |kept| (Some(kept.applied), kept.sum));
        Ok(Self { path, log, seed: genesis.seed, applied, committed, decided: Vec::new() })
    }

    fn destroy(dir: &Path) -> Result<(), CounterError> {
        match fs::remove_file(file::path(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn mistrust(error: &CounterError) -> Option<Mistrust> {
        match error {
            CounterError::Io(_) => None,
            CounterError::Untrue(mistrust) => Some(mistrust.clone()),
        }
    }

    fn window(_: &CounterGenesis) -> Window {
        crate::window()
    }

    fn decode(record: &[u8]) -> Result<CounterRecord, Undecodable> {
        CounterRecord::decode(record)
    }

    fn said(record: &CounterRecord) -> Said<'_, CounterGenesis> {
        let is_batch = record.number.is_some();
        Said {
            genesis: record.genesis,
            is_genesis: record.genesis.is_some() && record.positions.is_empty() && record.chain.checkpoint.is_none(),
            is_mark: record.is_mark,
            chain: record.chain,
            clock_ms: record.clock_ms,
            positions: &record.positions,
            has_all_positions: record.has_all_positions,
            entries: u64::from(is_batch),
        }
    }

    fn applied(&self) -> Option<Point> {
        self.applied
    }

    fn apply(&mut self, _: u64, next: Point, record: &CounterRecord) -> Result<Applied, CounterError> {
        if self.applied.is_some_and(|point| next.next_offset <= point.next_offset) {
            return Ok(Applied::Covered);
        }
        if let Some(number) = record.number {
            self.committed = self.committed.plus(number);
        }
        self.applied = Some(next);
        Ok(Applied::Yes)
    }

    fn discard(&mut self) {
        self.decided.clear();
    }
}
