//! Goal: no outage of a cluster, and no order of them, loses or doubles an event.
//! Fault: each broker killed with -9 under load and started again; the secondary dead when the primary fails, and `tapi`
//! killed too; both clusters dead for long.
//! Oracle: `loadtest verify` over `events.deduped`; the buffer's backlog, which grows and drains.

use std::time::{Duration, Instant};

use tests::load::Load;
use tests::{Output, Pipeline, Scene, chaos, http, wait};

/// Events a second.
const RATE: u32 = 4_000;
/// Longest wait for a load, and for records to flow.
const LIMIT: Duration = Duration::from_mins(3);
const BACKLOG: &str = "local_buffer_backlog_records";

fn load(scene: &Scene, n: u64, seconds: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(seconds))
        .option("--connections", 32)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
        .option("--duplicates", 0.02)
}

#[test]
fn either_broker_killed_and_started_again_under_load_loses_and_doubles_nothing() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let mut loads = Vec::new();
    for round in 0..if chaos() { 5 } else { 1 } {
        for (place, name) in ["primary", "secondary"].into_iter().enumerate() {
            let load = load(&scene, round * 2 + place as u64, 3);
            let mut client = load.start_at(pipeline.tapi.ingest);
            pipeline.acknowledges("", pipeline.acknowledged("") + f64::from(RATE));
            let begun = Instant::now();
            let cluster = match name {
                "primary" => &mut pipeline.kafka.primary,
                _ => &mut pipeline.kafka.secondary,
            };
            cluster.kill();
            cluster.start();
            scene.say(format_args!("the {name} answers {:?} after its kill", begun.elapsed()));
            client.succeed(LIMIT);
            assert_eq!(load.answers().bad, 0, "requests that were not acknowledged at once");
            loads.push(load);
        }
    }
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));
    pipeline.stop();
}

#[test]
fn a_secondary_that_is_down_while_the_primary_fails_holds_nothing_up_for_good() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let first = load(&scene, 0, 6);
    let mut client = first.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    pipeline.kafka.secondary.kill();
    pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(RATE) / 2.0);
    pipeline.kafka.primary.freeze();
    wait::until("a backlog", LIMIT, || (pipeline.tapi.figure(BACKLOG, "") > f64::from(RATE)).then_some(()));
    assert_eq!(
        http::get(pipeline.tapi.admin, "/readyz").expect("an answer").status,
        200,
        "the buffer is there for that"
    );
    client.succeed(LIMIT);
    assert_eq!(first.answers().bad, 0, "requests that were not acknowledged at once");
    // It starts with one dead and one frozen cluster, and takes requests.
    pipeline.tapi.kill();
    pipeline.tapi.start();
    let second = load(&scene, 1, 1);
    second.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.kafka.primary.thaw();
    let begun = Instant::now();
    pipeline.acknowledges("primary", 0.0);
    scene.say(format_args!("records flow {:?} after the primary thaws", begun.elapsed()));
    pipeline.tapi.drained();
    pipeline.kafka.secondary.start();
    let verdict = pipeline.verify(&scene, &[first, second]);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));
    pipeline.stop();
}

#[test]
fn with_both_clusters_down_the_buffer_grows_and_drains_when_one_is_back() {
    let scene = Scene::begin();
    // Half a minute in the long form: what it brings has to lie in the buffer.
    let down_s = if chaos() { 30 } else { 3 };
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let load = load(&scene, 0, down_s + 4);
    let mut client = load.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("", f64::from(RATE));
    pipeline.kafka.both(tests::Cluster::kill);
    let backlog = f64::from(RATE) * down_s as f64;
    wait::until("a backlog", LIMIT, || (pipeline.tapi.figure(BACKLOG, "") >= backlog).then_some(()));
    assert_eq!(
        http::get(pipeline.tapi.admin, "/readyz").expect("an answer").status,
        200,
        "the buffer is there for that"
    );
    let secondary = pipeline.acknowledged("secondary");
    // The primary was left for the secondary, which was dead too; the one that was left last is back first.
    pipeline.kafka.secondary.start();
    let begun = Instant::now();
    pipeline.acknowledges("secondary", secondary);
    let flow = begun.elapsed();
    client.succeed(LIMIT);
    let (begun, waiting) = (Instant::now(), pipeline.tapi.figure(BACKLOG, ""));
    pipeline.tapi.drained();
    let rate = waiting / begun.elapsed().as_secs_f64();
    scene.say(format_args!(
        "{backlog:.0} records waited, flow {flow:?} after one cluster answers, the last {waiting:.0} drain at {rate:.0}/s"
    ));
    assert_eq!(load.answers().bad, 0, "requests that were not acknowledged at once");
    // Output and changelog come back last.
    pipeline.kafka.primary.start();
    let verdict = pipeline.verify(&scene, &[load]);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));
    pipeline.stop();
}
