//! Goal: workers come, go, die and sleep, and each event still comes out once.
//! Fault: workers added, stopped and killed with -9 under load; one frozen until another has taken its lanes, then
//! thawed; an index deleted while its worker is away.
//! Oracle: `loadtest verify` over `events.deduped`, with the same events sent again where memory was lost.

use std::fs;
use std::time::Duration;

use tests::load::Load;
use tests::{Output, Pipeline, Scene, chaos};

/// Events a second.
const RATE: u32 = 4_000;
/// Longest wait for a load.
const LIMIT: Duration = Duration::from_mins(3);

fn load(scene: &Scene, n: u64, seconds: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(seconds))
        .option("--connections", 32)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
        .option("--duplicates", 0.1)
}

#[test]
fn workers_added_removed_and_killed_under_load_lose_and_double_nothing() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 0);
    pipeline.add_worker(&scene).leaving().start();
    let rounds = if chaos() { 6 } else { 1 };
    let mut loads = Vec::new();
    for round in 0..rounds {
        pipeline.shared("one worker", |shares| shares.last() == Some(&tests::LANES));
        // Longer than all that happens in a round; what it sends after that is drained all the same.
        let load = load(&scene, round, 15);
        let mut client = load.start_at(pipeline.tapi.ingest);
        let oldest = pipeline.workers.len() - 1;
        pipeline.add_worker(&scene).leaving().start();
        pipeline.add_worker(&scene).leaving().start();
        let joined = pipeline.shared("three workers", |shares| shares[oldest..].iter().all(|share| *share > 0));
        // One leaves in good order, one does not.
        assert!(pipeline.workers[oldest].stop().success(), "a worker that left");
        let left = pipeline.shared("two workers", |shares| shares[oldest + 1..].iter().all(|share| *share > 0));
        pipeline.workers[oldest + 1].kill();
        let replaced = pipeline.shared("one worker", |shares| shares.last() == Some(&tests::LANES));
        scene.say(format_args!(
            "the lanes are shared {joined:?} after two workers joined, {left:?} after one left, {replaced:?} after one was killed"
        ));
        client.succeed(LIMIT);
        loads.push(load);
    }
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{rounds} rounds: {verdict}"));
    pipeline.stop();
}

#[test]
fn a_worker_frozen_until_it_is_replaced_publishes_nothing_when_it_wakes() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let rounds = if chaos() { 6 } else { 1 };
    let mut loads = Vec::new();
    for round in 0..rounds {
        pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
        let load = load(&scene, round, 12);
        let mut client = load.start_at(pipeline.tapi.ingest);
        pipeline.acknowledges("", pipeline.acknowledged("") + f64::from(RATE));
        let (frozen, awake) = (round as usize % 2, 1 - round as usize % 2);
        pipeline.workers[frozen].freeze();
        let replaced = pipeline.taken_over(awake);
        // With decided batches in memory, and a fence that is no longer its own.
        pipeline.workers[frozen].thaw();
        let joined = pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
        scene.say(format_args!("replaced after {replaced:?}, at work again {joined:?} after it was thawed"));
        client.succeed(LIMIT);
        loads.push(load);
    }
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{rounds} rounds: {verdict}"));
    pipeline.stop();
}

#[test]
fn an_index_deleted_while_its_worker_is_away_is_made_again_from_the_changelog() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 1);
    let first = load(&scene, 0, if chaos() { 20 } else { 3 });
    first.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.caught_up();
    assert!(pipeline.workers[0].stop().success());
    let events = first.report()["events_acknowledged"].as_u64().expect("a count");
    fs::remove_dir_all(pipeline.workers[0].data()).expect("there is an index");
    let again = first.again("again");
    again.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.workers[0].start();
    let verdict = pipeline.verify(&scene, &[first, again]);
    let replayed = pipeline.counted("dedup_replayed_records_total");
    let dropped = pipeline.counted("dedup_duplicate_events_total");
    scene.say(format_args!("{replayed} changelog records replayed, {dropped} repeats dropped after it: {verdict}"));
    assert!(replayed > 0.0 && dropped >= events as f64, "{replayed} replayed, {dropped} of {events} dropped");
    pipeline.stop();
}
