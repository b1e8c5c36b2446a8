//! A rebuild of the changelog from the output, which may be frozen between any two of its steps.

use std::rc::Rc;

use wire::changelog::{
    Chain, Checkpoint, Genesis, Link, Mark, Moved, Output, encode_batch, encode_checkpoint, encode_genesis, encode_mark,
};
use wire::{Bucket, Digest};

use crate::lane::{LANE, digest};
use crate::world::Published;

/// A process that makes the changelog again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rebuild {
    /// Nothing is begun, or it gave up.
    Idle,
    /// It has the fence.
    Fenced { epoch: u8 },
    /// Its mark lies at this offset, with this checksum.
    Marked { epoch: u8, offset: u64, checksum: u64 },
    /// What lay before the mark is deleted.
    Deleted { epoch: u8, offset: u64, checksum: u64 },
    /// The new changelog is begun.
    Begun { epoch: u8, created_ms: i64, end: u64, checksum: u64 },
}

impl Rebuild {
    /// The fence that it took.
    pub(crate) fn epoch(self) -> Option<u8> {
        match self {
            Self::Idle => None,
            Self::Fenced { epoch }
            | Self::Marked { epoch, .. }
            | Self::Deleted { epoch, .. }
            | Self::Begun { epoch, .. } => Some(epoch),
        }
    }
}

/// The mark of a rebuild that has this fence.
pub(crate) fn mark(epoch: u8, created_ms: i64) -> Rc<[u8]> {
    let mut record = Vec::new();
    encode_mark(&mut record, LANE, &Mark { rebuild: [epoch; 16], created_ms });
    record.into()
}

/// The genesis behind it.
pub(crate) fn beginning(mark: Link, genesis: &Genesis) -> Rc<[u8]> {
    let mut record = Vec::new();
    encode_genesis(&mut record, LANE, Chain { before: Some(mark), checkpoint: None }, genesis);
    record.into()
}

/// What the output holds, each event in the bucket that it has at the latest, and the clock's place behind it.
pub(crate) fn identities(genesis: &Genesis, output: &[Published]) -> (Vec<(Digest, Bucket)>, i64) {
    let entry = |one: &Published| {
        let bucket = genesis.window.bucket_of(one.event.received_ms, one.at_ms, one.at_ms);
        (digest(genesis, one.event.id), bucket)
    };
    let newest_ms = output.iter().map(|one| one.at_ms).max().unwrap_or(genesis.created_ms);
    (output.iter().map(entry).collect(), newest_ms.min(genesis.created_ms))
}

/// The batch of those.
pub(crate) fn batch(before: Link, clock_ms: i64, entries: &[(Digest, Bucket)]) -> Rc<[u8]> {
    let (mut record, none) = (Vec::new(), Moved { positions: &[], is_all: false });
    let chain = Chain { before: Some(before), checkpoint: None };
    encode_batch(&mut record, (LANE, chain), clock_ms, none, Output::Partition(0), entries);
    record.into()
}

/// The checkpoint that ends it.
pub(crate) fn end(before: Link, genesis: Genesis, clock_ms: i64) -> Rc<[u8]> {
    let mut record = Vec::new();
    let chain = Chain { before: Some(before), checkpoint: None };
    encode_checkpoint(&mut record, LANE, chain, &Checkpoint { genesis, positions: Vec::new(), clock_ms });
    record.into()
}
