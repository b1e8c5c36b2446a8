//! The index as a state that is made from its changelog.

use std::path::Path;

use changelog::{Applied, LogId, Mistrust, Point, Said, State, Undecodable};
use wire::changelog::{Genesis, Record, VERSION};
use wire::{DecodeError, Window};

use crate::index::Replay;
use crate::{Index, IndexError, Options};

impl State for Index {
    type Genesis = Genesis;
    type Settings = Options;
    type Error = IndexError;
    type Record<'r> = Record<'r>;

    fn open(dir: &Path, log: LogId, genesis: &Genesis, settings: &Options) -> Result<Self, IndexError> {
        Self::open(dir, genesis, log, settings)
    }

    fn destroy(dir: &Path) -> Result<(), IndexError> {
        Self::destroy(dir)
    }

    fn mistrust(error: &IndexError) -> Option<Mistrust> {
        let why = || error.to_string();
        match error {
            IndexError::Damaged(_) => Some(Mistrust::Damaged(why())),
            IndexError::Foreign { is_log: true, .. } => Some(Mistrust::OtherLog(why())),
            IndexError::Foreign { is_log: false, .. } => Some(Mistrust::OtherGenesis(why())),
            IndexError::Version(_) => Some(Mistrust::NewerFormat(why())),
            IndexError::Io { .. }
            | IndexError::Store { .. }
            | IndexError::Unread { .. }
            | IndexError::Full { .. }
            | IndexError::Locked(_) => None,
        }
    }

    fn window(genesis: &Genesis) -> Window {
        genesis.window
    }

    fn decode(record: &[u8]) -> Result<Record<'_>, Undecodable> {
        Record::decode(record).map(|(_, record)| record).map_err(|error| match error {
            DecodeError::Version(version) if version > VERSION => Undecodable::Newer(version),
            error => Undecodable::Damaged(error.reason()),
        })
    }

    fn said(record: &Record<'_>) -> Said<Genesis> {
        let (genesis, is_genesis, clock_ms, positions, entries) = match record {
            Record::Genesis(genesis) => (Some(*genesis), true, genesis.created_ms, None, 0),
            Record::Checkpoint(found) => (Some(found.genesis), false, found.clock_ms, Some(&found.positions), 0),
            Record::Batch(batch) => (None, false, batch.clock_ms, Some(&batch.positions), batch.entries.len() as u64),
        };
        Said { genesis, is_genesis, clock_ms, positions: positions.cloned(), entries }
    }

    fn applied(&self) -> Option<Point> {
        self.applied()
    }

    fn apply(&mut self, offset: u64, next: Point, record: &Record<'_>) -> Result<Applied, IndexError> {
        let clock_ms = match record {
            Record::Batch(batch) => {
                let replay = self.replay(offset, next, batch)?;
                self.maintain(batch.clock_ms)?;
                return Ok(if replay == Replay::Applied { Applied::Yes } else { Applied::Covered });
            }
            Record::Genesis(genesis) => genesis.created_ms,
            Record::Checkpoint(checkpoint) => checkpoint.clock_ms,
        };
        if self.applied().is_some_and(|point| next.next_offset <= point.next_offset) {
            return Ok(Applied::Covered);
        }
        self.advance(next, clock_ms);
        Ok(Applied::Yes)
    }

    fn discard(&mut self) {
        self.discard();
    }
}
