//! Row `drain`: records a second that `tapi run` carries from a full local buffer to a real Kafka cluster, beside a plain
//! rdkafka producer with the same settings that has the same records in memory.
//!
//! One real broker, 8 partitions, records of 500 bytes with their key and two headers; all programs share the machine.
//! Both take turns, each on a fresh topic, and are measured from the first acknowledgement to the last; the figures are
//! medians. After every round each record must be in its partition once.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::Sending;
use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program};
use benches::record::{self, Row, median};
use benches::traffic::{self, Event};
use benches::{machine, server};
use local_buffer::AppendError;
use rdkafka::Message as _;
use rdkafka::producer::Producer as _;
use wire::topic::{EVENTS, EVENTS_REJECTED};
use wire::{MessageId, SourceId, envelope};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 8;
const RECORDS: u64 = 1_500_000;
const ROUNDS: usize = 3;
/// What `tapi` has by default.
const LINGER_MS: u64 = 20;
const LIMIT: Duration = Duration::from_mins(3);
const ACKNOWLEDGED: &str = r#"tapi_forward_records_total{cluster="primary"}"#;

fn main() {
    if let Some(role) = server::role() {
        let address = role.strip_prefix("floor ").unwrap_or_else(|| panic!("no role {role}"));
        floor(address);
        return;
    }
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    let (mut drains, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.push(floor_round(&broker));
        drains.push(drain_round(&broker));
    }
    let figures = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let (rate, cpu) = (|round: &Round| round.rate, |round: &Round| round.cpu_us);
    for (name, rounds) in [("floor", &floors), ("drain", &drains)] {
        let (rate, cpu) = (figures(rounds, rate), figures(rounds, cpu));
        println!("{name}: {rate:.0} records/s, {cpu:.2} us of processor time each");
    }
    let (value, floor) = (figures(&drains, rate), Some(figures(&floors, rate)));
    let (value_cpu, floor_cpu) = (figures(&drains, cpu), Some(figures(&floors, cpu)));
    record::keep(&[
        Row { name: "drain", value, unit: "records/s", floor },
        Row { name: "drain_cpu", value: value_cpu, unit: "us/record", floor: floor_cpu },
    ]);
}

/// What a round showed.
struct Round {
    rate: f64,
    cpu_us: f64,
}

/// One round of the drain: the buffer was filled by nobody's leave but the library's, then `tapi run` finds it full.
fn drain_round(broker: &Broker) -> Round {
    broker.make_anew(&[EVENTS, EVENTS_REJECTED], PARTITIONS);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    fill(folder.path());
    let mut command = program::command("tapi");
    command
        .arg("run")
        .env("TAPI_LISTEN", "127.0.0.1:0")
        .env("TAPI_ADMIN_LISTEN", "127.0.0.1:0")
        .env("TAPI_DATA", folder.path())
        .env("TAPI_KAFKA_PRIMARY", &broker.address)
        .env("TAPI_KAFKA_SECONDARY", "");
    let tapi = Program::start(command, &folder.path().join("tapi.log"));
    let done = || tapi.metric(ACKNOWLEDGED);
    program::wait_until("the first records are acknowledged", LIMIT, || done() > 0);
    let (first, begun, used) = (done(), Instant::now(), tapi.processor_time());
    program::wait_until("everything is acknowledged", LIMIT, || done() >= RECORDS);
    let (elapsed, used) = (begun.elapsed(), tapi.processor_time().saturating_sub(used));
    drop(tapi);
    check(broker);
    let records = (RECORDS - first) as f64;
    Round { rate: records / elapsed.as_secs_f64(), cpu_us: used.as_secs_f64() * 1e6 / records }
}

/// Appends the records to the buffer of a `tapi` that does not run.
fn fill(data: &Path) {
    let (queue, _) = ingest::Config::default().buffer.open(data).expect("a new buffer");
    let appender = queue.appender();
    let (mut record, mut last) = (Vec::new(), None);
    for number in 0..RECORDS {
        let event = traffic::event(number);
        let source = SourceId::try_new(event.source.as_bytes()).expect("a source");
        let id = MessageId::try_new(event.key.as_bytes()).expect("an id");
        record.clear();
        envelope::begin_event(&mut record, source, id, event.received_at_ms);
        record.extend_from_slice(&event.value);
        last = Some(loop {
            match appender.append(&record) {
                Ok(pending) => break pending,
                Err(AppendError::Busy) => thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        });
    }
    last.expect("there was one").wait(&appender).expect("it is on disk");
    queue.close().expect("the buffer is closed");
}

/// Every record is there once, in its partition and as it was.
fn check(broker: &Broker) {
    let mut seen = vec![false; RECORDS as usize];
    let count = broker.read(EVENTS, PARTITIONS, |record| {
        let number = traffic::number(record.key().expect("a key")).expect("an event of this bench");
        assert!(!std::mem::replace(&mut seen[number as usize], true), "record {number} is there twice");
        if number.is_multiple_of(1_000) {
            let event = traffic::event(number);
            let partition = traffic::partition(&event, PARTITIONS);
            assert_eq!((record.partition().cast_unsigned(), record.payload()), (partition, Some(&event.value[..])));
        }
    });
    assert_eq!(count, RECORDS, "every record is there");
}

/// One round of the floor, in a process of its own, which tells its figures.
fn floor_round(broker: &Broker) -> Round {
    broker.make_anew(&[EVENTS], PARTITIONS);
    let figures = server::ask_once(&format!("floor {}", broker.address));
    check(broker);
    Round { rate: figures[0], cpu_us: figures[1] }
}

/// The floor: prints its rate and its processor time a record.
fn floor(address: &str) {
    let events: Vec<(Event, u32)> = (0..RECORDS)
        .map(traffic::event)
        .map(|event| {
            let partition = traffic::partition(&event, PARTITIONS);
            (event, partition)
        })
        .collect();
    let cluster = ::kafka::Cluster::new("tapi", "primary", address, service::Properties::default());
    let sending = Sending::Together { linger_ms: LINGER_MS };
    let producer: Sender = cluster.sending(sending).create().expect("a producer");
    // Connects and learns where the partitions are.
    producer.client().fetch_metadata(Some(EVENTS), LIMIT).expect("an answer");
    let (begun, used) = (Instant::now(), machine::own_processor_time());
    for (event, partition) in &events {
        kafka::send(&producer, kafka::record_of(EVENTS, *partition, event));
    }
    kafka::settle(&producer);
    let (elapsed, used) = (begun.elapsed(), machine::own_processor_time().saturating_sub(used));
    println!("{} {}", RECORDS as f64 / elapsed.as_secs_f64(), used.as_secs_f64() * 1e6 / RECORDS as f64);
}
