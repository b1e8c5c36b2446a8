//! What records that are read one behind the other come to.

use wire::changelog::{Chain, Link};

use crate::{Placed, Positions, Said};

/// What has been read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Passage {
    /// The newest record, and the newest that has every position: what the next record is to name.
    pub(crate) chain: Chain,
    /// `None` before a record that has every position.
    positions: Option<Positions>,
    /// The window's clock; `None` before anything but a genesis.
    pub(crate) clock_ms: Option<i64>,
    /// When the genesis was made, by whichever clock has it earlier.
    pub(crate) begun_ms: Option<i64>,
    /// Whether the log is being made again.
    pub(crate) is_unfinished: bool,
}

/// The record does not follow the one before it, or names a checkpoint that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole;

impl Passage {
    /// The next record.
    pub(crate) fn take<G>(&mut self, placed: Placed, said: &Said<'_, G>) -> Result<(), Hole> {
        let is_first = self.chain.before.is_none();
        if !is_first && !said.is_mark && said.chain.before != self.chain.before {
            return Err(Hole);
        }
        if said.is_mark {
            *self = Self::default();
        }
        if said.has_all_positions {
            self.positions = Some(Positions::from_record(said.positions));
            self.chain.checkpoint = Some(placed.next.next_offset);
        } else if let Some(positions) = &mut self.positions {
            if said.chain.checkpoint != self.chain.checkpoint {
                return Err(Hole);
            }
            positions.enter(said.positions);
        } else {
            self.chain.checkpoint = said.chain.checkpoint;
        }
        self.chain.before = Some(Link { end: placed.next.next_offset, checksum: placed.next.checksum });
        if said.is_genesis {
            self.begun_ms = Some(placed.appended_ms.map_or(said.clock_ms, |ms| ms.min(said.clock_ms)));
        } else if !said.is_mark {
            self.clock_ms = self.clock_ms.max(Some(said.clock_ms));
        }
        self.is_unfinished = said.is_unfinished();
        Ok(())
    }

    /// Whether any record was read.
    pub(crate) fn is_begun(&self) -> bool {
        self.chain.before.is_some()
    }

    /// Where reading has to begin to know every position; `None` where it has begun there, or nothing says where that is.
    pub(crate) fn begins_at(&self) -> Option<u64> {
        if self.positions.is_some() { None } else { self.chain.checkpoint }
    }

    /// Every position; `None` where none of the records had them all.
    pub(crate) fn into_positions(self) -> Option<Positions> {
        self.positions
    }
}
