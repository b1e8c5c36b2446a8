//! The lane of an event, by a hash of its messageId, and the partitions of a lane.
//!
//! With L lanes and P partitions, P a multiple of L, the hash h gives the lane h mod L. A lane has the partitions that leave
//! its number when divided by L; h mod P is one of them, because (h mod P) mod L is h mod L. An id stays in its lane
//! whatever P is. So P may differ between clusters and grow while everything runs; L is fixed by the first genesis.
//! The lane is what repeats of an id have in common, the partition is not: any of the lane's is right for it.
//!
//! The lane is computed here and a partition handed to Kafka explicitly, so that both clusters, every client library and
//! every replay agree on the lane. The function is the one of Kafka's Java client
//! (`org.apache.kafka.common.utils.Utils.murmur2` and `toPositive`), so what other producers' default partitioner chooses is
//! of the same lane.

use std::num::NonZeroU32;

use crate::MessageId;
use crate::limits::LANES_MAX;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// How many lanes there are. Fixed by the first genesis: with another count an id's repeats would go to another lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCount(NonZeroU32);

/// How many partitions of a topic are written to: a multiple of the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionCount(NonZeroU32);

impl LaneCount {
    /// One lane: what the standalone form uses.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// `None` for zero and for more than [`LANES_MAX`].
    pub fn try_new(count: u32) -> Option<Self> {
        (count <= LANES_MAX).then(|| NonZeroU32::new(count)).flatten().map(Self)
    }

    /// The count.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The lane of an id.
    pub fn lane_of(self, message_id: MessageId<'_>) -> u32 {
        hash(message_id) % self.get()
    }

    /// The lane that a partition belongs to, on any topic.
    pub fn lane_of_partition(self, partition: u32) -> u32 {
        partition % self.get()
    }

    /// How many of a topic's partitions are written to: the largest multiple of the lanes that it has. `None` where it has
    /// fewer partitions than there are lanes.
    pub fn usable(self, partitions: u32) -> Option<PartitionCount> {
        PartitionCount::try_new(partitions - partitions % self.get())
    }

    /// The partitions of a lane, of a topic that has so many.
    pub fn partitions(self, lane: u32, partitions: u32) -> impl Iterator<Item = u32> + use<> {
        (lane..partitions).step_by(self.get() as usize)
    }
}

impl PartitionCount {
    /// `None` for zero and for more than `i32::MAX`, Kafka's bound.
    pub fn try_new(count: u32) -> Option<Self> {
        i32::try_from(count).is_ok().then(|| NonZeroU32::new(count)).flatten().map(Self)
    }

    /// The count.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The partition that Kafka's default partitioner chooses for a record with this messageId, where so many are written to. It
/// is one of the id's lane.
pub fn partition_of(message_id: MessageId<'_>, count: PartitionCount) -> u32 {
    hash(message_id) % count.get()
}

/// What lane and partition are taken of.
fn hash(message_id: MessageId<'_>) -> u32 {
    murmur2(message_id.as_bytes()) & 0x7fff_ffff
}

/// Kafka's 32-bit murmur2.
pub fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    for (index, byte) in tail.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_gives_the_published_kafka_vectors() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn partition_is_positive_and_below_the_count() {
        let count = PartitionCount::try_new(8).unwrap();
        for (id, partition) in [("21", 4), ("foobar", 6)] {
            assert_eq!(partition_of(MessageId::try_new(id.as_bytes()).unwrap(), count), partition, "{id}");
        }
        assert_eq!(PartitionCount::try_new(0), None);
        assert_eq!(PartitionCount::try_new(1 << 31), None);
        assert_eq!((LaneCount::try_new(0), LaneCount::try_new(LANES_MAX + 1)), (None, None));
    }

    #[test]
    fn an_id_stays_in_its_lane_whatever_the_partitions_are() {
        let lanes = LaneCount::try_new(8).unwrap();
        for number in 0..1_000 {
            let id = format!("id-{number}");
            let id = MessageId::try_new(id.as_bytes()).unwrap();
            for partitions in [8, 16, 20, 256, 1_000] {
                let partition = partition_of(id, lanes.usable(partitions).unwrap());
                assert_eq!(lanes.lane_of_partition(partition), lanes.lane_of(id), "{number} of {partitions}");
                assert!(lanes.partitions(lanes.lane_of(id), partitions).any(|of_lane| of_lane == partition));
            }
        }
        assert_eq!([7, 8, 20].map(|count| lanes.usable(count).map(PartitionCount::get)), [None, Some(8), Some(16)]);
        assert!(lanes.partitions(3, 20).eq([3, 11, 19]));
    }
}
