//! Rows `latency_1_p50_ms`, `latency_1_p99_ms`, `latency_100_…`, `latency_1000_…`: the way of an event from the first byte of
//! its request to `tapi` until a reader of `events.deduped` under `read_committed` has it, at 1, 100 and 1,000 events a
//! second.
//!
//! One real broker for everything, 8 lanes, 64 partitions; tapi and one worker with their defaults, but without a secondary.
//! One event a request, over connections that stay. The figures are medians of five runs; beside each stands its floor: the
//! same events handed to a producer and read by a consumer, without transactions, tapi or worker.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program, wait_until};
use benches::record::{self, Row, median};
use rdkafka::Message as _;
use rdkafka::producer::BaseRecord;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANES: u32 = 8;
const PARTITIONS: u32 = 64;
const FLOOR: &str = "floor";
const RUNS: usize = 5;
/// Connections that share a rate, where it is enough for them.
const CONNECTIONS: u64 = 8;
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(1);

/// Events a second, how many there are of a run, and the rows of the two figures.
const RATES: [(u64, u64, [&str; 2]); 3] = [
    (1, 12, ["latency_1_p50_ms", "latency_1_p99_ms"]),
    (100, 500, ["latency_100_p50_ms", "latency_100_p99_ms"]),
    (1_000, 5_000, ["latency_1000_p50_ms", "latency_1000_p99_ms"]),
];

/// When each event was sent, by its messageId.
type Sent = Mutex<HashMap<String, Instant>>;

fn main() {
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED, FLOOR], PARTITIONS);
    broker.make_anew(&[EVENTS_INDEX], LANES);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let mut worker = program::command("dedup-worker");
    worker
        .arg("run")
        .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
        .env("DEDUP_DATA", folder.path().join("dedup"))
        .env("DEDUP_KAFKA_PRIMARY", &broker.address)
        .env("DEDUP_KAFKA_SECONDARY", "");
    let worker = Program::start(worker, &folder.path().join("worker.log"));
    wait_until("every lane runs", LIMIT, || worker.metric("dedup_lanes_running") == u64::from(LANES));
    let mut tapi = program::command("tapi");
    tapi.arg("run")
        .env("TAPI_LISTEN", "127.0.0.1:0")
        .env("TAPI_ADMIN_LISTEN", "127.0.0.1:0")
        .env("TAPI_DATA", folder.path().join("tapi"))
        .env("TAPI_KAFKA_PRIMARY", &broker.address)
        .env("TAPI_KAFKA_SECONDARY", "");
    let tapi = Program::start(tapi, &folder.path().join("tapi.log"));
    let ingest = tapi.address("ingest");
    let producer: Sender = broker.client().set("linger.ms", "0").create().expect("a producer");

    let post = |prefix: &str, rate, count, sent: &Sent| post_all(ingest, prefix, rate, count, sent);
    let produce = |prefix: &str, rate, count, sent: &Sent| produce_all(&producer, prefix, rate, count, sent);
    // Connections are made, and Java compiles what is used often.
    way(&broker, EVENTS_DEDUPED, |sent| post("warm", 200, 1_000, sent));
    way(&broker, FLOOR, |sent| produce("warm", 200, 1_000, sent));
    let mut rows = Vec::new();
    for (rate, count, names) in RATES {
        let (mut ways, mut floors) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let prefix = format!("{rate}-{run}");
            ways.push(way(&broker, EVENTS_DEDUPED, |sent| post(&prefix, rate, count, sent)));
            floors.push(way(&broker, FLOOR, |sent| produce(&prefix, rate, count, sent)));
        }
        for (name, of) in names.into_iter().zip([0, 1]) {
            let figure = |runs: &[[f64; 2]]| median(runs.iter().map(|run| run[of]).collect());
            let (value, floor) = (figure(&ways), figure(&floors));
            println!("{name}: {value:.1} ms, floor {floor:.1} ms");
            rows.push(Row { name, value, unit: "ms", floor: Some(floor) });
        }
    }
    record::keep(&rows);
}

/// Reads a topic while `send` sends, and gives the median and the 99th percentile of the ways, in milliseconds.
fn way(broker: &Broker, topic: &str, send: impl FnOnce(&Sent) + Send) -> [f64; 2] {
    let sent = Sent::default();
    let consumer = kafka::tail(&broker.address, topic, PARTITIONS);
    let mut ways = thread::scope(|scope| {
        let sending = scope.spawn(|| send(&sent));
        let (mut ways, mut is_sent, begun) = (Vec::new(), false, Instant::now());
        loop {
            assert!(begun.elapsed() < LIMIT, "not everything came out");
            if let Some(Ok(record)) = consumer.poll(POLL) {
                let now = Instant::now();
                let id = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
                if let Some(then) = sent.lock().expect("nobody panicked").remove(&id) {
                    ways.push(now - then);
                }
            }
            is_sent = is_sent || sending.is_finished();
            if is_sent && sent.lock().expect("nobody panicked").is_empty() {
                return ways;
            }
        }
    });
    ways.sort_unstable();
    let at = |share: f64| {
        let place = ((ways.len() as f64 * share) as usize).min(ways.len() - 1);
        ways[place].as_secs_f64() * 1e3
    };
    [at(0.5), at(0.99)]
}

/// Calls `send` for each of so many numbers, each at its time.
fn at_rate(rate: f64, count: u64, mut send: impl FnMut(u64)) {
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        send(number);
    }
}

fn post_all(to: SocketAddr, prefix: &str, rate: u64, count: u64, sent: &Sent) {
    let connections = CONNECTIONS.min(rate);
    thread::scope(|scope| {
        for connection in 0..connections {
            scope.spawn(move || {
                let mut stream = TcpStream::connect(to).expect("tapi listens");
                stream.set_nodelay(true).expect("a socket");
                // The connections take turns.
                thread::sleep(Duration::from_secs_f64(connection as f64 / rate as f64));
                let share = count / connections;
                let each = |number: u64| post(&mut stream, &format!("{prefix}-{connection}-{number}"), sent);
                at_rate(rate as f64 / connections as f64, share, each);
            });
        }
    });
}

/// Posts one event and reads the answer.
fn post(stream: &mut TcpStream, id: &str, sent: &Sent) {
    let body = format!(
        r#"{{"type":"track","userId":"u-1","event":"Order Completed","messageId":"{id}","properties":{{"total":12.5}}}}"#
    );
    let mut request = String::new();
    write!(
        request,
        "POST /v1/track HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YmVuY2g6\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("memory");
    sent.lock().expect("nobody panicked").insert(id.to_owned(), Instant::now());
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = [0; 2_048];
    let length = stream.read(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
}

fn produce_all(producer: &Sender, prefix: &str, rate: u64, count: u64, sent: &Sent) {
    at_rate(rate as f64, count, |number| {
        let id = format!("{prefix}-{number}");
        let partition = (number % u64::from(PARTITIONS)) as i32;
        sent.lock().expect("nobody panicked").insert(id.clone(), Instant::now());
        kafka::send(producer, BaseRecord::to(FLOOR).partition(partition).key(&*id).payload("{}"));
    });
}
