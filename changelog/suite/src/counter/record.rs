//! A record of a counter's log, as short as it can be (all integers little-endian):
//!
//! ```text
//!  0  u8   version        1
//!  1  u8   is the genesis in it, 0 or 1
//!  2  u8   is a number in it
//!  3  u8   positions + 1, or 0 where it does not say
//!  4  u32  reserved       0
//!  8  u32  partition      where every record of a topic has it
//! 12  u64  seed
//! 20  u64  number
//! 28  i64  clock
//!  …       positions: u8 length and cluster id, 16 bytes of topic id, i32 leader epoch, u64 next offset
//!  …  u64  XXH3-64 over everything before it
//! ```

use changelog::Undecodable;
use wire::changelog::Position;
use xxhash_rust::xxh3::xxh3_64;

/// Format version that this program writes.
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// What never changes for a counter's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterGenesis {
    /// A number that makes it this one.
    pub seed: u64,
}

/// A record, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRecord {
    /// The genesis, of the genesis and of checkpoints.
    pub genesis: Option<CounterGenesis>,
    /// The number, of batches.
    pub number: Option<u64>,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// How far the inputs have been read; of all but the genesis.
    pub positions: Option<Vec<Position>>,
}

impl CounterRecord {
    /// Its bytes.
    pub(super) fn encode(&self, partition: u32) -> Vec<u8> {
        let positions = self.positions.as_ref().map_or(0, |positions| positions.len() as u8 + 1);
        let mut out = vec![VERSION, self.genesis.is_some().into(), self.number.is_some().into(), positions, 0, 0, 0, 0];
        out.extend_from_slice(&partition.to_le_bytes());
        out.extend_from_slice(&self.genesis.map_or(0, |genesis| genesis.seed).to_le_bytes());
        out.extend_from_slice(&self.number.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.clock_ms.to_le_bytes());
        for position in self.positions.iter().flatten() {
            out.push(position.cluster_id.len() as u8);
            out.extend_from_slice(&position.cluster_id);
            out.extend_from_slice(&position.topic_id);
            out.extend_from_slice(&position.leader_epoch.to_le_bytes());
            out.extend_from_slice(&position.next_offset.to_le_bytes());
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads one.
    pub(super) fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        match record.first() {
            Some(&version) if version > VERSION => return Err(Undecodable::Newer(version)),
            _ => {}
        }
        let (body, checksum) =
            record.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Undecodable::Damaged("it is too short"))?;
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return Err(Undecodable::Damaged("its checksum does not match its bytes"));
        }
        Self::read(body).ok_or(Undecodable::Damaged("it is not as long as it says"))
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let [_, has_genesis, has_number, positions] = take(&mut rest)?;
        let _: [u8; 8] = take(&mut rest)?;
        let seed = u64::from_le_bytes(take(&mut rest)?);
        let number = u64::from_le_bytes(take(&mut rest)?);
        let clock_ms = i64::from_le_bytes(take(&mut rest)?);
        let count = positions.checked_sub(1);
        let positions = match count {
            Some(count) => Some((0..count).map(|_| read_position(&mut rest)).collect::<Option<_>>()?),
            None => None,
        };
        let genesis = (has_genesis == 1).then_some(CounterGenesis { seed });
        let number = (has_number == 1).then_some(number);
        rest.is_empty().then_some(Self { genesis, number, clock_ms, positions })
    }
}

fn read_position(rest: &mut &[u8]) -> Option<Position> {
    let [length] = take(rest)?;
    let (cluster_id, behind) = rest.split_at_checked(length.into())?;
    *rest = behind;
    Some(Position {
        cluster_id: cluster_id.to_vec(),
        topic_id: take(rest)?,
        leader_epoch: i32::from_le_bytes(take(rest)?),
        next_offset: u64::from_le_bytes(take(rest)?),
    })
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}
