//! Without faults.

use std::time::{Duration, Instant};

use rdkafka::message::{Header, OwnedHeaders};
use wire::topic::{EVENTS_REJECTED, SOURCE_HEADER};

use super::brokers::LANES;
use super::events::{Output, SOURCE, id, lane};
use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(40);

#[test]
fn events_of_both_clusters_come_out_once() {
    let scene = Scene::new();
    scene.primary.produce(0..3_000);
    scene.secondary.produce(2_000..5_000);
    let worker = scene.run_leaving("one", &[]);
    let mut output = scene.output();
    output.wait_for(5_000, LIMIT);
    scene.primary.produce((4_000..6_000).chain(0..1_000));
    output.wait_for(6_000, LIMIT);
    output.assert_each_once(6_000);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 3_000);
    assert_eq!(worker.metric("dedup_published_events_total"), 6_000);
    // One a lane, for its fence; one for each cluster's topics, one for each input, and the group's: each has threads and
    // connections for every broker.
    worker.wait_for_clients(LANES as usize + 5);
    worker.stop();

    let known = scene.ask("one", &["lookup", SOURCE, &id(5)]).unwrap();
    assert!(known.starts_with("known: the next event with this id is a duplicate"), "{known}");
    assert!(known.contains(&format!("events.index {}, offset", lane(&id(5)))), "{known}");
    let unknown = scene.ask("one", &["lookup", "other", &id(5)]).unwrap();
    assert!(unknown.starts_with("not known"), "another source is another event: {unknown}");
    let status = scene.ask("one", &["status"]).unwrap();
    assert!(status.contains(&format!("group {}: 0 workers", scene.group)), "it has said goodbye: {status}");
    assert!(status.lines().filter(|line| line.ends_with('0')).count() >= 4, "nothing is left to read: {status}");
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("6000 identities of 4 lanes compared, 0 differences"), "{verified}");
}

#[test]
fn records_that_are_no_events_are_set_aside_with_their_reason() {
    let scene = Scene::new();
    let source = || OwnedHeaders::new().insert(Header { key: SOURCE_HEADER, value: Some(SOURCE) });
    let lost = id(1);
    scene.primary.send("no-headers", scene.primary.place(b"no-headers"), None);
    scene.primary.send("no-time", scene.primary.place(b"no-time"), Some(source()));
    scene.secondary.send(&lost, (scene.secondary.place(lost.as_bytes()) + 1) % LANES, Some(source()));
    scene.primary.flush();
    scene.secondary.flush();
    scene.primary.produce(0..100);
    let worker = scene.run("one");
    let mut output = scene.output();
    output.wait_for(100, LIMIT);
    worker.wait_for_metric("dedup_rejected_records_total", |count| count == 3);
    output.assert_each_once(100);
    let mut rejected = Output::topic(&scene.brokers.primary, EVENTS_REJECTED);
    rejected.wait_for(3, LIMIT);
    worker.stop();
}

#[test]
fn a_shadow_decides_and_publishes_nothing() {
    let scene = Scene::new();
    scene.primary.produce(0..1_000);
    let worker = scene.run("one");
    let mut output = scene.output();
    output.wait_for(1_000, LIMIT);
    let mut command = scene.command("one", &["run", "--shadow"]);
    command.env("DEDUP_DATA", scene.folder().join("shadow"));
    let shadow = super::worker::Worker::start(command, &scene.folder().join("shadow.log"));
    shadow.wait_for_metric("dedup_lanes_running", |count| count == 4);
    let shadow_group = format!("{}.shadow", scene.group);
    let (owners, shadows) = (scene.members(&scene.group), scene.members(&shadow_group));
    assert_eq!((owners.len(), shadows.len()), (1, 1), "a group of its own: {owners:?} and {shadows:?}");
    scene.primary.produce(500..2_000);
    output.wait_for(2_000, LIMIT);
    shadow.wait_for_metric("dedup_published_events_total", |count| count == 1_000);
    assert_eq!(shadow.metric("dedup_duplicate_events_total"), 500);
    assert_eq!(worker.metric("dedup_faults_total"), 0, "the live worker was not disturbed");
    shadow.stop();
    assert_eq!(scene.members(&scene.group), owners, "the same member, and no other was ever let in");
    assert_eq!(scene.members(&shadow_group), [""; 0]);
    scene.primary.produce(1_500..3_000);
    output.wait_for(3_000, LIMIT);
    // A fence taken by anybody else would have cost it one of these.
    assert_eq!((worker.metric("dedup_faults_total"), worker.metric("dedup_takeovers_total")), (0, 4));
    worker.stop();
    output.assert_each_once(3_000);
}

/// Batches of which one burst of an input is more than enough, and a long backlog on the primary: the secondary's few
/// records do not wait for its end.
#[test]
fn a_backlog_on_one_input_does_not_hold_up_the_other() {
    let scene = Scene::new();
    let mut output = scene.output();
    scene.primary.produce(0..40_000);
    scene.secondary.produce(100_000..100_100);
    let worker = scene.run_with("one", &[("DEDUP_BATCH_RECORDS_MAX", "100")]);
    let begun = Instant::now();
    while !(100_000..100_100).all(|number| output.seen.contains_key(&id(number))) {
        assert!(begun.elapsed() < LIMIT, "{} are out\n{}", output.seen.len(), worker.log());
        output.wait_for(output.seen.len() + 1, LIMIT);
    }
    assert!(output.seen.len() < 30_000, "it waited for the primary: {} are out", output.seen.len());
    worker.stop();
}
