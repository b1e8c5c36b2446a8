//! The changelog: the truth that the dedup index is a cache of.
//!
//! Three kinds of record, one layout around them (all integers little-endian):
//!
//! ```text
//!  0  u32  magic       "TSCL"
//!  4  u8   version     1
//!  5  u8   kind        1 genesis, 2 batch, 3 checkpoint
//!  6  u16  reserved    0
//!  8  u32  partition
//! 12  u32  body bytes
//! 16  body
//!  …  u64  XXH3-64 over everything before it
//! ```
//!
//! *Genesis* is the first record of a partition. *Batch* is one commit: each digest with the bucket it was given, in
//! the order of the output records, with the input positions reached and the place of the output. *Checkpoint*
//! repeats the genesis with the positions, because retention deletes the first record one day.

mod batch;
mod genesis;
mod position;

pub use batch::{Batch, Entries, OutputRange, encode_batch};
pub use genesis::{Checkpoint, Genesis, encode_checkpoint, encode_genesis};
pub use position::{CLUSTER_ID_BYTES_MAX, Position};

use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{DecodeError, Fields};

/// First four bytes of every record.
pub const MAGIC: [u8; 4] = *b"TSCL";
/// Format version that this program writes.
pub const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 8;

const GENESIS: u8 = 1;
const BATCH: u8 = 2;
const CHECKPOINT: u8 = 3;

/// A decoded changelog record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record<'a> {
    /// First record of a partition.
    Genesis(Genesis),
    /// One commit.
    Batch(Batch<'a>),
    /// Genesis and positions again.
    Checkpoint(Checkpoint),
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
    let total = HEADER_BYTES + header.u32()? as usize + CHECKSUM_BYTES;
    if bytes.len() < total { Err(DecodeError::Short) } else { Ok(total) }
}

/// The checksum that a record of [`record_bytes`] ends with: what ties an index to the record it has applied last.
pub fn checksum_of(record: &[u8]) -> u64 {
    record.last_chunk::<CHECKSUM_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The partition that a record belongs to, read off its header; `None` where it has none that this program can read: it is
/// too short, no record at all, or of another version.
pub fn partition_of(record: &[u8]) -> Option<u32> {
    let (magic, rest) = record.split_first_chunk::<4>()?;
    if *magic != MAGIC || rest.first() != Some(&VERSION) {
        return None;
    }
    record.get(8..12)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

impl<'a> Record<'a> {
    /// Reads one record and the partition it belongs to.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are not one whole, undamaged record of a version this program knows.
    pub fn decode(bytes: &'a [u8]) -> Result<(u32, Self), DecodeError> {
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
        let partition = header.u32()?;
        let body_bytes = header.u32()? as usize;
        let mut body = Fields(header.bytes(body_bytes)?);
        let checksum = header.u64()?;
        header.end()?;
        if xxh3_64(&bytes[..HEADER_BYTES + body_bytes]) != checksum {
            return Err(DecodeError::Checksum);
        }
        if reserved != 0 {
            return Err(DecodeError::Field("reserved"));
        }
        let record = match kind {
            GENESIS => Self::Genesis(Genesis::read(&mut body)?),
            BATCH => Self::Batch(Batch::read(&mut body)?),
            CHECKPOINT => Self::Checkpoint(Checkpoint::read(&mut body)?),
            other => return Err(DecodeError::Kind(other)),
        };
        body.end()?;
        Ok((partition, record))
    }
}

/// Appends a record to `out`, its body written by `body`.
fn frame(out: &mut Vec<u8>, kind: u8, partition: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    out.extend_from_slice(&partition.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let body_bytes = (out.len() - start - HEADER_BYTES) as u32;
    out[start + 12..start + HEADER_BYTES].copy_from_slice(&body_bytes.to_le_bytes());
    let checksum = xxh3_64(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    debug_assert_eq!(out.len() - start, HEADER_BYTES + body_bytes as usize + CHECKSUM_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DigestSeed, PartitionCount, Window};

    #[test]
    fn records_in_a_row_are_found_by_their_lengths() {
        let genesis = Genesis {
            partition_count: PartitionCount::ONE,
            seed: DigestSeed(1),
            window: Window::default(),
            created_ms: 0,
        };
        let mut bytes = Vec::new();
        encode_genesis(&mut bytes, 0, &genesis);
        let first = bytes.len();
        encode_batch(&mut bytes, 0, 5, &[], OutputRange::default(), &[]);
        assert_eq!(record_bytes(&bytes), Ok(first));
        assert_eq!(record_bytes(&bytes[first..]), Ok(bytes.len() - first));
        assert_eq!(record_bytes(&bytes[..first - 1]), Err(DecodeError::Short));
        assert_eq!(record_bytes(&bytes[1..]), Err(DecodeError::Magic));
        assert_eq!(checksum_of(&bytes[..first]), xxh3_64(&bytes[..first - CHECKSUM_BYTES]));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let genesis = Genesis {
            partition_count: PartitionCount::try_new(8).unwrap(),
            seed: DigestSeed(42),
            window: Window::default(),
            created_ms: 1_700_000_000_000,
        };
        let mut bytes = Vec::new();
        encode_genesis(&mut bytes, 3, &genesis);
        assert_eq!(Record::decode(&bytes), Ok((3, Record::Genesis(genesis))));
        assert_eq!((partition_of(&bytes), partition_of(&bytes[..11])), (Some(3), None));
        let mut newer = bytes.clone();
        newer[4] = VERSION + 1;
        assert_eq!((partition_of(&newer), Record::decode(&newer)), (None, Err(DecodeError::Version(VERSION + 1))));
        assert_eq!(partition_of(b"nobody can read this"), None);
        for end in 0..bytes.len() {
            assert_eq!(Record::decode(&bytes[..end]), Err(DecodeError::Short), "{end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
