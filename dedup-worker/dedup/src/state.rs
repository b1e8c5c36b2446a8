//! The index as a state that is made from its changelog.

use std::path::Path;

use changelog::{Applied, LogId, Mistrust, Point, Said, State, Undecodable};
use wire::changelog::{Batch, Checkpoint, Framed, Genesis, Record, VERSION};
use wire::{DecodeError, Window};

use crate::index::Replay;
use crate::{Index, IndexError, Options};

impl State for Index {
    type Genesis = Genesis;
    type Settings = Options;
    type Error = IndexError;
    type Record<'r> = Framed<'r>;

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

    fn decode(record: &[u8]) -> Result<Framed<'_>, Undecodable> {
        Framed::decode(record).map_err(|error| match error {
            DecodeError::Version(version) if version > VERSION => Undecodable::Newer(version),
            DecodeError::Version(version) => Undecodable::Older(version),
            DecodeError::Split => Undecodable::Newer(VERSION),
            error => Undecodable::Damaged(error.reason()),
        })
    }

    fn said<'s>(framed: &'s Framed<'_>) -> Said<'s, Genesis> {
        let Framed { chain, record, .. } = framed;
        let said = Said {
            genesis: None,
            is_genesis: false,
            is_mark: false,
            chain: *chain,
            clock_ms: 0,
            positions: &[],
            has_all_positions: false,
            entries: 0,
        };
        match record {
            Record::Genesis(genesis) => Said {
                genesis: Some(*genesis),
                is_genesis: true,
                clock_ms: genesis.created_ms,
                has_all_positions: chain.before.is_none(),
                ..said
            },
            Record::Checkpoint(Checkpoint { genesis, positions, clock_ms }) => {
                Said { genesis: Some(*genesis), clock_ms: *clock_ms, positions, has_all_positions: true, ..said }
            }
            Record::Batch(Batch { clock_ms, positions, has_all_positions, entries, .. }) => Said {
                clock_ms: *clock_ms,
                positions,
                has_all_positions: *has_all_positions,
                entries: entries.len() as u64,
                ..said
            },
            Record::Mark(mark) => Said { is_mark: true, clock_ms: mark.created_ms, ..said },
        }
    }

    fn applied(&self) -> Option<Point> {
        self.applied()
    }

    fn apply(&mut self, offset: u64, next: Point, framed: &Framed<'_>) -> Result<Applied, IndexError> {
        let clock_ms = match &framed.record {
            Record::Batch(batch) => {
                let replay = self.replay(offset, next, batch)?;
                self.maintain(batch.clock_ms)?;
                return Ok(if replay == Replay::Applied { Applied::Yes } else { Applied::Covered });
            }
            Record::Genesis(genesis) => genesis.created_ms,
            Record::Checkpoint(checkpoint) => checkpoint.clock_ms,
            Record::Mark(mark) => mark.created_ms,
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
