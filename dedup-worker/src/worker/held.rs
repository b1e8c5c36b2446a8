//! What the owner of a partition holds between two inputs' changes.

use std::time::Instant;

use changelog::{Clock, Positions};
use dedup::Index;
use wire::changelog::{Checkpoint, Genesis};

use super::figures::INPUTS;
use super::publish::{Committed, Stamp};
use super::time::Time;

/// Everything that is held for a partition whose fence was taken.
pub struct Held {
    /// The partition.
    pub partition: u32,
    /// What its changelog began with.
    pub genesis: Genesis,
    /// The index.
    pub index: Index,
    /// How far the inputs have been read.
    pub positions: Positions,
    /// The window's clock.
    pub clock: Clock,
    /// What is known of the time.
    pub time: Time,
    /// Offset that a shadow gives its next batch.
    pub shadow_offset: u64,
    /// The clock at the newest checkpoint.
    pub checkpoint_ms: i64,
    /// Inputs of which it was said that they are read too late.
    pub is_late: [bool; INPUTS],
}

impl Held {
    /// A checkpoint of all that is committed, which nothing may be on its way for.
    pub fn checkpoint(&self) -> Checkpoint {
        let (positions, clock_ms) = (self.positions.as_slice().to_vec(), self.clock.now_ms());
        Checkpoint { genesis: self.genesis, positions, clock_ms }
    }

    /// Such a checkpoint is written.
    pub(crate) fn checkpointed(&mut self, clock_ms: i64, committed: Option<Committed>) {
        match committed {
            Some(Committed { point, stamp }) => {
                self.index.advance(point, clock_ms);
                self.time.stamped(stamp);
            }
            // A shadow commits nothing, and so is told no time but this host's.
            None => self.time.stamped(Stamp { appended_ms: None, heard: Instant::now() }),
        }
        self.clock.entered();
        self.checkpoint_ms = clock_ms;
    }
}
