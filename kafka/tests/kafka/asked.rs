//! What real brokers say of many partitions at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka::{Cluster, Probe, Watermarks, delete_before};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use service::Properties;

use super::brokers::{Broker, LANES, brokers, turn};

const ANSWER: Duration = Duration::from_secs(5);
/// Far above what a busy machine takes, so that who waits shows.
const NEVER: Duration = Duration::from_mins(2);
const LIMIT: Duration = Duration::from_mins(1);
/// As many as a large topic has.
const MANY: u32 = 256;
/// When the first record was made.
const BEGUN_MS: i64 = 1_700_000_000_000;

fn cluster(broker: &Broker) -> Cluster {
    Cluster::new("test", "primary", &broker.address, Properties::default())
}

fn producer(broker: &Broker, transactional: bool) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &broker.address);
    if transactional {
        config.set("transactional.id", "asked");
    }
    config.create().unwrap()
}

/// Writes one record a second to a partition, by the records' own clocks.
fn write(producer: &BaseProducer, topic: &str, partition: u32, seconds: std::ops::Range<u32>) {
    for second in seconds {
        let at_ms = BEGUN_MS + 1000 * i64::from(second);
        let record = BaseRecord::<(), str>::to(topic).partition(partition.cast_signed()).payload("{}").timestamp(at_ms);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

fn marks(low: u64, high: u64) -> Watermarks {
    Watermarks { low, high }
}

#[test]
fn a_topic_that_has_grown_to_256_partitions_tells_the_ends_of_all_of_them_at_once() {
    const TOPIC: &str = "grown";
    let _turn = turn();
    let broker = &brokers().primary;
    broker.make_anew(&[TOPIC]);
    let probe = Probe::new(&cluster(broker), ANSWER).unwrap();
    // Those that are not there yet are missing, and known to be there as soon as they are.
    let few = probe.ends(TOPIC, 0..MANY).unwrap();
    assert_eq!(few, (0..LANES).map(|partition| (partition, marks(0, 0))).collect());
    broker.add_partitions(TOPIC, MANY as usize);
    let begun = Instant::now();
    let facts = loop {
        let facts = probe.topic(TOPIC).unwrap();
        if facts.partition_count == MANY && facts.leaderless.is_empty() {
            break facts;
        }
        assert!(begun.elapsed() < LIMIT, "{facts:?}");
    };
    assert_eq!(facts.replicas_min, 1);

    let producer = producer(broker, false);
    for partition in 0..MANY {
        write(&producer, TOPIC, partition, 0..partition % 3);
    }
    producer.flush(LIMIT).unwrap();
    let expected: BTreeMap<u32, Watermarks> =
        (0..MANY).map(|partition| (partition, marks(0, u64::from(partition % 3)))).collect();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        let ends = probe.ends(TOPIC, 0..MANY).unwrap();
        fastest = fastest.min(begun.elapsed());
        assert_eq!(ends, expected);
    }
    println!("the ends of {MANY} partitions took {fastest:?}");
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");

    // The order and number of the questions do not matter.
    let some = probe.ends(TOPIC, [255, 1, 2, 255, u32::MAX, MANY]).unwrap();
    assert_eq!(some, [(1, marks(0, 1)), (2, marks(0, 2)), (255, marks(0, 0))].into());
    assert_eq!(probe.ends(TOPIC, []).unwrap(), BTreeMap::new());
    broker.delete(&[TOPIC]);
}

#[test]
fn the_ends_are_where_records_were_deleted_and_where_a_transaction_is_open() {
    const TOPIC: &str = "transactions";
    let _turn = turn();
    let broker = &brokers().primary;
    broker.make_anew(&[TOPIC]);
    let producer = producer(broker, true);
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    write(&producer, TOPIC, 0, 0..2);
    write(&producer, TOPIC, 1, 0..5);
    producer.commit_transaction(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    write(&producer, TOPIC, 0, 0..3);
    producer.flush(LIMIT).unwrap();
    delete_before(&cluster(broker), TOPIC, 1, 4, LIMIT).unwrap();

    let ends = |probe: Result<Probe, _>| probe.unwrap().ends(TOPIC, 0..3).unwrap();
    // A commit leaves a mark, which has an offset.
    let all = ends(Probe::new(&cluster(broker), ANSWER));
    assert_eq!(all, [(0, marks(0, 6)), (1, marks(4, 6)), (2, marks(0, 0))].into());
    let committed = ends(Probe::committed(&cluster(broker), ANSWER));
    assert_eq!(committed, [(0, marks(0, 3)), (1, marks(4, 6)), (2, marks(0, 0))].into());
    let one_by_one = Probe::new(&cluster(broker), ANSWER).unwrap();
    for (partition, marks) in all {
        assert_eq!(one_by_one.watermarks(TOPIC, partition).unwrap(), marks);
    }
    producer.abort_transaction(LIMIT).unwrap();
}

#[test]
fn a_time_is_found_in_each_partition_by_itself() {
    const TOPIC: &str = "times";
    let _turn = turn();
    let broker = &brokers().primary;
    // With clocks of their own, so that the test says when each was made.
    broker.make_anew_with(&[TOPIC], &[("message.timestamp.type", "CreateTime")]);
    let producer = producer(broker, false);
    write(&producer, TOPIC, 0, 0..10);
    write(&producer, TOPIC, 1, 5..8);
    producer.flush(LIMIT).unwrap();

    let probe = Probe::new(&cluster(broker), ANSWER).unwrap();
    let told = |partition, ms: i64| probe.offsets_at(TOPIC, &[(partition, ms)]).unwrap().remove(&partition);
    let at = |partition, ms: i64| told(partition, BEGUN_MS + ms).unwrap();
    assert_eq!([at(0, 0), at(0, 3000), at(0, 3001), at(0, 9000)], [Some(0), Some(3), Some(4), Some(9)]);
    assert_eq!([at(0, 9001), at(1, 9000), at(2, 0)], [None; 3]);
    assert_eq!([at(1, 0), at(1, 5000), at(1, 5001)], [Some(0), Some(0), Some(1)]);
    // Numbers that mean an end of the log to Kafka mean a time long ago here.
    for ms in [-1, -2, -3, i64::MIN, 0] {
        assert_eq!(told(1, ms), Some(Some(0)), "{ms}");
    }
    assert_eq!(told(1, i64::MAX), Some(None));

    let asked = [(0, 2000), (1, 6000), (2, 0), (LANES, 0)];
    let asked = asked.map(|(partition, ms)| (partition, BEGUN_MS + ms));
    let found = probe.offsets_at(TOPIC, &asked).unwrap();
    assert_eq!(found, [(0, Some(2)), (1, Some(1)), (2, None)].into());
    assert_eq!(told(LANES, 0), None, "there is no such partition");
    // Records that were deleted are not found.
    delete_before(&cluster(broker), TOPIC, 0, 7, LIMIT).unwrap();
    assert_eq!([at(0, 0), at(0, 8000)], [Some(7), Some(8)]);
}

#[test]
fn of_a_topic_that_is_not_there_nothing_is_told() {
    let _turn = turn();
    let probe = Probe::new(&cluster(&brokers().primary), NEVER).unwrap();
    let begun = Instant::now();
    assert_eq!(probe.ends("no.such.topic", 0..4).unwrap(), BTreeMap::new());
    assert_eq!(probe.offsets_at("no.such.topic", &[(0, 0)]).unwrap(), BTreeMap::new());
    // Nobody leads them, and nobody is waited for.
    assert!(begun.elapsed() < NEVER / 2, "{:?}", begun.elapsed());
    let nobody = Cluster::new("test", "primary", "127.0.0.1:1", Properties::default());
    Probe::new(&nobody, ANSWER).unwrap().ends("no.such.topic", 0..4).unwrap_err();
}
