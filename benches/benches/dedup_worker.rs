//! Rows `dedup_worker` and `dedup_worker_p8`, `_p64`, `_p256`: events a second of one `dedup-worker run` that catches up
//! with a filled input, beside a program that does the same and decides nothing: reads, copies key, headers and value into
//! Kafka transactions of the same size, commits.
//!
//! One real broker, 8 lanes, events of 500 bytes, one in a hundred a repeat; all programs share the machine. The worker's
//! secondary is left out, as for the floor. Each starts with empty topics and is measured from its first commit to its last,
//! by turns, the numbers of partitions too; the figures are medians. After every round each event must be in the output once.
//!
//! In `dedup_worker` there are 8 partitions, and the floor copies each record to the partition that it came from. In the
//! others there are as many as their name says, and the floor keeps the worker's rule: the records of a transaction go to
//! one partition of a lane, another one each time. What 256 partitions cost beside 8 is printed. A row's name as an argument
//! runs that one alone.
//!
//! The floor uses rdkafka as its documentation shows it: threads with a consumer and a transactional producer each, so that
//! one works while another commits. How many threads are best depends on the machine, so several numbers take turns
//! ([`FLOOR_THREADS`]), and the fastest of them is the floor.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program};
use benches::record::{self, Row, median};
use benches::{machine, server, traffic};
use rdkafka::Message as _;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedHeaders;
use rdkafka::producer::{BaseRecord, Producer as _};
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANES: u32 = 8;
const RECORDS: u64 = 2_000_000;
const ROUNDS: usize = 3;
/// Threads of the floor; each has as many lanes as any other.
const FLOOR_THREADS: [u32; 3] = [2, 4, 8];
/// Records of a transaction, the worker's own default.
const BATCH: usize = 20_000;
/// What the floor writes to.
const FLOOR_OUTPUT: &str = "floor";
/// Time for everything to be carried over.
const LIMIT: Duration = Duration::from_mins(3);
const SETTLE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Copy)]
struct Shape {
    row: &'static str,
    cpu_row: &'static str,
    partitions: u32,
    /// Whether the floor's transactions go to one partition each.
    to_one: bool,
}

const SHAPES: [Shape; 4] = [
    Shape { row: "dedup_worker", cpu_row: "dedup_worker_cpu", partitions: 8, to_one: false },
    Shape { row: "dedup_worker_p8", cpu_row: "dedup_worker_p8_cpu", partitions: 8, to_one: true },
    Shape { row: "dedup_worker_p64", cpu_row: "dedup_worker_p64_cpu", partitions: 64, to_one: true },
    Shape { row: "dedup_worker_p256", cpu_row: "dedup_worker_p256_cpu", partitions: 256, to_one: true },
];

fn main() {
    if let Some(role) = server::role() {
        let words: Vec<&str> = role.split(' ').collect();
        let ["floor", address, threads, partitions, to_one] = words[..] else { panic!("no role {role}") };
        let number = |text: &str| text.parse().expect("a number");
        floor(address, number(threads), number(partitions), to_one == "to-one");
        return;
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    let is_meant = |row: &str| named.is_empty() || named.iter().any(|name| name == row);
    let mut all: Vec<_> = SHAPES.into_iter().filter(|shape| is_meant(shape.row)).map(Measured::new).collect();
    for _ in 0..ROUNDS {
        for measured in &mut all {
            measured.round(&broker);
        }
    }
    let rates: Vec<_> = all.iter().map(|measured| (measured.shape.row, measured.keep())).collect();
    let rate = |name: &str| rates.iter().find(|(row, _)| *row == name).map(|(_, rate)| *rate);
    if let (Some(few), Some(many)) = (rate("dedup_worker_p8"), rate("dedup_worker_p256")) {
        println!("256 partitions over 8: {:.3}", many / few);
    }
}

/// The rounds of one shape, the worker's and those of its floor.
struct Measured {
    shape: Shape,
    workers: Vec<Round>,
    floors: [Vec<Round>; FLOOR_THREADS.len()],
}

impl Measured {
    fn new(shape: Shape) -> Self {
        Self { shape, workers: Vec::new(), floors: FLOOR_THREADS.map(|_| Vec::new()) }
    }

    fn round(&mut self, broker: &Broker) {
        broker.make_anew(&[EVENTS], self.shape.partitions);
        let different = fill(broker, self.shape.partitions);
        if self.workers.is_empty() {
            // Java compiles what is used often while it runs; nobody is to pay for that.
            floor_round(broker, self.shape, FLOOR_THREADS[0]);
        }
        self.workers.push(worker_round(broker, self.shape, different));
        for (rounds, threads) in self.floors.iter_mut().zip(FLOOR_THREADS) {
            rounds.push(floor_round(broker, self.shape, threads));
        }
    }

    /// Keeps its rows, and gives its rate.
    fn keep(&self) -> f64 {
        let worker = Round::median(&self.workers);
        let floors: Vec<Round> = self.floors.iter().map(|rounds| Round::median(rounds)).collect();
        println!("{}: {worker}", self.shape.row);
        for (floor, threads) in floors.iter().zip(FLOOR_THREADS) {
            println!("floor with {threads} threads: {floor}");
        }
        let floor = floors.iter().max_by(|one, other| one.rate.total_cmp(&other.rate)).expect("at least one");
        record::keep(&[
            Row { name: self.shape.row, value: worker.rate, unit: "events/s", floor: Some(floor.rate) },
            Row { name: self.shape.cpu_row, value: worker.cpu_us, unit: "us/event", floor: Some(floor.cpu_us) },
        ]);
        worker.rate
    }
}

/// What a round showed.
struct Round {
    rate: f64,
    cpu_us: f64,
    broker_cpu_us: f64,
    /// The most that the worker had in memory; nothing is known of the floor.
    peak_mb: f64,
}

impl Round {
    fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            rate: of(|round| round.rate),
            cpu_us: of(|round| round.cpu_us),
            broker_cpu_us: of(|round| round.broker_cpu_us),
            peak_mb: of(|round| round.peak_mb),
        }
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, cpu_us, broker_cpu_us, peak_mb } = self;
        write!(out, "{rate:.0} events/s, {cpu_us:.2} us of processor time each, the broker's {broker_cpu_us:.2} us")?;
        if *peak_mb > 0.0 { write!(out, ", {peak_mb:.0} MB at most") } else { Ok(()) }
    }
}

/// Fills the input; how many different events there are.
fn fill(broker: &Broker, partitions: u32) -> u64 {
    let producer: Sender =
        broker.client().set("compression.type", "lz4").set("linger.ms", "20").create().expect("a producer");
    let (numbers, different) = traffic::numbers(RECORDS);
    for number in numbers {
        let event = traffic::event(number);
        let partition = traffic::partition(&event, partitions);
        kafka::send(&producer, kafka::record_of(EVENTS, partition, &event));
    }
    kafka::settle(&producer);
    different
}

/// One round of the worker.
fn worker_round(broker: &Broker, shape: Shape, different: u64) -> Round {
    broker.make_anew(&[EVENTS_DEDUPED, EVENTS_REJECTED], shape.partitions);
    broker.make_anew(&[EVENTS_INDEX], LANES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let worker = start(broker, folder.path());
    let done = || worker.metric("dedup_published_events_total") + worker.metric("dedup_duplicate_events_total");
    program::wait_until("the first batch is committed", LIMIT, || done() > 0);
    let (first, begun) = (done(), Instant::now());
    let before = (worker.processor_time(), broker.processor_time());
    program::wait_until("everything is committed", LIMIT, || done() == RECORDS);
    let elapsed = begun.elapsed();
    let used = worker.processor_time().saturating_sub(before.0);
    let broker_used = broker.processor_time().saturating_sub(before.1);
    let peak_mb = machine::peak_memory_bytes(worker.id()) as f64 / 1e6;
    drop(worker);
    let mut seen = vec![false; different as usize];
    let count = broker.read(EVENTS_DEDUPED, shape.partitions, |record| {
        let number = traffic::number(record.key().expect("a key")).expect("an event of this bench");
        assert!(!std::mem::replace(&mut seen[number as usize], true), "event {number} came out twice");
    });
    assert_eq!(count, different, "each event came out");
    let events = (RECORDS - first) as f64;
    let each_us = |time: Duration| time.as_secs_f64() * 1e6 / events;
    Round { rate: events / elapsed.as_secs_f64(), cpu_us: each_us(used), broker_cpu_us: each_us(broker_used), peak_mb }
}

fn start(broker: &Broker, folder: &Path) -> Program {
    let mut command = program::command("dedup-worker");
    command
        .arg("run")
        .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
        .env("DEDUP_DATA", folder.join("data"))
        .env("DEDUP_KAFKA_PRIMARY", &broker.address)
        .env("DEDUP_KAFKA_SECONDARY", "");
    Program::start(command, &folder.join("worker.log"))
}

/// One round of the floor, in a process of its own, which tells its figures.
fn floor_round(broker: &Broker, Shape { partitions, to_one, .. }: Shape, threads: u32) -> Round {
    broker.make_anew(&[FLOOR_OUTPUT], partitions);
    let before = broker.processor_time();
    let rule = if to_one { "to-one" } else { "as-it-came" };
    let figures = server::ask_once(&format!("floor {} {threads} {partitions} {rule}", broker.address));
    let broker_used = broker.processor_time().saturating_sub(before);
    let count = broker.read(FLOOR_OUTPUT, partitions, |_| ());
    assert_eq!(count, RECORDS, "every record was copied");
    let broker_cpu_us = broker_used.as_secs_f64() * 1e6 / RECORDS as f64;
    Round { rate: figures[0], cpu_us: figures[1], broker_cpu_us, peak_mb: 0.0 }
}

/// The floor: prints its rate and its processor time a record.
fn floor(address: &str, threads: u32, partitions: u32, to_one: bool) {
    let spans: Vec<Span> = thread::scope(|scope| {
        // A thread's partitions are those of its lanes.
        let of = |thread: u32| (0..partitions).filter(|p| p % threads == thread).collect::<Vec<_>>();
        let copies: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || copy(address, thread, &of(thread), to_one))).collect();
        copies.into_iter().map(|copy| copy.join().expect("no panic")).collect()
    });
    let begun = spans.iter().map(|span| span.begun).min().expect("at least one thread");
    let ended = spans.iter().map(|span| span.ended).max().expect("at least one thread");
    let cpu = machine::own_processor_time();
    let records: u64 = spans.iter().map(|span| span.records).sum();
    // What the first commits held came before the clock ran.
    let counted = records - spans.iter().map(|span| span.first).min().expect("at least one thread");
    let rate = counted as f64 / (ended - begun).as_secs_f64();
    println!("{rate} {}", cpu.as_secs_f64() * 1e6 / records as f64);
}

/// From the first commit of one thread to its last.
struct Span {
    begun: Instant,
    ended: Instant,
    first: u64,
    records: u64,
}

/// Copies a share of the partitions.
fn copy(address: &str, thread: u32, partitions: &[u32], to_one: bool) -> Span {
    let consumer = kafka::reader(address, EVENTS, partitions.iter().copied(), false);
    let mut turns = partitions.iter().copied().cycle();
    let mut config: ClientConfig = kafka::client(address);
    config
        .set("transactional.id", format!("floor-{thread}"))
        .set("transaction.timeout.ms", "30000")
        .set("message.timeout.ms", "30000")
        .set("compression.type", "lz4")
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "200000");
    let producer: Sender = config.create().expect("a producer");
    producer.init_transactions(SETTLE).expect("a transactional id");
    let (mut ends, mut span) = (0, None::<Span>);
    while ends < partitions.len() {
        producer.begin_transaction().expect("a transaction");
        let to = turns.next().filter(|_| to_one);
        let (count, ended) = copy_batch(&consumer, &producer, to);
        ends += ended;
        commit(&producer);
        let now = Instant::now();
        let span = span.get_or_insert(Span { begun: now, ended: now, first: count, records: 0 });
        span.records += count;
        span.ended = now;
    }
    span.expect("at least one batch")
}

/// Hands one batch over, to one partition or to those that the records came from: how many records, and how many
/// partitions ended.
fn copy_batch(consumer: &BaseConsumer, producer: &Sender, to: Option<u32>) -> (u64, usize) {
    let (mut count, mut ends) = (0, 0);
    while count < BATCH as u64 {
        let record = match consumer.poll(Duration::from_millis(20)) {
            Some(Ok(record)) => record,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                ends += 1;
                continue;
            }
            Some(Err(error)) => panic!("{error}"),
            None => break,
        };
        let (key, value) = (record.key().expect("a key"), record.payload().expect("a value"));
        let headers = record.headers().map(BorrowedHeaders::detach).expect("headers");
        let to = to.map_or(record.partition(), u32::cast_signed);
        let copy = BaseRecord::to(FLOOR_OUTPUT).partition(to).key(key).payload(value).headers(headers);
        producer.send(copy).map_err(|(error, _)| error).expect("there is room for a batch");
        count += 1;
    }
    (count, ends)
}

fn commit(producer: &Sender) {
    kafka::settle(producer);
    // Once, with more time than the transaction lives: asked again, librdkafka may answer for the time before.
    producer.commit_transaction(SETTLE).expect("committed");
}
