//! A record of a counter's log, as short as it can be (all integers little-endian):
//!
//! ```text
//!  0  u8   version        1
//!  1  u8   flags          1 the genesis is in it, 2 a number is, 4 it has all positions, 8 it is a mark
//!  2  u16  positions
//!  4  u32  reserved       0
//!  8  u32  lane           where every record of a topic has it
//! 12       the chain: u64 end and u64 checksum of the record before, u64 end of the newest checkpoint; u64::MAX for none
//! 36  u64  seed
//! 44  u64  number
//! 52  i64  clock
//!  …       positions: u8 length and cluster id, 16 bytes of topic id, u32 partition, i32 leader epoch, u64 next offset,
//!          i64 append time
//!  …  u64  XXH3-64 over everything before it
//! ```

use changelog::Undecodable;
use wire::changelog::{Chain, Link, LogPositions, Position};
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

const GENESIS: u8 = 1;
const NUMBER: u8 = 2;
const ALL: u8 = 4;
const MARK: u8 = 8;

/// A record, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CounterRecord {
    /// What lies before it.
    pub chain: Chain,
    /// The genesis, of the genesis and of checkpoints.
    pub genesis: Option<CounterGenesis>,
    /// The number, of batches.
    pub number: Option<u64>,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// How far the inputs have been read.
    pub positions: Vec<LogPositions>,
    /// Whether these are all there are.
    pub has_all_positions: bool,
    /// Whether the log is made again from here.
    pub is_mark: bool,
}

impl CounterRecord {
    /// Its bytes.
    pub(super) fn encode(&self, lane: u32) -> Vec<u8> {
        let flag = |is, flag| if is { flag } else { 0 };
        let flags = flag(self.genesis.is_some(), GENESIS)
            | flag(self.number.is_some(), NUMBER)
            | flag(self.has_all_positions, ALL)
            | flag(self.is_mark, MARK);
        let count: usize = self.positions.iter().map(|log| log.partitions.len()).sum();
        let mut out = vec![VERSION, flags, count as u8, 0, 0, 0, 0, 0];
        out.extend_from_slice(&lane.to_le_bytes());
        let (end, checksum) = self.chain.before.map_or((u64::MAX, 0), |link| (link.end, link.checksum));
        for field in [end, checksum, self.chain.checkpoint.unwrap_or(u64::MAX)] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.genesis.map_or(0, |genesis| genesis.seed).to_le_bytes());
        out.extend_from_slice(&self.number.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&self.clock_ms.to_le_bytes());
        for LogPositions { cluster_id, topic_id, partitions } in &self.positions {
            for Position { partition, leader_epoch, next_offset, appended_ms } in partitions {
                out.push(cluster_id.len() as u8);
                out.extend_from_slice(cluster_id);
                out.extend_from_slice(topic_id);
                out.extend_from_slice(&partition.to_le_bytes());
                out.extend_from_slice(&leader_epoch.to_le_bytes());
                out.extend_from_slice(&next_offset.to_le_bytes());
                out.extend_from_slice(&appended_ms.to_le_bytes());
            }
        }
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads one.
    pub(super) fn decode(record: &[u8]) -> Result<Self, Undecodable> {
        match record.first() {
            Some(&version) if version > VERSION => return Err(Undecodable::Newer(version)),
            Some(&version) if version < VERSION => return Err(Undecodable::Older(version)),
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
        let [_, flags, positions, _] = take(&mut rest)?;
        let _: [u8; 8] = take(&mut rest)?;
        let mut field = || take(&mut rest).map(u64::from_le_bytes);
        let (end, checksum, checkpoint) = (field()?, field()?, field()?);
        let chain = Chain {
            before: (end != u64::MAX).then_some(Link { end, checksum }),
            checkpoint: (checkpoint != u64::MAX).then_some(checkpoint),
        };
        let (seed, number) = (field()?, field()?);
        let clock_ms = i64::from_le_bytes(take(&mut rest)?);
        let mut logs = Vec::<LogPositions>::new();
        for _ in 0..positions {
            let mut log = read_position(&mut rest)?;
            match logs.last_mut() {
                Some(last) if (&last.cluster_id, last.topic_id) == (&log.cluster_id, log.topic_id) => {
                    last.partitions.append(&mut log.partitions);
                }
                _ => logs.push(log),
            }
        }
        rest.is_empty().then_some(Self {
            chain,
            genesis: (flags & GENESIS != 0).then_some(CounterGenesis { seed }),
            number: (flags & NUMBER != 0).then_some(number),
            clock_ms,
            positions: logs,
            has_all_positions: flags & ALL != 0,
            is_mark: flags & MARK != 0,
        })
    }
}

fn read_position(rest: &mut &[u8]) -> Option<LogPositions> {
    let [length] = take(rest)?;
    let (cluster_id, behind) = rest.split_at_checked(length.into())?;
    *rest = behind;
    let topic_id = take(rest)?;
    let position = Position {
        partition: u32::from_le_bytes(take(rest)?),
        leader_epoch: i32::from_le_bytes(take(rest)?),
        next_offset: u64::from_le_bytes(take(rest)?),
        appended_ms: i64::from_le_bytes(take(rest)?),
    };
    Some(LogPositions { cluster_id: cluster_id.to_vec(), topic_id, partitions: vec![position] })
}

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*taken)
}
