//! Goal: clients that hold on to the server and give it nothing take neither memory nor a place from an honest one.
//! Fault: 12,000 idle connections, 1,000 heads that do not end, 500 bodies that come slowly, from many addresses and with
//! many keys, together with a load that leaves the machine little.
//! Oracle: resident memory, the honest client's answers, the connections that the server says it closed and why,
//! `loadtest verify`. In the long form also the honest client's p99 beside that of a calm server under the same load.

use std::thread;
use std::time::Duration;

use tests::crowd::{Crowd, Size};
use tests::load::{self, Answers, Load};
use tests::{Scene, Turnstile, chaos};

const CROWD: Size = Size { idle: 12_000, heads: 1_000, bodies: 500 };
const BYTES_MAX: u64 = 1 << 30;
/// Of the honest client.
const EVENTS_PER_SECOND: u32 = 500;
/// Of the load beside it.
const FULL_EVENTS_PER_SECOND: u32 = 10_000;
/// What a crowd may do to the honest client's p99.
const P99_TIMES_MAX: f64 = 2.0;
const SAMPLE: Duration = Duration::from_millis(200);

#[test]
fn a_crowd_that_holds_on_takes_nothing_from_an_honest_client() {
    let scene = Scene::begin();
    // So that heads end within the short form.
    let mut server = Turnstile::new(&scene).set("TURNSTILE_LIMITS_HEADER_READ_TIMEOUT_MS", 2_000);
    server.start();
    let duration = Duration::from_secs(if chaos() { 60 } else { 6 });
    let honest = |n| Load::new(&scene, n, EVENTS_PER_SECOND, duration).option("--connections", 16);

    let mut loads = vec![honest(0), full(&scene, 1, duration)];
    let calm = together(&loads, &mut server);
    let crowd = Crowd::gather(server.ingest, CROWD.as_files_allow());
    loads.extend([honest(2), full(&scene, 3, duration)]);
    let crowded = together(&loads[2..], &mut server);
    let tally = crowd.disperse();

    scene.say(format_args!("calm:    {} and {} MiB", calm.0, calm.1 >> 20));
    scene.say(format_args!("crowded: {} and {} MiB, {tally:?}", crowded.0, crowded.1 >> 20));
    assert!(crowded.1 < BYTES_MAX, "{} MiB", crowded.1 >> 20);
    assert_eq!((calm.0.bad, crowded.0.bad), (0, 0), "an honest client was refused");
    assert_eq!(tally.idle_closed, 0, "there was room for all");
    let ended = |status| tally.ended.get(&status).copied().unwrap_or_default();
    let metrics = server.metrics().expect("the admin port answers");
    let closed = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        // What has not happened yet is not there.
        metrics.sum_where("tapi_connections_closed_total", &label).unwrap_or_default() as u64
    };
    // What the crowd has seen of it; the server may have closed more since.
    assert!(ended(503) > 0 && closed("head_timeout") >= ended(503), "{tally:?}");
    assert!(closed("relieved") + closed("refused") >= ended(429), "{tally:?}");
    for reason in ["evicted", "address", "silent", "idle", "panicked"] {
        assert_eq!(closed(reason), 0, "{reason}");
    }
    load::verify(&scene, &server, &loads, 0.0);
    if chaos() {
        let times = crowded.0.p99_ms / calm.0.p99_ms;
        assert!(times <= P99_TIMES_MAX, "{times:.2}");
    }
}

/// What leaves the machine little.
fn full(scene: &Scene, n: u64, duration: Duration) -> Load {
    Load::new(scene, n, FULL_EVENTS_PER_SECOND, duration)
        .option("--connections", 64)
        .option("--events-per-request", 10)
        .option("--write-key", "full")
        .option("--duplicates", 0)
}

/// Runs an honest client and a load beside each other; gives the honest one's answers and the most memory there was.
fn together(loads: &[Load], server: &mut Turnstile) -> (Answers, u64) {
    let mut clients: Vec<_> = loads.iter().map(|load| load.start(server)).collect();
    let mut bytes_max = 0;
    while clients.iter_mut().any(|client| client.ended().is_none()) {
        bytes_max = bytes_max.max(server.memory_bytes("VmRSS"));
        thread::sleep(SAMPLE);
    }
    for client in &mut clients {
        client.succeed(Duration::ZERO);
    }
    (loads[0].answers(), bytes_max)
}
