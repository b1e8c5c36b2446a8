//! A topic `events.index` as a worker leaves it: for each lane a genesis, then batches over the window's days.

use rdkafka::producer::BaseRecord;
use wire::changelog::{
    Chain, Genesis, Link, Moved, Output, checksum_of, encode_batch, encode_checkpoint, encode_genesis,
};
use wire::topic::EVENTS_INDEX;
use wire::window::DAY_MS;
use wire::{Bucket, Digest, DigestSeed, LaneCount, MessageId, SourceId, Window};

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
    /// What each lane begins with.
    pub genesis: Genesis,
    /// Identities of all lanes.
    pub digests: u64,
    /// Records of all lanes.
    pub records: u64,
}

/// The messageId with this number.
pub fn message_id(number: u64) -> String {
    format!("{number:012}-ajs-next")
}

/// The lane of a messageId.
///
/// # Panics
/// Where there are no lanes.
pub fn lane(id: &str, lanes: u32) -> u32 {
    let id = MessageId::try_new(id.as_bytes()).expect("an id of an allowed length");
    LaneCount::try_new(lanes).expect("at least one lane").lane_of(id)
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
    pub fn fill(broker: &Broker, lanes: u32, digests: u64) -> Self {
        broker.make_anew(&[EVENTS_INDEX], lanes);
        let mut config = broker.client();
        config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", "5");
        let producer = config.create().expect("a producer");
        let window = Window::default();
        let first_ms = now_ms() - ((DAYS - 1) * DAY_MS).cast_signed();
        let lane_count = LaneCount::try_new(lanes).expect("at least one lane");
        let genesis = Genesis { lanes: lane_count, seed: SEED, window, created_ms: first_ms };
        let mut filler = Filler {
            producer,
            batches: vec![Vec::new(); lanes as usize],
            chains: vec![Chain::default(); lanes as usize],
            record: Vec::new(),
            records: 0,
        };
        for lane in 0..lanes {
            filler.send(lane, |record, chain| encode_genesis(record, lane, chain, &genesis));
        }
        let mut clock_ms = first_ms;
        for number in 0..digests {
            let day_ms = first_ms + (number * DAYS / digests * DAY_MS).cast_signed();
            if day_ms != clock_ms {
                (0..lanes).for_each(|lane| filler.batch(lane, clock_ms));
                clock_ms = day_ms;
            }
            let id = message_id(number);
            let lane = lane(&id, lanes);
            let batch = &mut filler.batches[lane as usize];
            batch.push((digest(&id), window.at(clock_ms)));
            if batch.len() == BATCH {
                filler.batch(lane, clock_ms);
            }
        }
        for lane in 0..lanes {
            filler.batch(lane, clock_ms);
            let checkpoint = wire::changelog::Checkpoint { genesis, positions: Vec::new(), clock_ms };
            filler.send(lane, |record, chain| encode_checkpoint(record, lane, chain, &checkpoint));
        }
        kafka::settle(&filler.producer);
        Self { genesis, digests, records: filler.records }
    }
}

struct Filler {
    producer: Sender,
    batches: Vec<Vec<(Digest, Bucket)>>,
    /// What the next record of each lane names. No transaction leaves a mark between them.
    chains: Vec<Chain>,
    record: Vec<u8>,
    records: u64,
}

impl Filler {
    fn batch(&mut self, lane: u32, clock_ms: i64) {
        let mut entries = std::mem::take(&mut self.batches[lane as usize]);
        if !entries.is_empty() {
            let moved = Moved { positions: &[], is_all: true };
            self.send(lane, |record, chain| {
                encode_batch(record, (lane, chain), clock_ms, moved, Output::None, &entries);
            });
        }
        entries.clear();
        self.batches[lane as usize] = entries;
    }

    fn send(&mut self, lane: u32, encode: impl FnOnce(&mut Vec<u8>, Chain)) {
        self.record.clear();
        let chain = &mut self.chains[lane as usize];
        encode(&mut self.record, *chain);
        let end = chain.before.map_or(0, |link| link.end) + 1;
        // Each has all positions, which is none.
        *chain = Chain { before: Some(Link { end, checksum: checksum_of(&self.record) }), checkpoint: Some(end) };
        let record = BaseRecord::<(), _>::to(EVENTS_INDEX).partition(lane.cast_signed()).payload(&self.record);
        kafka::send(&self.producer, record);
        self.records += 1;
    }
}
