//! Goal: an outage of the primary loses no acknowledged event, doubles none, and is not felt by those who post.
//! Fault: the primary frozen under load, with the workers' output on the secondary; the primary killed with -9, output
//! and all; an operator who moves the traffic himself.
//! Oracle: the time of the first acknowledgement from the other cluster; the answers that posters get, beside those of
//! the same load without the fault; `loadtest verify` over `events.deduped`.

use std::time::Duration;

use tests::load::{Answers, Load};
use tests::{Output, Pipeline, Scene, chaos, http};

/// From the freeze to the first acknowledgement of the secondary: the stall limit is 1 s.
const FROZEN_MAX: Duration = Duration::from_secs(2);
/// The same from a kill, which connections tell.
const KILLED_MAX: Duration = Duration::from_millis(500);
/// Longest that a load may take beyond its own time.
const LIMIT: Duration = Duration::from_mins(2);

/// Events a second. The bars are those of the long form; the short one leaves time for everything else that a machine
/// does while it tests.
fn rate() -> u32 {
    if chaos() { 20_000 } else { 5_000 }
}

fn load(scene: &Scene, n: u64, short_s: u64, long_s: u64) -> Load {
    Load::new(scene, n, rate(), Duration::from_secs(if chaos() { long_s } else { short_s }))
        .option("--connections", 64)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
}

/// What a fault did to those who post, beside the load before it.
fn judge_answers(normal: Answers, outage: Answers) {
    assert_eq!((normal.bad, outage.bad), (0, 0), "requests that were not acknowledged at once: {normal}; {outage}");
    if chaos() {
        assert_eq!(outage.not_started, 0, "{outage}");
        // Beside a broker that starts, restores its log, or two that take everything twice, on the same two cores.
        assert!(outage.p99_ms <= P99_FACTOR * normal.p99_ms + P99_FLOOR_MS, "felt: {normal}; {outage}");
    }
}

const P99_FACTOR: f64 = 2.0;
const P99_FLOOR_MS: f64 = 5.0;

#[test]
fn a_frozen_primary_is_left_within_two_seconds_and_used_again_when_it_thaws() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Secondary, 2);
    pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
    let normal = load(&scene, 0, 3, 10);
    normal.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    let outage = load(&scene, 1, 7, 20);
    let mut client = outage.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(rate()));

    let before = pipeline.acknowledged("secondary");
    pipeline.kafka.primary.freeze();
    let left = pipeline.acknowledges("secondary", before);
    // The workers go on meanwhile, on the other input.
    pipeline.acknowledges("secondary", before + f64::from(rate()));
    pipeline.kafka.primary.thaw();
    let back = pipeline.acknowledges("primary", pipeline.acknowledged("primary") + 100.0);
    client.succeed(LIMIT);
    let page = http::get(pipeline.tapi.admin, "/").expect("a page").text();
    assert!(page.contains("records go to"), "the status page");

    let (records, answers) = (pipeline.records(), [&normal, &outage].map(Load::answers));
    let verdict = pipeline.verify(&scene, &[normal, outage]);
    scene.say(format_args!(
        "first acknowledgement of the secondary {left:?} after the freeze, of the primary {back:?} after the thaw"
    ));
    scene.say(format_args!("answers before: {}; with the freeze: {}", answers[0], answers[1]));
    scene.say(format_args!("{records} records in both clusters: {verdict}"));
    assert!(!chaos() || left < FROZEN_MAX, "{left:?}");
    judge_answers(answers[0], answers[1]);
    pipeline.stop();
}

#[test]
fn a_killed_primary_is_left_within_half_a_second_and_used_again_when_it_is_back() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
    let normal = load(&scene, 0, 3, 10);
    normal.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    let outage = load(&scene, 1, 8, 30);
    let mut client = outage.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(rate()));

    let before = pipeline.acknowledged("secondary");
    pipeline.kafka.primary.kill();
    let left = pipeline.acknowledges("secondary", before);
    pipeline.kafka.primary.start();
    client.succeed(LIMIT);
    let answers = [&normal, &outage].map(Load::answers);
    // The traffic returns by itself, whether it did so during that load or does in the next one.
    let primary = pipeline.acknowledged("primary");
    let after = load(&scene, 2, 8, 8);
    let mut client = after.start_at(pipeline.tapi.ingest);
    let back = pipeline.acknowledges("primary", primary + 100.0);
    client.succeed(LIMIT);
    let records = pipeline.records();
    let verdict = pipeline.verify(&scene, &[normal, outage, after]);
    scene.say(format_args!(
        "first acknowledgement of the secondary {left:?} after the kill, of the primary {back:?} after the next load"
    ));
    scene.say(format_args!("answers before: {}; with the kill: {}", answers[0], answers[1]));
    scene.say(format_args!("{records} records in both clusters: {verdict}"));
    assert!(!chaos() || left < KILLED_MAX, "{left:?}");
    judge_answers(answers[0], answers[1]);
    pipeline.stop();
}

#[test]
fn an_operators_pin_moves_the_traffic_and_sigterm_drains_it() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 1);
    // Long enough for any pause of a breaker; the stop ends it.
    let load = Load::new(&scene, 0, 5_000, LIMIT)
        .option("--connections", 64)
        .option("--events-per-request", 10)
        .retrying(Duration::ZERO);
    let mut client = load.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", 1000.0);
    let admin = pipeline.tapi.admin;
    let post = |path: &str| http::post(admin, path, "", b"").expect("an answer");
    assert_eq!(post("/kafka/pin?cluster=secondary").status, 200);
    pipeline.acknowledges("secondary", 1000.0);
    let before = pipeline.acknowledged("primary");
    assert_eq!(post("/kafka/release").status, 200);
    pipeline.acknowledges("primary", before + 1000.0);
    assert!(pipeline.tapi.stop().success());
    // It would knock at the closed door for as long as its events last.
    client.kill();
    // What it had acknowledged lies in the clusters now; it starts again only to be asked for its backlog.
    let records = pipeline.records();
    pipeline.tapi.start();
    assert!(pipeline.tapi.figure("local_buffer_backlog_records", "") < 1.0, "SIGTERM drains");
    let verdict = pipeline.verify_hosts(&scene, &[&pipeline.tapi], &[load], 1.0);
    assert_eq!(records, pipeline.records(), "nothing was left to send");
    scene.say(format_args!("{records} records in both clusters: {verdict}"));
    pipeline.stop();
}
