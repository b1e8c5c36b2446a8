//! Rows `drain` and `drain_p256`: records a second that `tapi run` carries from a full local buffer to a real Kafka cluster,
//! beside a plain rdkafka producer with the same settings that has the same records in memory.
//!
//! One real broker, 8 lanes, 8 partitions or 256, records of 500 bytes with their key and two headers; all programs share the
//! machine.
//! All take turns, each on a fresh topic, and are measured from the first acknowledgement to the last; the figures are
//! medians. After every round each record must be in a partition of its lane once. A row's name as an argument runs that one
//! alone.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::{BATCH_BYTES, Sending};
use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program};
use benches::record::{self, Row, median};
use benches::{machine, server, traffic};
use local_buffer::AppendError;
use rdkafka::producer::Producer as _;
use wire::topic::{EVENTS, EVENTS_INDEX, EVENTS_REJECTED};
use wire::{MessageId, SourceId, envelope};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANES: u32 = 8;
const RECORDS: u64 = 1_500_000;
const ROUNDS: usize = 3;
/// What `tapi` has by default.
const LINGER_MS: u64 = 5;
const LIMIT: Duration = Duration::from_mins(3);
const ACKNOWLEDGED: &str = r#"tapi_forward_records_total{cluster="primary"}"#;

/// Each row, that of its processor time, and its partitions.
const SHAPES: [(&str, &str, u32); 2] = [("drain", "drain_cpu", 8), ("drain_p256", "drain_p256_cpu", 256)];

fn main() {
    if let Some(role) = server::role() {
        let words: Vec<&str> = role.split(' ').collect();
        let ["floor", address, partitions] = words[..] else { panic!("no role {role}") };
        floor(address, partitions.parse().expect("a number"));
        return;
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_meant = |row: &str| named.is_empty() || named.iter().any(|name| name == row);
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    let mut shapes = SHAPES.map(Measured::new).into_iter().filter(|it| is_meant(it.row)).collect::<Vec<_>>();
    for _ in 0..ROUNDS {
        for shape in &mut shapes {
            shape.round(&broker);
        }
    }
    let rates: Vec<f64> = shapes.iter().map(Measured::keep).collect();
    if let [few, many] = rates[..] {
        println!("256 partitions over 8: {:.3}", many / few);
    }
}

/// The rounds of one row and of its floor.
struct Measured {
    row: &'static str,
    cpu_row: &'static str,
    partitions: u32,
    drains: Vec<Round>,
    floors: Vec<Round>,
}

impl Measured {
    fn new((row, cpu_row, partitions): (&'static str, &'static str, u32)) -> Self {
        Self { row, cpu_row, partitions, drains: Vec::new(), floors: Vec::new() }
    }

    fn round(&mut self, broker: &Broker) {
        self.floors.push(floor_round(broker, self.partitions));
        self.drains.push(drain_round(broker, self.partitions));
    }

    /// Keeps its rows, and gives its rate.
    fn keep(&self) -> f64 {
        let Self { row, cpu_row, drains, floors, .. } = self;
        let figures = |rounds: &[Round], of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let (rate, cpu) = (|round: &Round| round.rate, |round: &Round| round.cpu_us);
        for (name, rounds) in [("floor", floors), (*row, drains)] {
            let (rate, cpu) = (figures(rounds, rate), figures(rounds, cpu));
            println!("{name}: {rate:.0} records/s, {cpu:.2} us of processor time each");
        }
        let (value, floor) = (figures(drains, rate), Some(figures(floors, rate)));
        let (value_cpu, floor_cpu) = (figures(drains, cpu), Some(figures(floors, cpu)));
        record::keep(&[
            Row { name: row, value, unit: "records/s", floor },
            Row { name: cpu_row, value: value_cpu, unit: "us/record", floor: floor_cpu },
        ]);
        value
    }
}

/// What a round showed.
struct Round {
    rate: f64,
    cpu_us: f64,
}

/// One round of the drain: the buffer was filled by nobody's leave but the library's, then `tapi run` finds it full.
fn drain_round(broker: &Broker, partitions: u32) -> Round {
    broker.make_anew(&[EVENTS, EVENTS_REJECTED], partitions);
    broker.make_anew(&[EVENTS_INDEX], LANES);
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
    broker.check_events(partitions, LANES, RECORDS);
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

/// One round of the floor, in a process of its own, which tells its figures.
fn floor_round(broker: &Broker, partitions: u32) -> Round {
    broker.make_anew(&[EVENTS], partitions);
    let figures = server::ask_once(&format!("floor {} {partitions}", broker.address));
    broker.check_events(partitions, LANES, RECORDS);
    Round { rate: figures[0], cpu_us: figures[1] }
}

/// The floor: prints its rate and its processor time a record.
fn floor(address: &str, partitions: u32) {
    let events = traffic::placed(RECORDS, partitions);
    let cluster = ::kafka::Cluster::new("tapi", "primary", address, service::Properties::default());
    let sending = Sending::Together { linger_ms: LINGER_MS, batch_bytes: BATCH_BYTES };
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
