//! Goal: clusters that change their roles or their shape under a running system lose and double nothing.
//! Fault: primary and secondary swapped in the configuration of `tapi` and workers; partitions added to the topic of one
//! cluster while everything runs.
//! Oracle: `loadtest verify` over `events.deduped`, old events sent again; what the programs say of the numbers.

use std::time::Duration;

use tests::load::Load;
use tests::{Output, PARTITIONS, Pipeline, Scene, chaos, http, topic};
use wire::topic::EVENTS;

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

#[test]
fn partitions_added_to_one_cluster_take_it_out_of_use_until_somebody_puts_it_right() {
    let scene = Scene::begin();
    let pipeline = Pipeline::start(&scene, Output::Primary, 2);
    let (more, primary) = (PARTITIONS + 4, pipeline.kafka.primary.address);
    let first = load(&scene, 0, 12, 30);
    let mut client = first.start_at(pipeline.tapi.ingest);
    pipeline.acknowledges("primary", f64::from(RATE));
    topic::add_partitions(primary, EVENTS, more as usize);
    let left = pipeline.acknowledges("secondary", 0.0);
    pipeline.tapi.says(&format!("has {more} partitions"));
    let said = pipeline.tapi.printed();
    let refusal = said.lines().find(|line| line.contains(&format!("has {more} partitions"))).expect("it was said");
    assert!(refusal.contains(&PARTITIONS.to_string()), "both numbers: {refusal}");
    let unfit = format!("events has {more} partitions on the primary cluster and {PARTITIONS} everywhere else");
    for worker in &pipeline.workers {
        worker.says(&unfit);
    }
    client.succeed(LIMIT);
    pipeline.tapi.drained();

    // What nobody reads any more is copied to the other cluster, and the topic made as it was.
    let mut beyond = 0;
    topic::read(primary, EVENTS, |partition, _, _| beyond += u32::from(partition >= PARTITIONS));
    assert_eq!(beyond, 0, "records in partitions that no repeat of theirs lies in");
    let copied = topic::copy(primary, pipeline.kafka.secondary.address, EVENTS);
    topic::make_anew(primary, &[EVENTS], PARTITIONS, &[]);
    let second = load(&scene, 1, 8, 20);
    let before = pipeline.acknowledged("primary");
    let mut client = second.start_at(pipeline.tapi.ingest);
    let back = pipeline.acknowledges("primary", before + 100.0);
    client.succeed(LIMIT);
    let verdict = pipeline.verify(&scene, &[first, second]);
    scene.say(format_args!(
        "left {left:?} after the partitions were added, used again {back:?} after they were right, {copied} records copied: {verdict}"
    ));
    pipeline.stop();
}
