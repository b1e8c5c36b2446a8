//! A topic `events.index` as a worker leaves it: for each partition a genesis, then batches over the window's days.

use rdkafka::producer::BaseRecord;
use wire::changelog::{Genesis, OutputRange, encode_batch, encode_checkpoint, encode_genesis};
use wire::partition::partition_of;
use wire::topic::EVENTS_INDEX;
use wire::window::DAY_MS;
use wire::{Bucket, Digest, DigestSeed, MessageId, PartitionCount, SourceId, Window};

use crate::kafka::{self, Broker, Sender};
use crate::record::now_ms;

/// The source of every identity.
pub const SOURCE: &str = "web-shop";
/// Digests of a full batch, as the worker's default is.
pub const BATCH: usize = 20_000;
/// Days of the window that hold identities.
const DAYS: u64 = 28;
const SEED: DigestSeed = DigestSeed(0x5eed);

/// What was written.
#[derive(Debug, Clone, Copy)]
pub struct Changelog {
    /// What each partition begins with.
    pub genesis: Genesis,
    /// Identities of all partitions.
    pub digests: u64,
    /// Records of all partitions.
    pub records: u64,
}

/// The messageId with this number.
pub fn message_id(number: u64) -> String {
    format!("{number:012}-ajs-next")
}

/// The partition of a messageId.
///
/// # Panics
/// Where there are no partitions.
pub fn partition(id: &str, partitions: u32) -> u32 {
    let id = MessageId::try_new(id.as_bytes()).expect("an id of an allowed length");
    partition_of(id, PartitionCount::try_new(partitions).expect("at least one partition"))
}

/// The digest of the identity with this messageId.
///
/// # Panics
/// Where that is no messageId.
pub fn digest(id: &str) -> Digest {
    let source = SourceId::try_new(SOURCE.as_bytes()).expect("a source");
    Digest::of(SEED, source, MessageId::try_new(id.as_bytes()).expect("an id"))
}

impl Changelog {
    /// Makes the topic anew and fills it with the identities below `digests`, the same number of them for each day of
    /// the window, the last of which is today.
    ///
    /// # Panics
    /// Where the broker does not take them.
    pub fn fill(broker: &Broker, partitions: u32, digests: u64) -> Self {
        broker.make_anew(&[EVENTS_INDEX], partitions);
        let mut config = broker.client();
        config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "5");
        let producer = config.create().expect("a producer");
        let partition_count = PartitionCount::try_new(partitions).expect("at least one partition");
        let window = Window::default();
        let first_ms = now_ms() - ((DAYS - 1) * DAY_MS).cast_signed();
        let genesis = Genesis { partition_count, seed: SEED, window, created_ms: first_ms };
        let mut filler =
            Filler { producer, batches: vec![Vec::new(); partitions as usize], record: Vec::new(), records: 0 };
        for partition in 0..partitions {
            filler.send(partition, |record| encode_genesis(record, partition, &genesis));
        }
        let mut clock_ms = first_ms;
        for number in 0..digests {
            let day_ms = first_ms + (number * DAYS / digests * DAY_MS).cast_signed();
            if day_ms != clock_ms {
                (0..partitions).for_each(|partition| filler.batch(partition, clock_ms));
                clock_ms = day_ms;
            }
            let id = message_id(number);
            let partition = partition(&id, partitions);
            let batch = &mut filler.batches[partition as usize];
            batch.push((digest(&id), window.at(clock_ms)));
            if batch.len() == BATCH {
                filler.batch(partition, clock_ms);
            }
        }
        for partition in 0..partitions {
            filler.batch(partition, clock_ms);
            let checkpoint = wire::changelog::Checkpoint { genesis, positions: Vec::new(), clock_ms };
            filler.send(partition, |record| encode_checkpoint(record, partition, &checkpoint));
        }
        kafka::settle(&filler.producer);
        Self { genesis, digests, records: filler.records }
    }
}

struct Filler {
    producer: Sender,
    batches: Vec<Vec<(Digest, Bucket)>>,
    record: Vec<u8>,
    records: u64,
}

impl Filler {
    fn batch(&mut self, partition: u32, clock_ms: i64) {
        let mut entries = std::mem::take(&mut self.batches[partition as usize]);
        if !entries.is_empty() {
            let output = OutputRange::default();
            self.send(partition, |record| encode_batch(record, partition, clock_ms, &[], output, &entries));
        }
        entries.clear();
        self.batches[partition as usize] = entries;
    }

    fn send(&mut self, partition: u32, encode: impl FnOnce(&mut Vec<u8>)) {
        self.record.clear();
        encode(&mut self.record);
        let record = BaseRecord::<(), _>::to(EVENTS_INDEX).partition(partition.cast_signed()).payload(&self.record);
        kafka::send(&self.producer, record);
        self.records += 1;
    }
}
