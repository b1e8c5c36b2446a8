//! Reading a topic to its end, fast: for the hundreds of thousands of records that a load leaves.

use std::net::SocketAddr;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

/// Longer than any answer of a healthy broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Shows `visit` every record of a topic that is there now: partition, key and value.
///
/// # Panics
/// When the topic cannot be read to the end that it has at the beginning.
pub fn read(brokers: SocketAddr, topic: &str, mut visit: impl FnMut(u32, &[u8], &[u8])) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers.to_string())
        .set("group.id", "scenario")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_LIMIT).expect("the topic's metadata");
    let partitions = metadata.topics().first().expect("the topic").partitions().len() as i32;
    let mut list = TopicPartitionList::new();
    let mut left: i64 = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_LIMIT).expect("watermarks");
        left += high - low;
        list.add_partition_offset(topic, partition, Offset::Offset(low)).expect("a partition");
    }
    consumer.assign(&list).expect("an assignment");
    while left > 0 {
        let record = consumer.poll(ANSWER_LIMIT).expect("more records").expect("a record");
        let key = record.key().unwrap_or_default();
        visit(record.partition().unsigned_abs(), key, record.payload().unwrap_or_default());
        left -= 1;
    }
}
