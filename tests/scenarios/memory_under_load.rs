//! Goal: memory has a bound that does not depend on how long the server runs.
//! Fault: none but time: half of what this machine can do, for half a minute (ten minutes under `make chaos`).
//! Oracle: resident memory as the kernel counts it, sampled all the while, less the filters' and the open digests' bytes,
//! which have bounds of their own and are metrics. The short run ends with `loadtest verify`; the long one writes more
//! than a disk should have to hold, so finished output files are taken away as a consumer does, and its lines counted.

use std::time::Duration;
use std::{fs, thread};

use serde_json::Value;
use tests::load::{self, Load};
use tests::{Scene, Turnstile, chaos, output};

const BYTES_MAX: u64 = 300 << 20;
const MEASURE: Duration = Duration::from_secs(4);
const SAMPLE: Duration = Duration::from_millis(200);

#[test]
fn memory_stays_below_300_mib_at_half_of_the_machines_rate() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    server.start();
    let full = shaped(Load::new(&scene, 0, "max", MEASURE));
    let rate = events_per_second(&full.run(&server));
    server.drained();
    let published_before = published(&server);

    let duration = Duration::from_secs(if chaos() { 600 } else { 30 });
    let half = shaped(Load::new(&scene, 1, (rate / 2.0).round(), duration));
    let mut client = half.start(&server);
    let (mut peak, mut peak_excluded, mut samples) = (0, 0, 0);
    while client.ended().is_none() {
        let resident = server.memory_bytes("VmRSS");
        let excluded = excluded_bytes(&server);
        let counted = resident.saturating_sub(excluded);
        if counted > peak {
            (peak, peak_excluded) = (counted, excluded);
        }
        samples += 1;
        if chaos() {
            take_finished_files(&server);
        }
        thread::sleep(SAMPLE);
    }
    client.succeed(Duration::ZERO);
    scene.say(format_args!(
        "max {rate:.0} events/s; at half for {duration:?}: peak {} MiB beside {} MiB of filters and open digests, {samples} samples",
        peak >> 20,
        peak_excluded >> 20
    ));
    assert!(peak < BYTES_MAX, "{} MiB", peak >> 20);
    let achieved = events_per_second(&half.report());
    assert!(achieved > rate * 0.45, "the load fell short: {achieved:.0} events/s of {rate:.0} / 2");
    if chaos() {
        server.drained();
        let acknowledged = half.report()["events_acknowledged"].as_u64().expect("a count");
        assert_eq!(published(&server) - published_before, acknowledged, "acknowledged events and lines of output");
    } else {
        load::verify(&scene, &server, &[full, half], 0.0);
    }
}

fn shaped(load: Load) -> Load {
    load.option("--connections", 64).option("--events-per-request", 10).option("--duplicates", 0)
}

fn events_per_second(report: &Value) -> f64 {
    report["events_per_second"].as_f64().unwrap_or_else(|| panic!("no events_per_second in {report}"))
}

fn excluded_bytes(server: &Turnstile) -> u64 {
    let metrics = server.metrics().expect("the admin port answers");
    let bytes = |name: &str| metrics.sum(name).unwrap_or_else(|| panic!("no metric {name}")) as u64;
    bytes("dedup_filter_bytes") + bytes("dedup_open_digests_bytes")
}

fn published(server: &Turnstile) -> u64 {
    let metrics = server.metrics().expect("the admin port answers");
    metrics.sum("turnstile_published_events_total").expect("a counter") as u64
}

/// Finished files belong to whoever reads them; the newest is still written, and one more may be.
fn take_finished_files(server: &Turnstile) {
    for file in output::files(&server.deduped()).iter().rev().skip(2) {
        fs::remove_file(file).expect("a finished output file");
    }
}
