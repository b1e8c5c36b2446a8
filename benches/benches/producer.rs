//! Rows `producer_lent` and `producer_lent_cpu`: records a second that `kafka::Producer` brings to a real Kafka cluster
//! and the processor time of its process for each, beside rdkafka's own producers with the same settings. It lends
//! librdkafka the values, they copy them.
//!
//! One real broker, 8 partitions, records of 500 bytes with their key and two headers, which the sender has in memory;
//! at most [`IN_FLIGHT_MAX`] of them are on their way. Each producer has a process of its own, is measured from the
//! acknowledgement of its first record to that of its last, and shares the machine with the broker. They take turns,
//! each on a fresh topic; the figures are medians. In every round each record must have been acknowledged, and be in
//! its partition once.
//!
//! rdkafka has two producers: one is polled by a thread of its own, the other by its owner. Each figure's floor is the
//! better of theirs.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::{BATCH_BYTES, Cluster, Code, Headers, Record, Report, Sending};
use benches::kafka::{Broker, record_of};
use benches::record::{self, Row, median};
use benches::traffic::{self, Placed};
use benches::{machine, server};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use wire::topic::{EVENTS, RECEIVED_AT_HEADER, SOURCE_HEADER};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 8;
const RECORDS: u64 = 1_500_000;
const ROUNDS: usize = 5;
/// As many as librdkafka takes by default.
const IN_FLIGHT_MAX: &str = "100000";
/// What `tapi` has by default.
const SENDING: Sending = Sending::Together { linger_ms: 5, batch_bytes: BATCH_BYTES };
/// Time for everything to be acknowledged.
const LIMIT: Duration = Duration::from_mins(3);
/// The longest sleep of the producer that is woken.
const NEWS_WAIT: Duration = Duration::from_secs(1);
/// Between two looks of those that are not.
const POLL: Duration = Duration::from_millis(1);

/// The producers, as roles of this executable: the own one, and rdkafka's two.
const LENT: &str = "lent";
const THREADED: &str = "threaded";
const POLLED: &str = "polled";

fn main() {
    if let Some(role) = server::role() {
        let (producer, address) = role.split_once(' ').unwrap_or_else(|| panic!("no role {role}"));
        return measure(producer, address);
    }
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    // Java compiles what is used often while it runs; nobody is to pay for that.
    round(&broker, THREADED);
    let producers = [LENT, THREADED, POLLED];
    let mut rounds = producers.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (rounds, producer) in rounds.iter_mut().zip(producers) {
            rounds.push(round(&broker, producer));
        }
    }
    let [lent, threaded, polled] = rounds.map(|rounds| Round::median(&rounds));
    for (producer, Round { rate, cpu_us }) in producers.iter().zip([&lent, &threaded, &polled]) {
        println!("{producer}: {rate:.0} records/s, {cpu_us:.2} us of processor time each");
    }
    let (floor, floor_cpu) = (threaded.rate.max(polled.rate), threaded.cpu_us.min(polled.cpu_us));
    record::keep(&[
        Row { name: "producer_lent", value: lent.rate, unit: "records/s", floor: Some(floor) },
        Row { name: "producer_lent_cpu", value: lent.cpu_us, unit: "us/record", floor: Some(floor_cpu) },
    ]);
}

/// What a round showed.
struct Round {
    rate: f64,
    cpu_us: f64,
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self { rate: of(|round| round.rate), cpu_us: of(|round| round.cpu_us) }
    }
}

/// One round of a producer, in a process of its own, which tells its figures.
fn round(broker: &Broker, producer: &str) -> Round {
    broker.make_anew(&[EVENTS], PARTITIONS);
    let figures = server::ask_once(&format!("{producer} {}", broker.address));
    broker.check_events(PARTITIONS, PARTITIONS, RECORDS);
    Round { rate: figures[0], cpu_us: figures[1] }
}

/// That process: prints the rate, and the processor time a record in microseconds.
fn measure(producer: &str, address: &str) {
    let events = traffic::placed(RECORDS, PARTITIONS);
    let properties = [("queue.buffering.max.messages", IN_FLIGHT_MAX)].into_iter().collect();
    let cluster = Cluster::new("bench", "primary", address, properties);
    match producer {
        LENT => send(Lent::new(&cluster), &events),
        THREADED => send(Plain::<ThreadedProducer<Counter>>::new(&cluster), &events),
        POLLED => send(Plain::<BaseProducer<Counter>>::new(&cluster), &events),
        _ => panic!("no producer {producer}"),
    }
}

/// Sends every event, the first one before the clock runs: by its acknowledgement the producer is connected.
fn send<'e>(mut sender: impl Sender<'e>, events: &'e [Placed]) {
    let (first, others) = events.split_first().expect("events");
    assert!(sender.hand_over(first), "there is room for one");
    settle(&mut sender, 1);
    let (begun, used) = (Instant::now(), machine::own_processor_time());
    for event in others {
        while !sender.hand_over(event) {
            sender.wait();
        }
    }
    settle(&mut sender, events.len() as u64);
    let (elapsed, used) = (begun.elapsed(), machine::own_processor_time().saturating_sub(used));
    let records = others.len() as f64;
    println!("{} {}", records / elapsed.as_secs_f64(), used.as_secs_f64() * 1e6 / records);
}

fn settle<'e>(sender: &mut impl Sender<'e>, records: u64) {
    let begun = Instant::now();
    while sender.acknowledged() < records {
        assert!(begun.elapsed() < LIMIT, "{} of {records} records are acknowledged", sender.acknowledged());
        sender.wait();
    }
}

/// A producer of events that live for `'e`.
trait Sender<'e> {
    /// Hands one over; false where there is no room.
    fn hand_over(&mut self, event: &'e Placed) -> bool;

    /// Waits for acknowledgements, a moment.
    fn wait(&mut self);

    /// How many records were acknowledged.
    fn acknowledged(&self) -> u64;
}

/// The own producer.
struct Lent {
    producer: ::kafka::Producer,
    topic: CString,
    headers: [CString; 2],
    reports: Vec<Report>,
    acknowledged: u64,
}

impl Lent {
    fn new(cluster: &Cluster) -> Self {
        let name = |text| CString::new(text).expect("a name without NUL");
        Self {
            producer: ::kafka::Producer::new(cluster, SENDING).expect("a producer"),
            topic: name(EVENTS),
            headers: [SOURCE_HEADER, RECEIVED_AT_HEADER].map(name),
            reports: Vec::new(),
            acknowledged: 0,
        }
    }
}

impl<'e> Sender<'e> for Lent {
    #[expect(unsafe_code, reason = "lending the value is what is measured")]
    fn hand_over(&mut self, (event, partition): &'e Placed) -> bool {
        let received = event.received_at_ms.to_string();
        let [source, received_at] = &self.headers;
        let headers = [(&**source, event.source.as_bytes()), (&**received_at, received.as_bytes())];
        let record = Record {
            topic: &self.topic,
            partition: Some(*partition),
            key: Some(event.key.as_bytes()),
            value: &event.value,
            headers: Headers::These(&headers),
        };
        // SAFETY: `send` borrows the events for longer than it has this sender, and nobody changes them.
        match unsafe { self.producer.produce(&record, 0) } {
            Ok(()) => true,
            Err(Code::QueueFull) => false,
            Err(code) => panic!("{code}"),
        }
    }

    fn wait(&mut self) {
        self.producer.serve(NEWS_WAIT, &mut self.reports);
        for report in self.reports.drain(..) {
            report.result.expect("the record is acknowledged");
            self.acknowledged += 1;
        }
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}

/// One of rdkafka's producers.
struct Plain<P> {
    producer: P,
    acknowledged: Arc<AtomicU64>,
}

impl<P: FromClientConfigAndContext<Counter>> Plain<P> {
    fn new(cluster: &Cluster) -> Self {
        let acknowledged = Arc::default();
        let producer = P::from_config_and_context(&cluster.sending(SENDING), Counter(Arc::clone(&acknowledged)));
        Self { producer: producer.expect("a producer"), acknowledged }
    }
}

impl<'e> Sender<'e> for Plain<ThreadedProducer<Counter>> {
    fn hand_over(&mut self, (event, partition): &'e Placed) -> bool {
        is_taken(self.producer.send(record_of(EVENTS, *partition, event)))
    }

    fn wait(&mut self) {
        thread::sleep(POLL);
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }
}

impl<'e> Sender<'e> for Plain<BaseProducer<Counter>> {
    fn hand_over(&mut self, (event, partition): &'e Placed) -> bool {
        is_taken(self.producer.send(record_of(EVENTS, *partition, event)))
    }

    fn wait(&mut self) {
        self.producer.poll(POLL);
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }
}

/// Whether there was room for a record.
fn is_taken(result: Result<(), (KafkaError, BaseRecord<'_, str, [u8]>)>) -> bool {
    match result {
        Ok(()) => true,
        Err((KafkaError::MessageProduction(Code::QueueFull), _)) => false,
        Err((error, _)) => panic!("{error}"),
    }
}

/// Counts acknowledgements.
struct Counter(Arc<AtomicU64>);

impl ClientContext for Counter {}

impl ProducerContext for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().map_err(|(error, _)| error).expect("the record is acknowledged");
        self.0.fetch_add(1, Relaxed);
    }
}
