//! Goal: a cluster of three brokers goes on without one of them, and is left when it cannot; either way each event comes out
//! once.
//! Fault: each broker stopped in order and started again, under load; two of three killed with -9, so that too few replicas
//! are left to acknowledge anything; one that only follows frozen; one killed with -9 for good; one killed that alone has a
//! third of the partitions.
//! Oracle: `loadtest verify` over `events.deduped`, which lies on the three; what `tapi` says of its breakers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tests::load::Load;
use tests::{Kafka, LANES, Output, PARTITIONS, Pipeline, Scene, Shared, chaos, topic};
use wire::topic::{EVENTS, EVENTS_DEDUPED};

/// Events a second.
const RATE: u32 = 3_000;
/// Longest wait for a load.
const LIMIT: Duration = Duration::from_mins(3);
const TRANSITIONS: &str = "tapi_forward_breaker_transitions_total";

fn load(scene: &Scene, n: u64, seconds: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(seconds))
        .option("--connections", 32)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
        .option("--duplicates", 0.02)
}

/// Two workers behind three brokers, which hold output and changelog too.
fn start(scene: &Scene) -> Pipeline {
    start_over(scene, Kafka::shared_of_three())
}

fn start_over(scene: &Scene, kafka: Shared) -> Pipeline {
    let begun = Instant::now();
    kafka.primary.in_sync();
    scene.say(format_args!("three brokers are in sync after {:?}", begun.elapsed()));
    let mut pipeline = Pipeline::over(scene, kafka, Output::Primary);
    pipeline.begin(scene, 2);
    pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
    pipeline
}

/// How often the breaker of the primary has opened or closed.
fn transitions(pipeline: &Pipeline) -> f64 {
    let metrics = pipeline.tapi.metrics().expect("the admin port answers");
    // There is no such row before the first time.
    metrics.sum_where(TRANSITIONS, "cluster=\"primary\"").unwrap_or(0.0)
}

/// How many partitions each broker leads while all are there.
fn led_as_made() -> BTreeMap<i32, u32> {
    let mut led = BTreeMap::new();
    (0..PARTITIONS).for_each(|partition| *led.entry(leader(partition)).or_default() += 1);
    led
}

/// Waits until each broker leads again what it led.
fn balanced(pipeline: &Pipeline) {
    tests::wait::until("each broker leads what it led", LIMIT, || {
        (topic::leaders(&pipeline.kafka.primary.bootstrap(), EVENTS) == led_as_made()).then_some(())
    });
}

/// The broker that leads a partition of `events`: all of the first lane the first broker, every other lane has some on each.
fn leader(partition: u32) -> i32 {
    if partition.is_multiple_of(LANES) { 1 } else { 1 + (partition % 3).cast_signed() }
}

/// Leaders everywhere wait for the broker that stops until they hear that it is out of their replicas, and one lane has no
/// partition elsewhere that it could go on with: longer than a frozen cluster has. But the cluster is at work and shows it,
/// so it is not left.
#[test]
fn a_rolling_restart_of_the_primary_under_load_loses_and_doubles_nothing_and_leaves_it_never() {
    let scene = Scene::begin();
    let kafka = Kafka::shared_of_three();
    topic::make_anew_led(kafka.primary.address, EVENTS, leader);
    let mut pipeline = start_over(&scene, kafka);
    let mut loads = Vec::new();
    for round in 0..if chaos() { 3 } else { 1 } {
        for broker in 0..3 {
            let load = load(&scene, round * 3 + broker as u64, 8);
            let mut client = load.start_at(pipeline.tapi.ingest);
            pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(RATE));
            let led = topic::leaders(&pipeline.kafka.primary.bootstrap(), EVENTS);
            assert_eq!(led, led_as_made());
            let begun = Instant::now();
            pipeline.kafka.primary.brokers[broker].stop();
            let stopped = begun.elapsed();
            pipeline.kafka.primary.brokers[broker].launch();
            pipeline.kafka.primary.answered();
            pipeline.kafka.primary.in_sync();
            balanced(&pipeline);
            scene.say(format_args!(
                "broker {} stopped in {stopped:?} and in sync again after {:?}; leaders before {led:?}",
                broker + 1,
                begun.elapsed()
            ));
            client.succeed(LIMIT);
            loads.push(load);
        }
    }
    let (changes, elsewhere) = (transitions(&pipeline), pipeline.acknowledged("secondary"));
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{changes} changes of the breaker, {elsewhere} records elsewhere: {verdict}"));
    assert!(changes + elsewhere < 1.0, "the primary was left");
    pipeline.stop();
}

#[test]
fn with_too_few_replicas_left_to_acknowledge_the_primary_is_left_until_they_are_back() {
    let scene = Scene::begin();
    let mut pipeline = start(&scene);
    let outage = load(&scene, 0, 10);
    let mut client = outage.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    assert!(transitions(&pipeline) < 1.0, "the primary was left before anything was done to it");
    // The one that is left answers everything but what it must not.
    let [_, second, third] = &mut pipeline.kafka.primary.brokers[..] else { panic!("three brokers") };
    second.kill();
    third.kill();
    let left = pipeline.acknowledges("secondary", f64::from(RATE));
    client.succeed(LIMIT);
    assert_eq!(outage.answers().bad, 0, "requests that were not acknowledged at once");
    pipeline.kafka.primary.brokers[1..].iter_mut().for_each(tests::Node::launch);
    pipeline.kafka.primary.answered();
    // It is used again by itself, once there is something to send.
    let (after, primary) = (load(&scene, 1, 10), pipeline.acknowledged("primary"));
    let mut client = after.start_at(pipeline.tapi.ingest);
    let back = pipeline.acknowledges("primary", primary + f64::from(RATE));
    client.succeed(LIMIT);
    let verdict = pipeline.verify(&scene, &[outage, after]);
    scene.say(format_args!("left {left:?} after the kills, used again {back:?} after a load began: {verdict}"));
    pipeline.stop();
}

#[test]
fn a_frozen_follower_loses_and_doubles_nothing_though_no_leader_is_away() {
    let scene = Scene::begin();
    let kafka = Kafka::shared_of_three();
    topic::make_anew_led(kafka.primary.address, EVENTS, |partition| 1 + (partition / LANES % 2).cast_signed());
    let mut pipeline = start_over(&scene, kafka);
    let led = topic::leaders(&pipeline.kafka.primary.bootstrap(), EVENTS);
    assert_eq!(led.get(&3), None, "the third broker only follows: {led:?}");
    let load = load(&scene, 0, 15);
    let mut client = load.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(RATE));
    pipeline.kafka.primary.brokers[2].freeze();
    // What is in flight waits for it until its session ends; then the other two are enough.
    let before = pipeline.acknowledged("");
    let on = pipeline.acknowledges("", before + 2.0 * f64::from(RATE));
    let back = pipeline.acknowledges("primary", pipeline.acknowledged("primary") + f64::from(RATE));
    pipeline.kafka.primary.brokers[2].thaw();
    pipeline.kafka.primary.in_sync();
    client.succeed(LIMIT);
    assert_eq!(load.answers().bad, 0, "requests that were not acknowledged at once");
    let changes = transitions(&pipeline);
    let verdict = pipeline.verify(&scene, &[load]);
    scene.say(format_args!(
        "two seconds' records in {on:?} after the freeze, the primary's in {back:?} more, {changes} changes of its breaker: {verdict}"
    ));
    pipeline.stop();
}

#[test]
fn without_one_broker_of_three_everything_goes_on() {
    let scene = Scene::begin();
    let mut pipeline = start(&scene);
    let load = load(&scene, 0, 15);
    let mut client = load.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    pipeline.kafka.primary.brokers[2].kill();
    let begun = Instant::now();
    client.succeed(LIMIT);
    // Whether it was left for a moment or not, it is used in the end, with one broker dead.
    let after = self::load(&scene, 1, 5);
    let primary = pipeline.acknowledged("primary");
    let mut client = after.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", primary + f64::from(RATE));
    client.succeed(LIMIT);
    assert_eq!(load.answers().bad + after.answers().bad, 0, "requests that were not acknowledged at once");
    let (changes, took) = (transitions(&pipeline), begun.elapsed());
    let verdict = pipeline.verify(&scene, &[load, after]);
    scene.say(format_args!("{changes} changes of the breaker in {took:?} after the kill: {verdict}"));
    pipeline.stop();
}

/// Each partition of input and output lies on one broker alone, and one of three is killed: each lane has partitions on the
/// other two, goes on with those, and reads what the dead ones had when they are back.
#[test]
fn partitions_without_a_leader_hold_up_nothing_but_what_they_hold() {
    let scene = Scene::begin();
    let kafka = Kafka::shared_of_three();
    kafka.primary.in_sync();
    topic::make_anew_unreplicated(kafka.primary.address, &[EVENTS, EVENTS_DEDUPED]);
    let mut pipeline = Pipeline::over(&scene, kafka, Output::Primary);
    pipeline.begin(&scene, 2);
    pipeline.shared("two workers", |shares| shares.iter().all(|share| *share > 0));
    let load = load(&scene, 0, 20);
    let mut client = load.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    pipeline.kafka.primary.brokers[2].kill();
    let (killed, published) = (Instant::now(), || pipeline.counted("dedup_published_events_total"));
    // More than was on its way.
    let before = published();
    tests::wait::until("the others go on", LIMIT, || (published() > before + 3.0 * f64::from(RATE)).then_some(()));
    let went_on = killed.elapsed();
    client.succeed(LIMIT);
    assert_eq!(load.answers().bad, 0, "requests that were not acknowledged at once");
    let (changes, elsewhere) = (transitions(&pipeline), pipeline.acknowledged("secondary"));
    let said = format!("the primary's breaker changed {changes} times, {elsewhere} records went elsewhere");
    assert!(!chaos() || changes + elsewhere < 1.0, "{said}");
    pipeline.kafka.primary.brokers[2].launch();
    pipeline.kafka.primary.answered();
    let verdict = pipeline.verify(&scene, &[load]);
    scene.say(format_args!("three seconds' records more were out {went_on:?} after the kill; {said}: {verdict}"));
    pipeline.stop();
}
