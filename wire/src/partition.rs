//! The partition of an event: murmur2 of its messageId, modulo the partition count fixed at the first start.
//!
//! It is computed here and handed to Kafka explicitly, so that both clusters, every client library and every replay
//! agree. The function is the one of Kafka's Java client (`org.apache.kafka.common.utils.Utils.murmur2` and
//! `toPositive`), so other producers' default partitioner gives the same answer.

use std::num::NonZeroU32;

use crate::MessageId;

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// How many partitions the topics have. Fixed at the first start: another count would send an id's repeats elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionCount(NonZeroU32);

impl PartitionCount {
    /// One partition: what the standalone form uses.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// `None` for zero and for more than `i32::MAX`, Kafka's bound.
    pub fn try_new(count: u32) -> Option<Self> {
        i32::try_from(count).is_ok().then(|| NonZeroU32::new(count)).flatten().map(Self)
    }

    /// The count.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// The partition that every record with this messageId belongs to.
pub fn partition_of(message_id: MessageId<'_>, count: PartitionCount) -> u32 {
    (murmur2(message_id.as_bytes()) & 0x7fff_ffff) % count.get()
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
    }
}
