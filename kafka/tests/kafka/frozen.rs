//! A producer whose cluster has one broker that does not answer: what it does with the partitions of the others, and what
//! the time-out of those that are stuck costs them.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use kafka::{BATCH_BYTES, Cluster, Code, Headers, Producer, Record, Report, Sending};
use rdkafka::mocking::MockCluster;
use service::Properties;

const TOPIC: &CStr = c"events";
const VALUE: &[u8] = b"value";
const TIME_OUT: Duration = Duration::from_secs(3);
const STUCK: usize = 5;

/// Hands a record over, with its partition as the token.
#[expect(unsafe_code, reason = "produce demands that the value outlives the producer, which a constant does")]
fn send(producer: &Producer, partition: u32) {
    let record =
        Record { topic: TOPIC, partition: Some(partition), key: None, value: VALUE, headers: Headers::These(&[]) };
    // SAFETY: the value is a constant.
    unsafe { producer.produce(&record, partition as usize) }.unwrap();
}

/// Waits for reports until there is one of this partition, and tells how long that took.
fn wait_for(producer: &Producer, partition: u32, reports: &mut Vec<Report>) -> Duration {
    let begun = Instant::now();
    let known = reports.len();
    while !reports[known..].iter().any(|report| report.token == partition as usize) {
        producer.serve(Duration::from_millis(5), reports);
        assert!(begun.elapsed() < Duration::from_mins(1), "it never came back");
    }
    begun.elapsed()
}

#[test]
fn partitions_of_other_brokers_go_on_beside_a_frozen_one_and_past_its_time_outs() {
    let brokers = MockCluster::new(2).unwrap();
    brokers.create_topic("events", 2, 1).unwrap();
    for partition in 0..2 {
        brokers.partition_leader("events", partition, Some(1 + partition)).unwrap();
    }
    let times = [("message.timeout.ms", TIME_OUT.as_millis().to_string()), ("socket.timeout.ms", "1000".into())];
    let properties = times.into_iter().collect::<Properties>();
    let cluster = Cluster::new("test", "primary", brokers.bootstrap_servers(), properties);
    let producer = Producer::new(&cluster, Sending::Together { linger_ms: 1, batch_bytes: BATCH_BYTES }).unwrap();
    let mut reports = Vec::new();
    for partition in [0, 1] {
        send(&producer, partition);
        wait_for(&producer, partition, &mut reports);
    }
    assert!(reports.iter().all(|report| report.result.is_ok() && report.bytes == VALUE.len()), "{reports:?}");
    reports.clear();
    brokers.broker_round_trip_time(2, Duration::from_mins(5)).unwrap();
    for _ in 0..STUCK {
        send(&producer, 1);
    }
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    while reports.iter().filter(|report| report.token == 1).count() < STUCK {
        send(&producer, 0);
        longest = longest.max(wait_for(&producer, 0, &mut reports));
        assert!(begun.elapsed() < 10 * TIME_OUT, "what is stuck does not come back");
    }
    // Once more behind the last time-out: librdkafka has begun a new epoch, for which it let all requests end.
    send(&producer, 0);
    longest = longest.max(wait_for(&producer, 0, &mut reports));
    let of = |token| reports.iter().filter(move |report| report.token == token).map(|report| report.result);
    assert_eq!(of(1).collect::<Vec<_>>(), [Err(Code::MessageTimedOut); STUCK]);
    assert!(of(0).all(|result| result.is_ok()));
    assert!(longest < TIME_OUT / 2, "the other partition waited {longest:?}");
}
