//! One client reads a log, reads on in it, and reads it again from elsewhere.

use std::time::{Duration, Instant};

use kafka::{Cluster, Isolation, LogReader, Read};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use service::Properties;

use super::brokers::{brokers, turn};

const LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(50);
const TOPIC: &str = "logs";

/// Offsets of the records that come until the reader stands at `end`.
fn offsets(reader: &mut LogReader, end: u64) -> Vec<u64> {
    let (mut offsets, begun) = (Vec::new(), Instant::now());
    while reader.position() < end {
        assert!(begun.elapsed() < LIMIT, "{offsets:?} came, and the end is {end}");
        if let Read::Record(record) = reader.read(POLL) {
            offsets.push(record.offset());
        }
    }
    offsets
}

#[test]
fn a_log_is_read_on_and_read_again_with_the_same_client() {
    let _turn = turn();
    let broker = &brokers().primary;
    broker.make_anew(&[TOPIC]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address).set("transactional.id", TOPIC);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    // Behind the records lies the mark of their transaction.
    let write = |count: u32| {
        producer.begin_transaction().unwrap();
        for _ in 0..count {
            let record = BaseRecord::<(), str>::to(TOPIC).partition(0).payload("{}");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.commit_transaction(LIMIT).unwrap();
    };
    write(10);
    let cluster = Cluster::new("test", "primary", &broker.address, Properties::default());
    let mut reader = LogReader::open(&cluster, c"logs", 0, 0, Isolation::Committed).unwrap();
    assert_eq!(offsets(&mut reader, 11), (0..10).collect::<Vec<_>>());
    for from in [3, 9, 0, 10] {
        reader.go_to(from).unwrap();
        assert_eq!(offsets(&mut reader, 11), (from..10).collect::<Vec<_>>());
    }
    // It stands at the end, so it is not moved, and what comes later comes.
    write(4);
    reader.go_to(11).unwrap();
    assert_eq!(offsets(&mut reader, 16), (11..15).collect::<Vec<_>>());
    // Nor where it stopped half way, with the rest at hand.
    reader.go_to(12).unwrap();
    assert_eq!(offsets(&mut reader, 13), [12]);
    reader.go_to(13).unwrap();
    assert_eq!(offsets(&mut reader, 16), [13, 14]);
}
