//! Rows `worker_idle_256_…`: what one `dedup-worker run` costs with 8 lanes and 256 partitions of input and output while
//! nothing comes in, beside the same with 8 partitions: threads, descriptors, memory, processor time of the worker and of its
//! broker. What a worker costs is to go by its lanes. Row `status_256_s`: how long `dedup-worker status` takes beside it.
//!
//! Rows `worker_1000_256_cpu` and `worker_1000_256_broker_cpu`: the processor time of an event, the worker's and the broker's,
//! while 1,000 new events a second come in, beside the same with 8 partitions. What the two cost while nothing comes in is part
//! of it, and the broker's is for taking the events in, too.
//!
//! One real broker; the worker's secondary is left out. Processor time is taken over twenty seconds, from ten seconds after
//! the last lane began to run.

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
    ]);
}

fn measure(broker: &Broker, partitions: u32) -> Cost {
    broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED], partitions);
    broker.make_anew(&[EVENTS_INDEX], LANES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let command = |word: &str| {
        let mut command = program::command("dedup-worker");
        command
            .arg(word)
            .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("DEDUP_DATA", folder.path().join("data"))
            .env("DEDUP_KAFKA_PRIMARY", &broker.address)
            .env("DEDUP_KAFKA_SECONDARY", "");
        command
    };
    let worker = Program::start(command("run"), &folder.path().join("worker.log"));
    wait_until("every lane runs", LIMIT, || worker.metric("dedup_lanes_running") == u64::from(LANES));
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
        status_s: median([(); STATUSES].map(|()| status(command("status"))).to_vec()),
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
