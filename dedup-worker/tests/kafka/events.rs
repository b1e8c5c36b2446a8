//! Producing events as the ingest does, and reading what came out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use wire::partition::partition_of;
use wire::topic::{EVENTS, EVENTS_DEDUPED, RECEIVED_AT_HEADER, SOURCE_HEADER};
use wire::{LaneCount, MessageId, PartitionCount};

use super::brokers::{Broker, LANES};

pub(crate) const SOURCE: &str = "web";

pub(crate) struct Events {
    producer: ThreadedProducer<DefaultProducerContext>,
    count: PartitionCount,
}

impl Events {
    pub(crate) fn to(broker: &Broker) -> Self {
        Self::at(&broker.address, broker.inputs)
    }

    /// To whoever answers there, over so many partitions.
    pub(crate) fn at(address: &str, count: u32) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .set("message.max.bytes", "1040000")
            .create()
            .unwrap();
        Self { producer, count: PartitionCount::try_new(count).unwrap() }
    }

    /// The same where there are so many partitions by now.
    pub(crate) fn over(self, count: u32) -> Self {
        Self { count: PartitionCount::try_new(count).unwrap(), ..self }
    }

    /// The partition that a key belongs into.
    pub(crate) fn place(&self, key: &[u8]) -> u32 {
        MessageId::try_new(key).map_or(0, |id| partition_of(id, self.count))
    }

    /// The partition that the event with this number goes to.
    pub(crate) fn partition(&self, number: u64) -> u32 {
        self.place(id(number).as_bytes())
    }

    /// Produces the events with these numbers.
    pub(crate) fn produce(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.produce_at(number, now_ms());
        }
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    pub(crate) fn produce_at(&self, number: u64, received_at_ms: i64) {
        let id = id(number);
        let received = received_at_ms.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header { key: SOURCE_HEADER, value: Some(SOURCE) })
            .insert(Header { key: RECEIVED_AT_HEADER, value: Some(&received) });
        self.send(&id, self.place(id.as_bytes()), Some(headers));
    }

    /// Produces a record of any bytes, or none.
    pub(crate) fn raw(&self, partition: u32, key: Option<&[u8]>, value: Option<&[u8]>, headers: OwnedHeaders) {
        let mut record = BaseRecord::<[u8], [u8]>::to(EVENTS).partition(partition.cast_signed()).headers(headers);
        (record.key, record.payload) = (key, value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Produces a whole event, with one more header whose name is no UTF-8.
    #[expect(unsafe_code, reason = "the safe interface takes no such name")]
    pub(crate) fn with_header_named(&self, number: u64, name: &[u8]) {
        use rd::rd_kafka_vtype_t as kind;
        use rdkafka::bindings as rd;
        let (id, received) = (id(number), now_ms().to_string());
        let value = format!(r#"{{"messageId":"{id}","type":"track"}}"#);
        let topic = std::ffi::CString::new(EVENTS).unwrap();
        // SAFETY: the list of arguments is what librdkafka documents; it copies key and value and takes the headers over.
        let sent = unsafe {
            let headers = rd::rd_kafka_headers_new(3);
            for (name, value) in [
                (SOURCE_HEADER.as_bytes(), SOURCE.as_bytes()),
                (RECEIVED_AT_HEADER.as_bytes(), received.as_bytes()),
                (name, &b"x"[..]),
            ] {
                let (at, length) = (name.as_ptr().cast(), name.len() as isize);
                rd::rd_kafka_header_add(headers, at, length, value.as_ptr().cast(), value.len() as isize);
            }
            rd::rd_kafka_producev(
                self.producer.client().native_ptr(),
                kind::RD_KAFKA_VTYPE_TOPIC,
                topic.as_ptr(),
                kind::RD_KAFKA_VTYPE_PARTITION,
                self.place(id.as_bytes()).cast_signed(),
                kind::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY,
                kind::RD_KAFKA_VTYPE_KEY,
                id.as_ptr(),
                id.len(),
                kind::RD_KAFKA_VTYPE_VALUE,
                value.as_ptr(),
                value.len(),
                kind::RD_KAFKA_VTYPE_HEADERS,
                headers,
                kind::RD_KAFKA_VTYPE_END,
            )
        };
        assert_eq!(sent, rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    }

    /// Produces a record as it is.
    pub(crate) fn send(&self, id: &str, partition: u32, headers: Option<OwnedHeaders>) {
        let value = format!(r#"{{"messageId":"{id}","type":"track"}}"#);
        let mut record = BaseRecord::to(EVENTS).partition(partition.cast_signed()).key(id).payload(&value);
        if let Some(headers) = headers {
            record = record.headers(headers);
        }
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }
}

pub(crate) fn id(number: u64) -> String {
    format!("m-{number:08}")
}

/// Numbers of events of one lane, from a number on.
pub(crate) fn of_lane(wanted: u32, from: u64) -> impl Iterator<Item = u64> {
    (from..).filter(move |number| lane(&id(*number)) == wanted)
}

pub(crate) fn lane(id: &str) -> u32 {
    LaneCount::try_new(LANES).unwrap().lane_of(MessageId::try_new(id.as_bytes()).unwrap())
}

pub(crate) fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Reads the output as it grows, as a reader under `read_committed` sees it.
pub(crate) struct Output {
    consumer: BaseConsumer,
    pub(crate) seen: HashMap<String, u32>,
}

impl Output {
    pub(crate) fn of(broker: &Broker) -> Self {
        Self::topic(broker, EVENTS_DEDUPED)
    }

    pub(crate) fn topic(broker: &Broker, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &broker.address)
            .set("group.id", "judge")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "50")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..broker.count_of(topic) {
            list.add_partition_offset(topic, partition.cast_signed(), Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        Self { consumer, seen: HashMap::new() }
    }

    /// There are so many partitions by now; those that were not read yet are read from their beginning.
    pub(crate) fn reads(&self, count: u32) {
        let mut list = TopicPartitionList::new();
        for partition in self.consumer.assignment().unwrap().count() as u32..count {
            list.add_partition_offset(EVENTS_DEDUPED, partition.cast_signed(), Offset::Beginning).unwrap();
        }
        self.consumer.incremental_assign(&list).unwrap();
    }

    /// Reads until `count` different events have come out.
    pub(crate) fn wait_for(&mut self, count: usize, limit: Duration) {
        let begun = Instant::now();
        while self.seen.len() < count {
            assert!(begun.elapsed() < limit, "{} of {count} events came out in {limit:?}", self.seen.len());
            self.read(Duration::from_millis(100));
        }
    }

    /// Reads what there is until nothing comes for `quiet`.
    pub(crate) fn drain(&mut self, quiet: Duration) {
        while self.read(quiet) {}
    }

    fn read(&mut self, timeout: Duration) -> bool {
        match self.consumer.poll(timeout) {
            Some(Ok(record)) => {
                let id = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
                *self.seen.entry(id).or_default() += 1;
                true
            }
            _ => false,
        }
    }

    /// Asserts that exactly the events below `count` came out, each once.
    pub(crate) fn assert_each_once(&mut self, count: u64) {
        self.assert_each_once_of(0..count);
    }

    /// Asserts that exactly these events came out, each once.
    pub(crate) fn assert_each_once_of(&mut self, numbers: impl Iterator<Item = u64> + Clone) {
        self.drain(Duration::from_millis(700));
        let doubled: Vec<_> = self.seen.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(doubled.is_empty(), "came out more than once: {doubled:?}");
        let missing: Vec<_> = numbers.clone().map(id).filter(|id| !self.seen.contains_key(id)).take(5).collect();
        assert!(missing.is_empty(), "never came out: {missing:?}");
        assert_eq!(self.seen.len(), numbers.count(), "nothing else came out");
    }
}
