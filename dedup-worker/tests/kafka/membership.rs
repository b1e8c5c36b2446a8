//! Fault: workers come, go, and sleep.

use std::time::Duration;

use rustix::process::Signal;

use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);

#[test]
fn workers_share_the_partitions_and_take_over_from_each_other() {
    let scene = Scene::new();
    let mut output = scene.output();
    let one = scene.run("one");
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    let two = scene.run("two");
    two.wait_for_metric("dedup_partitions_running", |count| count == 2);
    one.wait_for_metric("dedup_partitions_running", |count| count == 2);
    scene.secondary.produce(1_000..4_000);
    output.wait_for(4_000, LIMIT);
    assert_eq!(one.metric("dedup_faults_total"), 0, "a hand-over in good order is no fault\n{}", one.log());
    // In good order: at once. Killed: when the session has run out.
    one.stop();
    scene.primary.produce(3_000..6_000);
    output.wait_for(6_000, LIMIT);
    let three = scene.run("three");
    three.wait_for_metric("dedup_partitions_running", |count| count == 2);
    three.kill();
    scene.secondary.produce(5_000..8_000);
    output.wait_for(8_000, LIMIT);
    output.assert_each_once(8_000);
    two.stop();
}

/// Frozen until it has been replaced, then awake again in the middle of what it was doing.
#[test]
fn a_frozen_worker_is_fenced() {
    let scene = Scene::new();
    let mut output = scene.output();
    let settings = [("DEDUP_BATCH_RECORDS_MAX", "200"), ("DEDUP_BATCH_LINGER_MS", "1")];
    let zombie = scene.run_with("zombie", &settings);
    zombie.wait_for_metric("dedup_partitions_running", |count| count == 4);
    scene.primary.produce(0..6_000);
    output.wait_for(1_000, LIMIT);
    zombie.signal(Signal::STOP);
    let rival = scene.run_with("rival", &settings);
    scene.secondary.produce(3_000..9_000);
    output.wait_for(9_000, LIMIT);
    rival.wait_for_metric("dedup_partitions_running", |count| count == 4);
    zombie.signal(Signal::CONT);
    scene.primary.produce(8_000..12_000);
    output.wait_for(12_000, LIMIT);
    // It is a member again and gets its share in good order.
    zombie.wait_for_metric("dedup_partitions_running", |count| count == 2);
    rival.wait_for_metric("dedup_partitions_running", |count| count == 2);
    scene.secondary.produce(11_000..14_000);
    output.wait_for(14_000, LIMIT);
    output.assert_each_once(14_000);
    zombie.stop();
    rival.stop();
}
