//! Fault: nobody leads one partition of an input, from before it is opened on.
//!
//! Oracle: its neighbour is read meanwhile, the window's clock hears that it is away, and it is read once somebody leads it.
//! librdkafka's imitation of a cluster can do what a single real broker cannot.

use std::time::{Duration, Instant};

use changelog::{Positions, Reached};
use dedup_worker::worker::input::Input;
use dedup_worker::worker::readers::Readers;
use kafka::{Cluster, TopicFacts};
use rdkafka::mocking::MockCluster;
use service::Properties;
use wire::LaneCount;
use wire::topic::EVENTS;

use super::events::{Events, now_ms};

const LIMIT: Duration = Duration::from_secs(50);
/// Of them the lane has 1 and 3.
const PARTITIONS: u32 = 4;
const LANE: u32 = 1;
const LED_BY_NOBODY: u32 = 3;
const RECORDS: u64 = 1_000;

/// Reads so many records more, which all come from this partition, one behind the other.
fn read(input: &mut Input, positions: &mut Positions, partition: u32, count: u64) {
    let begun = Instant::now();
    let mut next = 0;
    while next < count {
        assert!(begun.elapsed() < LIMIT, "{next} of {count} records of partition {partition} came");
        input.serve();
        input.fetch(positions);
        for place in input.places() {
            while let Some(record) = input.take(place) {
                assert_eq!((record.partition(), record.offset()), (partition, next));
                next += 1;
            }
        }
    }
}

#[test]
fn a_partition_of_an_input_that_nobody_leads_holds_up_nothing_but_itself() {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic(EVENTS, PARTITIONS.cast_signed(), 1).unwrap();
    let events = Events::at(&brokers.bootstrap_servers(), PARTITIONS);
    events.produce(0..RECORDS);
    let of = |partition| (0..RECORDS).filter(|number| events.partition(*number) == partition).count() as u64;
    let leads = |leader| brokers.partition_leader(EVENTS, LED_BY_NOBODY.cast_signed(), leader).unwrap();
    leads(None);

    let readers = Readers::new(Cluster::new("test", "secondary", brokers.bootstrap_servers(), Properties::default()));
    let facts = TopicFacts {
        cluster_id: "imitation".into(),
        topic_id: [1; 16],
        partition_count: PARTITIONS,
        replicas_min: 1,
        leaderless: vec![LED_BY_NOBODY],
    };
    let lanes = LaneCount::try_new(2).unwrap();
    let mut input = Input::open(&readers, "secondary", facts.clone(), (lanes, LANE), || {}).unwrap();
    let mut positions = Positions::default();
    input.grow(facts, lanes, &positions, now_ms()).unwrap();
    read(&mut input, &mut positions, LANE, of(LANE));
    assert!(of(LANE) > 100 && of(LED_BY_NOBODY) > 100);
    assert_eq!(input.reached(true).nth(1), Some(Reached::Away), "how far it is read is not known");
    leads(Some(1));
    read(&mut input, &mut positions, LED_BY_NOBODY, of(LED_BY_NOBODY));
}
