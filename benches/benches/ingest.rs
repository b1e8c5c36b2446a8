//! Rows `ingest_single` and `ingest_single_cpu`: requests a second and processor time a request of the whole ingest path,
//! HTTP to durable answer, beside a bare hyper server that reads the body and answers 200.
//!
//! Each server runs on one core, with every thread it has; the load runs on the other. Single events of 920 bytes, 256
//! connections kept alive. The drain is held back while the clock runs and lets everything go between the rounds, so
//! that, as in a server that has run for a while, the buffer writes over segments it has used before. The two take
//! turns; the figures are medians over the rounds.

use std::net::Ipv4Addr;
use std::time::Duration;

use benches::load::{Client, Seen};
use benches::record::{self, Row};
use benches::server::{self, ServerProcess};
use benches::{bare, machine};
use local_buffer::{Batch, Reader};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 256;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(6);
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

fn main() {
    match server::role().as_deref() {
        Some("bare") => floor(),
        Some("tapi") => tapi(),
        Some(other) => panic!("no role {other}"),
        None => compare(),
    }
}

fn compare() {
    machine::pin(LOAD_CORE);
    let (mut bare, mut tapi) = (ServerProcess::start("bare"), ServerProcess::start("tapi"));
    let mut bare_client = Client::connect(bare.address, CONNECTIONS, 0);
    let mut tapi_client = Client::connect(tapi.address, CONNECTIONS, 0);
    bare_client.run(Duration::from_secs(1));
    tapi_client.run(WARM_UP);
    tapi.ask("drain");
    let (mut bare_rounds, mut tapi_rounds) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare_rounds.push(round(&mut bare, &mut bare_client));
        tapi_rounds.push(round(&mut tapi, &mut tapi_client));
        // Every event that was answered is there, and the space is free for the next round.
        let drained: u64 = tapi.ask("drain").parse().expect("a count");
        assert_eq!(drained, tapi_client.next_number(), "records in the buffer and answers are as many");
    }
    let (bare, tapi) = (Median::of(&bare_rounds), Median::of(&tapi_rounds));
    println!("bare hyper: {bare}\ntapi:       {tapi}");
    record::keep(&[
        Row { name: "ingest_single", value: tapi.rate, unit: "requests/s", floor: Some(bare.rate) },
        Row { name: "ingest_single_cpu", value: tapi.cpu_us, unit: "us/request", floor: Some(bare.cpu_us) },
    ]);
}

fn round(server: &mut ServerProcess, client: &mut Client) -> (Seen, f64) {
    let before = machine::processor_time(server.id());
    let seen = client.run(ROUND);
    let used = machine::processor_time(server.id()).saturating_sub(before);
    let cpu_us = used.as_secs_f64() * 1e6 / seen.requests as f64;
    (seen, cpu_us)
}

struct Median {
    rate: f64,
    cpu_us: f64,
    p50: Duration,
    p99: Duration,
}

impl Median {
    fn of(rounds: &[(Seen, f64)]) -> Self {
        let median = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let percentile = |share| median(rounds.iter().map(|(seen, _)| seen.percentile(share).as_secs_f64()).collect());
        Self {
            rate: median(rounds.iter().map(|(seen, _)| seen.rate()).collect()),
            cpu_us: median(rounds.iter().map(|(_, cpu_us)| *cpu_us).collect()),
            p50: Duration::from_secs_f64(percentile(0.50)),
            p99: Duration::from_secs_f64(percentile(0.99)),
        }
    }
}

impl std::fmt::Display for Median {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rate, cpu_us, p50, p99 } = self;
        write!(out, "{rate:.0} requests/s, {cpu_us:.2} us of processor time each, p50 {p50:.1?}, p99 {p99:.1?}")
    }
}

/// The floor.
fn floor() {
    machine::pin(SERVER_CORE);
    server::serve_lines(bare::start(), |_| String::new());
}

/// The whole ingest path with one server thread, and a drain that works only when told.
fn tapi() {
    machine::pin(SERVER_CORE);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let config = ingest::Config::default();
    let (mut queue, _) = config.buffer.open(folder.path()).expect("a new buffer");
    let mut reader = queue.take_reader().expect("the only reader");
    let metrics = ingest::Metrics::new(queue.monitor());
    let (address, listeners) = ingest::listen((Ipv4Addr::LOCALHOST, 0).into(), 1).expect("a free port");
    let appender = queue.appender();
    // It serves until this process ends.
    std::thread::spawn(move || {
        let ((_reload, live), stop) =
            (ingest::Live::channel(&config).expect("no certificate"), service::Shutdown::new());
        ingest::serve(listeners, &config.limits, &live, &appender, &metrics, &stop).expect("threads");
    });
    let mut drained = 0;
    server::serve_lines(address, |_| {
        drained += drain(&mut reader);
        drained.to_string()
    });
}

/// Takes everything out of the buffer; how many records that were.
fn drain(reader: &mut Reader) -> u64 {
    let mut batch = Batch::new();
    let mut count = 0;
    while reader.read(&mut batch, 16_384, 8 << 20).expect("the buffer can be read") > 0 {
        count += batch.len() as u64;
        reader.acknowledge(batch.end().expect("it is not empty")).expect("the floor moves");
    }
    reader.sync_floor().expect("the floor is durable");
    count
}
