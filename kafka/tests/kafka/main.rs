//! The questions of a probe: to real Kafka, and, where one broker is not enough, to librdkafka's imitation of a cluster.

#[path = "../../../dedup-worker/tests/kafka/brokers.rs"]
#[expect(dead_code, reason = "the brokers of the dedup worker's tests can be broken in more ways")]
mod brokers;
#[path = "../../../dedup-worker/tests/kafka/proxy.rs"]
#[expect(dead_code, reason = "they have a second way to them")]
mod proxy;

mod asked;
mod frozen;
mod leaders;
mod logs;
mod missing;
