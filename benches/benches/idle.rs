//! Rows `worker_idle_256_…`: what one `dedup-worker run` costs with 8 lanes and 256 partitions of input and output while
//! nothing comes in, beside the same with 8 partitions: threads, descriptors, memory, processor time of the worker and of its
//! broker. What a worker costs is to go by its lanes. Row `status_256_s`: how long `dedup-worker status` takes beside it.
//!
//! Rows `worker_1000_256_cpu` and `worker_1000_256_broker_cpu`: the processor time of an event, the worker's and the broker's,
//! while 1,000 new events a second come in, beside the same with 8 partitions. What the two cost while nothing comes in is part
//! of it, and the broker's is for taking the events in, too.
//!
//! Row `worker_backlog_256_mb`: the most memory that the worker takes while a backlog waits in 256 partitions and nothing can be
//! written, because the broker of output and changelog stands still; beside what it took before. The backlog lies in the
//! secondary then, a broker of its own; when the other one goes on, every event comes out. Its name as an argument runs it
//! alone.
//!
//! Else there is one real broker, and the worker's secondary is left out. Processor time is taken over twenty seconds, from ten seconds after
//! the last lane began to run.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program, wait_until};
use benches::record::{self, Row, median};
use benches::{machine, traffic};
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANES: u32 = 8;
const LIMIT: Duration = Duration::from_mins(2);
/// Until everything that a start brings is over.
const SETTLE: Duration = Duration::from_secs(10);
/// What is looked at.
const OBSERVED: Duration = Duration::from_secs(20);
/// Events a second, and how many there are.
const RATE: u64 = 1_000;
const EVENTS_SENT: u64 = 20 * RATE;
const BACKLOG_ROW: &str = "worker_backlog_256_mb";
/// Events of the backlog: many times what anybody should have in memory.
const BACKLOG: u64 = 500_000;
/// Memory that does not grow for so long has grown as far as it does.
const GROWN: Duration = Duration::from_secs(5);
/// Times that the status is asked for.
const STATUSES: usize = 5;

/// What a worker costs.
struct Cost {
    threads: f64,
    descriptors: f64,
    resident_mb: f64,
    /// Of one core.
    percent: f64,
    broker_percent: f64,
    status_s: f64,
    /// Of an event, at [`RATE`].
    event_us: f64,
    broker_event_us: f64,
}

fn main() {
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    if std::env::args().any(|word| word == BACKLOG_ROW) {
        record::keep(&[backlog(&broker, 256)]);
        return;
    }
    let [few, many] = [8, 256].map(|partitions| measure(&broker, partitions));
    let row = |name, of: fn(&Cost) -> f64, unit| Row { name, value: of(&many), unit, floor: Some(of(&few)) };
    record::keep(&[
        row("worker_idle_256_threads", |cost| cost.threads, "threads"),
        row("worker_idle_256_descriptors", |cost| cost.descriptors, "descriptors"),
        row("worker_idle_256_mb", |cost| cost.resident_mb, "MB"),
        row("worker_idle_256_cpu", |cost| cost.percent, "% of a core"),
        row("worker_idle_256_broker_cpu", |cost| cost.broker_percent, "% of a core"),
        row("worker_1000_256_cpu", |cost| cost.event_us, "us/event"),
        row("worker_1000_256_broker_cpu", |cost| cost.broker_event_us, "us/event"),
        row("status_256_s", |cost| cost.status_s, "s"),
        backlog(&broker, 256),
    ]);
}

/// What a worker needs to run.
fn command(word: &str, data: &Path, primary: &Broker, secondary: &str) -> Command {
    let mut command = program::command("dedup-worker");
    command
        .arg(word)
        .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
        .env("DEDUP_DATA", data)
        .env("DEDUP_KAFKA_PRIMARY", &primary.address)
        .env("DEDUP_KAFKA_SECONDARY", secondary);
    command
}

fn start(folder: &Path, primary: &Broker, secondary: &str) -> Program {
    let command = command("run", &folder.join("data"), primary, secondary);
    let worker = Program::start(command, &folder.join("worker.log"));
    wait_until("every lane runs", LIMIT, || worker.metric("dedup_lanes_running") == u64::from(LANES));
    worker
}

/// Memory beside a backlog that nobody takes.
fn backlog(broker: &Broker, partitions: u32) -> Row {
    let second = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    second.make_anew(&[EVENTS], partitions);
    broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED], partitions);
    broker.make_anew(&[EVENTS_INDEX], LANES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let worker = start(folder.path(), broker, &second.address);
    thread::sleep(SETTLE);
    let before = machine::memory_bytes(worker.id()) as f64;
    broker.freeze();
    let producer: Sender = second.client().set("compression.type", "lz4").create().expect("a producer");
    for number in 0..BACKLOG {
        let event = traffic::event(number);
        kafka::send(&producer, kafka::record_of(EVENTS, traffic::partition(&event, partitions), &event));
    }
    kafka::settle(&producer);
    let (mut peak, mut since) = (0, Instant::now());
    while since.elapsed() < GROWN {
        let now = machine::peak_memory_bytes(worker.id());
        if now > peak {
            (peak, since) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(100));
    }
    broker.thaw();
    wait_until("every event is out", LIMIT, || worker.metric("dedup_published_events_total") == BACKLOG);
    println!("beside a backlog that nobody takes: {:.0} MB, {:.0} before", peak as f64 / 1e6, before / 1e6);
    Row { name: BACKLOG_ROW, value: peak as f64 / 1e6, unit: "MB", floor: Some(before / 1e6) }
}

fn measure(broker: &Broker, partitions: u32) -> Cost {
    broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED], partitions);
    broker.make_anew(&[EVENTS_INDEX], LANES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let worker = start(folder.path(), broker, "");
    thread::sleep(SETTLE);
    let (begun, before) = (Instant::now(), [worker.processor_time(), broker.processor_time()]);
    thread::sleep(OBSERVED);
    let elapsed = begun.elapsed();
    let used = [worker.processor_time().saturating_sub(before[0]), broker.processor_time().saturating_sub(before[1])];
    let [percent, broker_percent] = used.map(|used| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0);
    let resident_mb = machine::memory_bytes(worker.id()) as f64 / 1e6;
    let (threads, descriptors) = (machine::threads(worker.id()), machine::descriptors(worker.id()));
    let [event_us, broker_event_us] = events(broker, &worker, partitions);
    let cost = Cost {
        threads: threads as f64,
        descriptors: descriptors as f64,
        resident_mb,
        percent,
        broker_percent,
        status_s: median(
            [(); STATUSES].map(|()| status(command("status", &folder.path().join("data"), broker, ""))).to_vec(),
        ),
        event_us,
        broker_event_us,
    };
    assert_eq!(worker.metric("dedup_lanes_running"), u64::from(LANES), "{}", worker.log());
    let Cost { resident_mb, percent, broker_percent, status_s, .. } = &cost;
    println!(
        "{partitions} partitions: {threads} threads, {descriptors} descriptors, {resident_mb:.0} MB, {percent:.1} % of a core, \
         the broker {broker_percent:.1} %, status in {status_s:.2} s; at {RATE} events/s an event costs {event_us:.0} us, the \
         broker {broker_event_us:.0} us"
    );
    cost
}

/// Microseconds of processor time that an event costs the worker and its broker while so many come in a second.
fn events(broker: &Broker, worker: &Program, partitions: u32) -> [f64; 2] {
    let producer: Sender = broker.client().set("compression.type", "lz4").create().expect("a producer");
    let used = || [worker.processor_time(), broker.processor_time()];
    let (begun, before) = (Instant::now(), used());
    for number in 0..EVENTS_SENT {
        let due = begun + Duration::from_secs(number) / RATE as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let event = traffic::event(number);
        kafka::send(&producer, kafka::record_of(EVENTS, traffic::partition(&event, partitions), &event));
    }
    wait_until("every event is out", LIMIT, || worker.metric("dedup_published_events_total") == EVENTS_SENT);
    let now = used();
    [0, 1].map(|of| now[of].saturating_sub(before[of]).as_secs_f64() * 1e6 / EVENTS_SENT as f64)
}

/// Seconds of one `status`.
fn status(mut command: Command) -> f64 {
    let begun = Instant::now();
    let output = command.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    let lanes = said.lines().filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit())).count();
    assert!(output.status.success() && lanes == LANES as usize, "{said}");
    begun.elapsed().as_secs_f64()
}
