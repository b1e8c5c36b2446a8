//! Brokers that make a topic for whoever asks for one: with their own number of partitions and their own retention, which is
//! the wrong number of lanes, and events that are gone too early. Nothing of this library may lead them to.

use std::time::Duration;

use kafka::{
    BATCH_BYTES, Cluster, Fenced, Group, Headers, Isolation, Kind, LogReader, Membership, Outgoing, Probe, Producer,
    Read, Record, Sending,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use service::Properties;

const ANSWER: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_mins(1);
/// librdkafka does not wait longer for a topic to appear.
const PATIENCE: [(&str, &str); 2] = [("topic.metadata.propagation.max.ms", "500"), ("message.timeout.ms", "2000")];

fn topics(brokers: &MockCluster<'static, DefaultProducerContext>) -> Vec<String> {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers.bootstrap_servers()).create().unwrap();
    let metadata = client.fetch_metadata(None, LIMIT).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

#[test]
#[expect(unsafe_code, reason = "produce demands that the value outlives the producer, which a constant does")]
fn nobody_makes_a_topic_by_accident() {
    let brokers = MockCluster::new(1).unwrap();
    let properties = PATIENCE.into_iter().collect::<Properties>();
    let cluster = Cluster::new("test", "primary", brokers.bootstrap_servers(), properties);

    let probe = Probe::new(&cluster, ANSWER).unwrap();
    let said = probe.widest("probed").unwrap_err().to_string();
    assert!(said.contains("there is no such topic"), "{said}");
    assert_eq!(probe.ends("probed", 0..4).unwrap(), [].into());
    probe.watermarks("probed", 0).unwrap_err();

    let mut reader = LogReader::open(&cluster, c"read", 0, 0, Isolation::Committed).unwrap();
    let read = reader.read(ANSWER);
    assert!(matches!(read, Read::Nothing | Read::Trouble(_)), "{read:?}");

    let membership = Membership { group: "workers", id: None, session: Duration::from_secs(6) };
    let (group, _told) = Group::join(&cluster, membership).unwrap();

    let sending = Sending::Together { linger_ms: 1, batch_bytes: BATCH_BYTES };
    let producer = Producer::new(&cluster, sending).unwrap();
    let (record, mut reports) = (
        Record { topic: c"sent", partition: Some(0), key: None, value: b"value", headers: Headers::These(&[]) },
        Vec::new(),
    );
    // SAFETY: the value is a constant.
    unsafe { producer.produce(&record, 1) }.unwrap();
    producer.serve(LIMIT, &mut reports);
    assert!(reports.iter().any(|report| report.result.is_err()), "{reports:?}");

    let mut fenced = Fenced::take(&cluster, "fence", ANSWER).unwrap();
    fenced.begin().unwrap();
    let (kind, headers) = (Kind::Changelog, Headers::These(&[]));
    let outgoing = Outgoing { kind, topic: c"logged", partition: Some(0), key: &[], value: b"value", headers };
    fenced.send([outgoing]).unwrap_err();

    assert_eq!(topics(&brokers), [""; 0]);
    group.close();

    // They would have.
    let plain: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", brokers.bootstrap_servers()).create().unwrap();
    plain.send(BaseRecord::<(), str>::to("accident").payload("{}")).map_err(|(error, _)| error).unwrap();
    plain.flush(LIMIT).unwrap();
    assert_eq!(topics(&brokers), ["accident"]);
}
