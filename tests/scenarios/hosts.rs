//! Goal: a host that dies, or does not know what day it is, loses and doubles nothing.
//! Fault: `kill -9` of `tapi` at random moments under load, also during its start; one host's clock three days ahead and
//! another's forty days behind, and clients that move from host to host.
//! Oracle: `loadtest verify` over `events.deduped`, its clients retrying with the same ids; the times in the output.

use std::thread;
use std::time::Duration;

use rand::Rng as _;
use tests::load::Load;
use tests::{Output, Pipeline, Scene, Tapi, chaos, clock, topic};
use wire::topic::EVENTS_DEDUPED;

/// Events a second.
const RATE: u32 = 5_000;
/// Load of one round; the kills fall into it.
const ROUND: Duration = Duration::from_millis(1_500);
/// A start takes about this long; one in three is killed within it.
const START: Duration = Duration::from_millis(300);
/// Outlasts every outage that a round makes.
const RETRY: Duration = Duration::from_mins(1);
/// Longest wait for a load.
const LIMIT: Duration = Duration::from_mins(3);
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[test]
fn kills_of_tapi_at_random_moments_lose_nothing_and_double_nothing() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::new(&scene, Output::Primary);
    // Small files, so that rolling and recycling fall under the kills too.
    pipeline.tapi.configure("TAPI_BUFFER_SEGMENT_BYTES", 1 << 20);
    pipeline.begin(&scene, 2);
    let mut rng = scene.rng();
    let (mut loads, mut retries, mut kills_in_start) = (Vec::new(), 0, 0);
    let rounds = if chaos() { 20 } else { 3 };
    for round in 0..rounds {
        let load = Load::new(&scene, round, RATE, ROUND)
            .option("--shape", "mixed")
            .option("--connections", 32)
            .option("--duplicates", 0.02)
            .retrying(RETRY);
        let mut client = load.start_at(pipeline.tapi.ingest);
        // The fault is a random instant: time itself is waited for.
        thread::sleep(rng.random_range(Duration::ZERO..ROUND));
        pipeline.tapi.kill();
        while rng.random_ratio(1, 3) {
            pipeline.tapi.launch();
            thread::sleep(rng.random_range(Duration::ZERO..START));
            pipeline.tapi.kill();
            kills_in_start += 1;
        }
        pipeline.tapi.start();
        client.succeed(RETRY * 2);
        retries += load.report()["requests"]["retries"].as_u64().expect("a count of retries");
        loads.push(load);
    }
    assert!(retries > 0, "no client noticed any of the kills");
    let verdict = pipeline.verify(&scene, &loads);
    let dropped = pipeline.counted("dedup_duplicate_events_total");
    scene.say(format_args!(
        "{rounds} kills under load, {kills_in_start} more during a start, {retries} retries, {dropped} repeats dropped: {verdict}"
    ));
    pipeline.stop();
}

#[test]
fn hosts_whose_clocks_are_days_off_lose_nothing_and_double_nothing() {
    let scene = Scene::begin();
    let pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let shim = clock::shim(&scene);
    let host = |name: &str, days: i64| {
        let mut host = Tapi::named(&scene, &pipeline.kafka, name)
            .set("LD_PRELOAD", shim.display())
            .set("CLOCK_SHIFT_SECONDS", days * DAY_MS / 1000);
        host.start();
        host
    };
    let (mut ahead, mut behind) = (host("ahead", 3), host("behind", -40));
    let load = |n| {
        Load::new(&scene, n, RATE, Duration::from_secs(if chaos() { 20 } else { 2 }))
            .option("--connections", 16)
            .option("--events-per-request", 10)
            .option("--duplicates", 0.05)
    };
    let hosts = [&pipeline.tapi, &ahead, &behind];
    let mut loads: Vec<Load> = (0..3).map(load).collect();
    let mut clients: Vec<_> = loads.iter().zip(hosts).map(|(load, host)| load.start_at(host.ingest)).collect();
    for client in &mut clients {
        client.succeed(LIMIT);
    }
    // Each host's events once more, through the next one.
    let again: Vec<Load> =
        loads.iter().enumerate().map(|(place, load)| load.again(&format!("again-{place}"))).collect();
    for (place, load) in again.iter().enumerate() {
        load.start_at(hosts[(place + 1) % hosts.len()].ingest).succeed(LIMIT);
    }
    loads.extend(again);
    for host in hosts {
        host.drained();
    }
    let verdict = pipeline.verify_hosts(&scene, &hosts, &loads, 0.0);

    // It is true that the clocks were off: the output says what each host believed.
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let mut days = [0_u64; 3];
    topic::read(pipeline.output(), EVENTS_DEDUPED, |_, _, value| {
        let event: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let received: jiff::Timestamp =
            event["receivedAt"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        let place = match (received.as_millisecond() - now_ms) as f64 / DAY_MS as f64 {
            2.9..=3.0 => 1,
            -40.1..=-40.0 => 2,
            off => {
                assert!(off.abs() < 0.1, "received {off} days from now");
                0
            }
        };
        days[place] += 1;
    });
    let [now, three_ahead, forty_behind] = days;
    scene.say(format_args!(
        "{now} events of today, {three_ahead} of a host three days ahead, {forty_behind} of one forty days behind: {verdict}"
    ));
    assert!(days.iter().all(|events| *events > 0), "{days:?}");
    assert!(ahead.stop().success() && behind.stop().success());
    pipeline.stop();
}
