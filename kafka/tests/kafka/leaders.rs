//! Partitions that nobody leads, and brokers that do not answer: nothing is told of theirs, and all of the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka::{Cluster, Probe, Watermarks};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use service::Properties;

const TOPIC: &str = "events";
/// For the tests in which a broker is silent, and costs this time.
const ANSWER: Duration = Duration::from_secs(2);
/// For those in which nobody is to be waited for. It is far above what a busy machine takes, so that who waits shows.
const NEVER: Duration = Duration::from_mins(2);
const PARTITIONS: u32 = 8;

/// Two brokers, which lead the partitions by turns, and somebody who waits so long for an answer.
fn pair(timeout: Duration) -> (MockCluster<'static, DefaultProducerContext>, Probe) {
    let brokers = MockCluster::new(2).unwrap();
    brokers.create_topic(TOPIC, PARTITIONS.cast_signed(), 2).unwrap();
    for partition in 0..PARTITIONS.cast_signed() {
        brokers.partition_leader(TOPIC, partition, Some(1 + partition % 2)).unwrap();
    }
    let cluster = Cluster::new("test", "primary", brokers.bootstrap_servers(), Properties::default());
    let probe = Probe::new(&cluster, timeout).unwrap();
    (brokers, probe)
}

fn told(probe: &Probe) -> Vec<u32> {
    let ends = probe.ends(TOPIC, 0..PARTITIONS).unwrap();
    assert!(ends.values().all(|marks| *marks == Watermarks { low: 0, high: 0 }), "{ends:?}");
    ends.into_keys().collect()
}

#[test]
fn partitions_without_a_leader_keep_nobody_from_telling_of_the_others() {
    let (brokers, probe) = pair(NEVER);
    assert_eq!(told(&probe), (0..PARTITIONS).collect::<Vec<_>>());
    for partition in [6, 3] {
        brokers.partition_leader(TOPIC, partition, None).unwrap();
    }
    let begun = Instant::now();
    assert_eq!(told(&probe), [0, 1, 2, 4, 5, 7]);
    assert_eq!(probe.offsets_at(TOPIC, &[(2, 0), (3, 0)]).unwrap(), [(2, None)].into());
    for partition in 0..PARTITIONS.cast_signed() {
        brokers.partition_leader(TOPIC, partition, None).unwrap();
    }
    assert_eq!(probe.ends(TOPIC, 0..PARTITIONS).unwrap(), BTreeMap::new());
    // None of this waits for a leader, though librdkafka may ask again for a few seconds.
    assert!(begun.elapsed() < NEVER / 2, "{:?}", begun.elapsed());
    // Once there is one it is found at once.
    brokers.partition_leader(TOPIC, 3, Some(1)).unwrap();
    assert_eq!(told(&probe), [3]);
}

#[test]
fn a_broker_that_answers_with_an_error_takes_only_its_own_partitions_away() {
    let (brokers, probe) = pair(NEVER);
    assert_eq!(told(&probe).len(), 8);
    // For the next request, which goes to either of them.
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR;
    brokers.request_errors(RDKafkaApiKey::ListOffsets, &[error]);
    let some = told(&probe);
    assert!(some == [0, 2, 4, 6] || some == [1, 3, 5, 7], "{some:?}");
    assert_eq!(told(&probe).len(), 8);
}

#[test]
fn a_frozen_broker_takes_only_its_own_partitions_away() {
    let (brokers, probe) = pair(ANSWER);
    assert_eq!(told(&probe).len(), 8);
    brokers.broker_round_trip_time(2, Duration::from_mins(5)).unwrap();
    let begun = Instant::now();
    assert_eq!(told(&probe), [0, 2, 4, 6]);
    // Its time once, not once for each of its partitions.
    assert!(begun.elapsed() < 4 * ANSWER, "{:?}", begun.elapsed());
}

/// Anybody tells of a topic; how wide it is, all of them together.
///
/// librdkafka puts the first question to either broker, so the silence is met there or where each of them is asked.
#[test]
fn a_broker_that_does_not_answer_may_have_heard_of_more_partitions() {
    let (brokers, probe) = pair(ANSWER);
    assert_eq!(probe.widest(TOPIC).unwrap().partition_count, PARTITIONS);
    brokers.broker_round_trip_time(2, Duration::from_mins(5)).unwrap();
    let failure = probe.widest(TOPIC).unwrap_err();
    assert!(failure.to_string().starts_with("ask every broker for a topic: "), "{failure}");
}
