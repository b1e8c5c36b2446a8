//! The changelog: the truth that the dedup index is a cache of.
//!
//! Four kinds of record, one layout around them (all integers little-endian):
//!
//! ```text
//!  0  u32  magic       "TSCL"
//!  4  u8   version     2
//!  5  u8   kind        1 genesis, 2 batch, 3 checkpoint, 4 mark
//!  6  u16  reserved    0
//!  8  u32  lane
//! 12  u32  body bytes
//! 16  u64  end of the record before it       u64::MAX: there is none
//! 24  u64  checksum of the record before it  0: there is none
//! 32  u64  end of the newest checkpoint      u64::MAX: there is none
//! 40  body
//!  …  u64  XXH3-64 over everything before it
//! ```
//!
//! *Genesis* is the first record of a lane. *Batch* is one commit: each digest with the bucket it was given, in the order of
//! the output records, with the input positions that moved and the place of the output. *Checkpoint* repeats the genesis with
//! every position, because retention deletes the first record one day, and because a batch does not have them all. A batch
//! may have them all, too; it is as good as a checkpoint to begin reading at. *Mark* begins a changelog that is made again
//! from the output; it is finished when a checkpoint follows.
//!
//! Each record names the one before it, so that a hole is seen, and the newest checkpoint before it, so that whoever goes on
//! from a record finds every position. A record's *end* is its offset and one; in the ledger of the standalone form, the byte
//! behind it.

mod batch;
mod chain;
mod genesis;
mod position;

pub use batch::{Batch, Entries, FileRange, Moved, Output, encode_batch};
pub use chain::{Chain, Link};
pub use genesis::{Checkpoint, Genesis, Mark, encode_checkpoint, encode_genesis, encode_mark};
pub use position::{CLUSTER_ID_BYTES_MAX, LogPositions, Position};

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{DecodeError, Fields};

/// First four bytes of every record.
pub const MAGIC: [u8; 4] = *b"TSCL";
/// Format version that this program writes.
pub const VERSION: u8 = 2;
const HEADER_BYTES: usize = 16;
const CHAIN_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 8;

const GENESIS: u8 = 1;
const BATCH: u8 = 2;
const CHECKPOINT: u8 = 3;
const MARK: u8 = 4;

/// A record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The lane that it belongs to.
    pub lane: u32,
    /// What lies before it.
    pub chain: Chain,
    /// What it says.
    pub record: Record<'a>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// First record of a lane.
    Genesis(Genesis),
    /// One commit.
    Batch(Batch<'a>),
    /// Genesis and positions again.
    Checkpoint(Checkpoint),
    /// The log is made again from here.
    Mark(Mark),
}

/// Bytes of the record that starts here, read off its header, so that records can follow one another in a file.
///
/// # Errors
/// [`DecodeError::Short`] where `bytes` does not hold all of it, [`DecodeError::Magic`] where none starts here.
pub fn record_bytes(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut header = Fields(bytes);
    if header.array::<4>()? != MAGIC {
        return Err(DecodeError::Magic);
    }
    header.bytes(8)?;
    let total = HEADER_BYTES + CHAIN_BYTES + header.u32()? as usize + CHECKSUM_BYTES;
    if bytes.len() < total { Err(DecodeError::Short) } else { Ok(total) }
}

/// The checksum that a record of [`record_bytes`] ends with: what ties an index to the record it has applied last.
pub fn checksum_of(record: &[u8]) -> u64 {
    record.last_chunk::<CHECKSUM_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The lane that a record belongs to, read off its header; `None` where it has none that this program can read: it is
/// too short, no record at all, or of another version.
pub fn lane_of(record: &[u8]) -> Option<u32> {
    let (magic, rest) = record.split_first_chunk::<4>()?;
    if *magic != MAGIC || rest.first() != Some(&VERSION) {
        return None;
    }
    record.get(8..12)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

impl<'a> Framed<'a> {
    /// Reads one record.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not one whole, undamaged record of a version this program knows.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut header = Fields(bytes);
        if header.array::<4>()? != MAGIC {
            return Err(DecodeError::Magic);
        }
        match header.u8()? {
            VERSION => {}
            other => return Err(DecodeError::Version(other)),
        }
        let kind = header.u8()?;
        let reserved = header.u16()?;
        let lane = header.u32()?;
        let body_bytes = header.u32()? as usize;
        let mut chain = Fields(header.bytes(CHAIN_BYTES)?);
        let mut body = Fields(header.bytes(body_bytes)?);
        let checksum = header.u64()?;
        header.end()?;
        if xxh3_64(&bytes[..bytes.len() - CHECKSUM_BYTES]) != checksum {
            return Err(DecodeError::Checksum);
        }
        if reserved != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let chain = Chain::read(&mut chain)?;
        let record = match kind {
            GENESIS => Record::Genesis(Genesis::read(&mut body)?),
            BATCH => Record::Batch(Batch::read(&mut body)?),
            CHECKPOINT => Record::Checkpoint(Checkpoint::read(&mut body)?),
            MARK => Record::Mark(Mark::read(&mut body)?),
            other => return Err(DecodeError::Kind(other)),
        };
        body.end()?;
        if matches!(record, Record::Mark(_)) && chain != Chain::default() {
            return Err(DecodeError::Field("the record before it"));
        }
        Ok(Self { lane, chain, record })
    }
}

/// Appends a record to `out`, its body written by `body`.
fn frame(out: &mut Vec<u8>, kind: u8, lane: u32, chain: Chain, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    out.extend_from_slice(&lane.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    chain.write(out);
    body(out);
    let body_bytes = (out.len() - start - HEADER_BYTES - CHAIN_BYTES) as u32;
    out[start + 12..start + HEADER_BYTES].copy_from_slice(&body_bytes.to_le_bytes());
    let checksum = xxh3_64(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DigestSeed, LaneCount, Window};

    fn genesis(lanes: LaneCount) -> Genesis {
        Genesis { lanes, seed: DigestSeed(42), window: Window::default(), created_ms: 1_700_000_000_000 }
    }

    #[test]
    fn records_in_a_row_are_found_by_their_lengths() {
        let mut bytes = Vec::new();
        encode_genesis(&mut bytes, 0, Chain::default(), &genesis(LaneCount::ONE));
        let first = bytes.len();
        let before = Link { end: first as u64, checksum: checksum_of(&bytes) };
        let chain = Chain { before: Some(before), checkpoint: None };
        let moved = Moved { positions: &[], is_all: false };
        encode_batch(&mut bytes, (0, chain), 5, moved, Output::None, &[]);
        assert_eq!(record_bytes(&bytes), Ok(first));
        assert_eq!(record_bytes(&bytes[first..]), Ok(bytes.len() - first));
        assert_eq!(record_bytes(&bytes[..first - 1]), Err(DecodeError::Short));
        assert_eq!(record_bytes(&bytes[1..]), Err(DecodeError::Magic));
        assert_eq!(checksum_of(&bytes[..first]), xxh3_64(&bytes[..first - CHECKSUM_BYTES]));
        assert_eq!(Framed::decode(&bytes[first..]).unwrap().chain, chain);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let genesis = genesis(LaneCount::try_new(8).unwrap());
        let mut bytes = Vec::new();
        let chain = Chain { before: None, checkpoint: Some(7) };
        encode_genesis(&mut bytes, 3, chain, &genesis);
        assert_eq!(Framed::decode(&bytes), Ok(Framed { lane: 3, chain, record: Record::Genesis(genesis) }));
        assert_eq!((lane_of(&bytes), lane_of(&bytes[..11])), (Some(3), None));
        let mut newer = bytes.clone();
        newer[4] = VERSION + 1;
        assert_eq!((lane_of(&newer), Framed::decode(&newer)), (None, Err(DecodeError::Version(VERSION + 1))));
        assert_eq!(lane_of(b"nobody can read this"), None);
        for end in 0..bytes.len() {
            assert_eq!(Framed::decode(&bytes[..end]), Err(DecodeError::Short), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Framed::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_mark_comes_back_and_lanes_that_were_split_are_refused() {
        let mark = Mark { rebuild: [9; 16], created_ms: 5 };
        let mut bytes = Vec::new();
        encode_mark(&mut bytes, 3, &mark);
        assert_eq!(Framed::decode(&bytes).unwrap().record, Record::Mark(mark));
        let mut bytes = Vec::new();
        encode_genesis(&mut bytes, 3, Chain::default(), &genesis(LaneCount::ONE));
        let base = HEADER_BYTES + CHAIN_BYTES + 4;
        bytes[base] = 2;
        let end = bytes.len() - CHECKSUM_BYTES;
        let checksum = xxh3_64(&bytes[..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Framed::decode(&bytes), Err(DecodeError::Split));
    }
}
