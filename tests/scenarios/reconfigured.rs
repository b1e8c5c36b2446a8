//! Goal: clusters that change their roles or their shape under a running system lose and double nothing.
//! Fault: primary and secondary swapped in the configuration of `tapi` and workers; partitions added to the topic of one
//! cluster, the other one and the output while everything runs.
//! Oracle: `loadtest verify` over `events.deduped`, old events sent again; what the programs say of the numbers.

use std::time::Duration;

use tests::load::Load;
use tests::{LANES, Output, PARTITIONS, Pipeline, Scene, chaos, http, topic};
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX};

/// Events a second.
const RATE: u32 = 4_000;
/// Longest wait for a load.
const LIMIT: Duration = Duration::from_mins(3);

fn load(scene: &Scene, n: u64, short_s: u64, long_s: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(if chaos() { long_s } else { short_s }))
        .option("--connections", 32)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
        .option("--duplicates", 0.05)
}

#[test]
fn primary_and_secondary_swapped_in_the_configuration_lose_and_double_nothing() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::new(&scene, Output::Primary);
    let output = pipeline.output();
    pipeline.tapi.start();
    for _ in 0..2 {
        let worker = pipeline.add_worker(&scene);
        // Output and changelog stay where they are; else it would be another system.
        worker.configure("DEDUP_KAFKA_OUTPUT", output);
        worker.start();
    }
    let first = load(&scene, 0, 4, 20);
    let mut client = first.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    let post = |path: &str| http::post(pipeline.tapi.admin, path, "", b"").expect("an answer").status;
    assert_eq!(post("/kafka/pin?cluster=secondary"), 200);
    client.succeed(LIMIT);
    pipeline.acknowledges("secondary", f64::from(RATE));
    pipeline.caught_up();

    let [primary, secondary] = [pipeline.kafka.secondary.address, pipeline.kafka.primary.address];
    assert!(pipeline.tapi.stop().success());
    pipeline.tapi.configure("TAPI_KAFKA_PRIMARY", primary);
    pipeline.tapi.configure("TAPI_KAFKA_SECONDARY", secondary);
    for worker in &mut pipeline.workers {
        assert!(worker.stop().success());
        worker.configure("DEDUP_KAFKA_PRIMARY", primary);
        worker.configure("DEDUP_KAFKA_SECONDARY", secondary);
    }
    // Whoever forgets that the output goes where the primary is finds an index that does not belong there.
    let forgetful = &mut pipeline.workers[0];
    forgetful.configure("DEDUP_KAFKA_OUTPUT", "");
    forgetful.start();
    forgetful.says("is empty, but there is an index");
    assert!(forgetful.stop().success());
    forgetful.configure("DEDUP_KAFKA_OUTPUT", output);

    pipeline.tapi.start();
    pipeline.workers.iter_mut().for_each(|worker| worker.start());
    let (again, second) = (first.again("again"), load(&scene, 1, 3, 20));
    for load in [&again, &second] {
        load.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    }
    assert!(pipeline.acknowledged("primary") > 0.0, "the cluster that was the secondary gets the records");
    let verdict = pipeline.verify(&scene, &[first, again, second]);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));
    pipeline.stop();
}

/// Repeats across each change lie in other partitions than what they repeat, on clusters that differ, and a tapi that knows
/// nothing of it for a while goes on as before.
#[test]
fn topics_that_grow_one_after_the_other_lose_and_double_nothing() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let (primary, secondary) = (pipeline.kafka.primary.address, pipeline.kafka.secondary.address);
    let more = 2 * PARTITIONS;
    let first = load(&scene, 0, 4, 20);
    first.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    let mut loads = vec![first];
    let pin = |to: &str| {
        let answer = http::post(pipeline.tapi.admin, &format!("/kafka/pin?cluster={to}"), "", b"").expect("an answer");
        assert_eq!(answer.status, 200);
    };
    let beyond = |brokers, topic: &str| {
        let mut count = 0_u64;
        topic::read(brokers, topic, |partition, _, _| count += u64::from(partition >= PARTITIONS));
        count
    };
    for (n, (brokers, topic, name)) in (1..).zip([
        (primary, EVENTS, "primary"),
        (secondary, EVENTS, "secondary"),
        (primary, EVENTS_DEDUPED, "primary"),
    ]) {
        pin(name);
        let next = load(&scene, n, 26, 40);
        let mut client = next.start_at(pipeline.tapi.ingest);
        topic::add_partitions(brokers, topic, more as usize);
        // What was sent before is sent again: it has other partitions by now, and is known all the same.
        let again = loads[loads.len() - 1].again(&format!("again-{n}"));
        again.start_at(pipeline.tapi.ingest).succeed(LIMIT);
        client.succeed(LIMIT);
        loads.extend([again, next]);
        pipeline.caught_up();
        assert!(beyond(brokers, topic) > 0, "{topic} on the {name} cluster has grown, and nothing is written there");
    }
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));

    // Everything known can be made again right afterwards, from what has grown.
    for worker in &mut pipeline.workers {
        assert!(worker.stop().success());
    }
    let rebuilt = pipeline.workers[0].command(&["rebuild"]).expect("a rebuild");
    assert!(rebuilt.contains("identities"), "{rebuilt}");
    let verified = pipeline.workers[0].command(&["verify"]).expect("no difference");
    assert!(verified.contains("0 differences"), "{verified}");
    let rebuilt = pipeline.workers[0].command(&["rebuild", "--from", "events.deduped"]).expect("a rebuild");
    assert!(rebuilt.contains(&format!("of {LANES} lanes")), "{rebuilt}");
    pipeline.workers.iter_mut().for_each(|worker| worker.start());
    let last = loads[loads.len() - 1].again("last");
    last.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    loads.push(last);
    pipeline.verify(&scene, &loads);
    pipeline.stop();
}

/// 20 partitions and lanes that do not divide them: the last ones are not written to, and that is said.
#[test]
fn partitions_that_are_no_multiple_of_the_lanes_are_used_as_far_as_they_are() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::new(&scene, Output::Primary);
    let (primary, secondary) = (pipeline.kafka.primary.address, pipeline.kafka.secondary.address);
    pipeline.lanes = 8;
    for cluster in [primary, secondary] {
        topic::make_anew_of(cluster, EVENTS_INDEX, pipeline.lanes);
    }
    topic::make_anew_of(primary, EVENTS, 20);
    topic::make_anew_of(secondary, EVENTS, 16);
    pipeline.tapi.start();
    pipeline.add_worker(&scene).start();
    let load = load(&scene, 0, 4, 20);
    load.start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.tapi.says("its partitions are no multiple of the lanes");
    pipeline.workers[0].says("events has no multiple of the lanes as partitions");
    let (mut written, mut beyond) = (0_u64, 0_u64);
    topic::read(primary, EVENTS, |partition, _, _| {
        written += 1;
        beyond += u64::from(partition >= 16);
    });
    assert!(written > 0 && beyond == 0, "{beyond} of {written} records behind the last multiple of the lanes");
    pipeline.verify(&scene, &[load]);
    pipeline.stop();
}
