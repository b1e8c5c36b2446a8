//! One decided batch, as one transaction writes it.
//!
//! The output records, the records set aside, and the changelog record with the input positions are sent together, and come
//! into being together with the commit, or not at all. The output goes to one partition of the lane, because a transaction
//! costs by the partitions that it touches (broker CPU for 1, 8 and 32 of them is as 1 : 2 : 5.5, measured), and to another one
//! with each batch.

use std::ffi::CStr;

use dedup::DecidedBatch;
use kafka::{Headers, Kind, Message, Outgoing};
use ownership::{Batch, Share};
use wire::changelog::{Chain, LogPositions, Moved, Output, encode_batch};
use wire::limits::MESSAGE_ID_BYTES_MAX;

use super::decode::Undecodable;
use super::sizes::Origin;
use super::topics::{EVENTS_DEDUPED, EVENTS_REJECTED};

/// Header of a record set aside: which part of it is not as it must be.
const REASON_HEADER: &CStr = c"reason";

/// How large a batch becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes of their keys and values.
    pub bytes_max: usize,
}

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes to the output.
    Published,
    /// It had been published before.
    Dropped,
    /// It goes to `events.rejected`.
    SetAside(Undecodable),
}

/// A decided batch on its way.
#[derive(Debug, Default)]
pub struct Job {
    /// Whose it is.
    pub lane: u32,
    /// The partition of the output that it goes to.
    pub output: u32,
    /// What it holds of the process's budget.
    pub(crate) held: Share,
    /// Where the first of its records came from.
    pub(crate) first: Option<Origin>,
    /// The records read.
    pub records: Vec<Message>,
    /// What becomes of each.
    pub fates: Vec<Fate>,
    /// Of those published, events older than the window.
    pub expired: u64,
    /// Bytes of the records.
    pub bytes: usize,
    /// What the index learns.
    pub decided: Option<DecidedBatch>,
    /// How far the inputs have been read with these: what moved, or all there is.
    pub positions: Vec<LogPositions>,
    /// Whether it is all there is.
    pub is_all: bool,
}

impl Batch for Job {
    fn outputs(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.records.iter().zip(&self.fates).filter_map(|(record, fate)| outgoing(record, *fate, self.output))
    }

    fn record(&self, chain: Chain, record: &mut Vec<u8>) {
        let (clock_ms, entries) = self.decided.as_ref().map_or((0, &[][..]), |d| (d.clock_ms(), d.entries()));
        let has_output = self.fates.contains(&Fate::Published);
        let output = if has_output { Output::Partition(self.output) } else { Output::None };
        let moved = Moved { positions: &self.positions, is_all: self.is_all };
        encode_batch(record, (self.lane, chain), clock_ms, moved, output, entries);
    }

    fn has_all_positions(&self) -> bool {
        self.is_all
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn clear(&mut self) {
        self.records.clear();
        self.held.clear();
        self.fates.clear();
        (self.first, self.expired, self.bytes) = (None, 0, 0);
    }
}

/// What is sent of a record; nothing of one that had been published before.
fn outgoing(record: &Message, fate: Fate, output: u32) -> Option<Outgoing<'_>> {
    let (mut key, mut value) = (record.key().unwrap_or_default(), record.value().unwrap_or_default());
    let (kind, topic, partition, headers) = match fate {
        Fate::Dropped => return None,
        Fate::Published => (Kind::Output, EVENTS_DEDUPED, Some(output), Headers::Of(record, None)),
        Fate::SetAside(Undecodable::Size) => {
            (key, value) = (&key[..key.len().min(MESSAGE_ID_BYTES_MAX)], &[]);
            (Kind::Rejected, EVENTS_REJECTED, None, Headers::These(&[(REASON_HEADER, b"size")]))
        }
        Fate::SetAside(why) => {
            let reason = (REASON_HEADER, why.reason().as_bytes());
            (Kind::Rejected, EVENTS_REJECTED, None, Headers::Of(record, Some(reason)))
        }
    };
    Some(Outgoing { kind, topic, partition, key, value, headers })
}
