//! One decided batch, as one transaction writes it.
//!
//! The output records go first, because the changelog record names the offsets they were given. Both, the records set
//! aside, and the input positions in the changelog record come into being together with the commit, or not at all.

use std::ffi::CStr;
use std::time::Duration;

use changelog::Positions;
use dedup::DecidedBatch;
use kafka::{Delivered, Headers, Kind, Message, Outgoing};
use ownership::Batch;
use wire::changelog::{OutputRange, encode_batch};
use wire::limits::MESSAGE_ID_BYTES_MAX;

use super::decode::Undecodable;
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
    /// Time that a batch waits for more while no other is on its way.
    pub linger: Duration,
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
    pub partition: u32,
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
    /// How far the inputs have been read with these.
    pub positions: Positions,
}

impl Batch for Job {
    fn outputs(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.records.iter().zip(&self.fates).filter_map(|(record, fate)| outgoing(record, *fate, self.partition))
    }

    fn record(&self, delivered: &Delivered, record: &mut Vec<u8>) {
        let (clock_ms, entries) = self.decided.as_ref().map_or((0, &[][..]), |d| (d.clock_ms(), d.entries()));
        let (start, end) = delivered.output;
        let output = OutputRange { log: 0, start, end };
        encode_batch(record, self.partition, clock_ms, self.positions.as_slice(), output, entries);
    }

    fn clear(&mut self) {
        self.records.clear();
        self.fates.clear();
        (self.expired, self.bytes) = (0, 0);
    }
}

/// What is sent of a record; nothing of one that had been published before.
fn outgoing(record: &Message, fate: Fate, partition: u32) -> Option<Outgoing<'_>> {
    let (mut key, mut value) = (record.key().unwrap_or_default(), record.value().unwrap_or_default());
    let (kind, topic, partition, headers) = match fate {
        Fate::Dropped => return None,
        Fate::Published => (Kind::Output, EVENTS_DEDUPED, Some(partition), Headers::Of(record, None)),
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
