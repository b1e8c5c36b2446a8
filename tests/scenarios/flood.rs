//! Goal: a source that floods the server gets what its limit allows, and no other source notices.
//! Fault: one source sends ten times its limit, one event a request and in batches, and never waits.
//! Oracle: what was acknowledged of it beside its limit times the duration, the other source's answers, `loadtest verify`,
//! which also finds what came out although it was refused. In the long form also the other source's p99 beside that of a
//! server without a flood.

use std::time::Duration;

use tests::load::{self, Load};
use tests::{Scene, Turnstile, chaos};

/// The limit of the source that floods, and the burst on top.
const LIMIT_EVENTS_PER_SECOND: u32 = 1_000;
const BURST_EVENTS: u32 = 1_000;
const TIMES: u32 = 10;
/// Of the other source.
const EVENTS_PER_SECOND: u32 = 500;
/// How far from the limit what is admitted may be.
const OFF_MAX: f64 = 0.02;
/// What a flood may do to the other source's p99.
const P99_TIMES_MAX: f64 = 1.5;

#[test]
fn a_source_that_floods_gets_its_limit_and_no_other_notices() {
    flood(1, Duration::from_secs(if chaos() { 300 } else { 6 }));
}

#[test]
fn a_source_that_floods_with_batches_gets_its_limit_and_no_other_notices() {
    flood(20, Duration::from_secs(if chaos() { 60 } else { 6 }));
}

fn flood(events_per_request: u32, duration: Duration) {
    let scene = Scene::begin();
    let tier = format!(
        "[{{id = \"small\", events_per_second = {LIMIT_EVENTS_PER_SECOND}, burst_events = {BURST_EVENTS}, mode = \"enforce\"}}]"
    );
    let sources = r#"[{id = "flood", write_keys = ["flood"], tier = "small"}, {id = "other", write_keys = ["other"]}]"#;
    let mut server = Turnstile::new(&scene).set("TURNSTILE_TIERS", tier).set("TURNSTILE_SOURCES", sources);
    server.start();
    let other = |n, duration| {
        let load = Load::new(&scene, n, EVENTS_PER_SECOND, duration);
        load.option("--write-key", "other").option("--connections", 16)
    };
    let mut loads = Vec::new();
    if chaos() {
        loads.push(other(0, Duration::from_mins(1)));
        loads[0].run(&server);
    }
    let beside = other(1, duration);
    let flood = Load::new(&scene, 2, TIMES * LIMIT_EVENTS_PER_SECOND, duration)
        .option("--write-key", "flood")
        .option("--connections", 64)
        .option("--events-per-request", events_per_request)
        .option("--duplicates", 0)
        .option("--retry-for", 0);
    let mut clients = [flood.start(&server), beside.start(&server)];
    for client in &mut clients {
        client.succeed(duration * 2 + Duration::from_mins(2));
    }
    let report = flood.report();
    let admitted = report["events_acknowledged"].as_f64().expect("a count");
    let allowed = f64::from(LIMIT_EVENTS_PER_SECOND) * duration.as_secs_f64() + f64::from(BURST_EVENTS);
    let (noticed, flooded) = (beside.answers(), flood.answers());
    scene.say(format_args!("flood: {admitted} events admitted of {allowed} allowed; {flooded}"));
    scene.say(format_args!("other: {noticed}"));
    assert_eq!(noticed.bad, 0, "the other source noticed");
    assert!(flooded.bad > 0, "that was no flood");
    assert!((admitted / allowed - 1.0).abs() <= OFF_MAX, "{admitted} admitted of {allowed}");
    let metrics = server.metrics().expect("the admin port answers");
    let counted = metrics.sum_where("tapi_limited_events_total", "source=\"flood\"").expect("a counter");
    assert!((counted - admitted).abs() < 0.5, "the server counts what it admits: {counted}, {admitted}");
    loads.extend([beside, flood]);
    load::verify(&scene, &server, &loads, 0.0);
    if chaos() {
        let calm = loads[0].answers();
        let times = noticed.p99_ms / calm.p99_ms;
        scene.say(format_args!("other, without a flood: {calm}; p99 times {times:.2}"));
        assert!(times <= P99_TIMES_MAX, "{times:.2}");
    }
}
