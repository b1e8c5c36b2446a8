//! Fault: workers come, go, and sleep.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng as _;
use rustix::process::Signal;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX};

use super::events::Events;

use super::scene::{Scene, chaos, random};

const LIMIT: Duration = Duration::from_secs(50);

#[test]
fn workers_share_the_lanes_and_take_over_from_each_other() {
    let scene = Scene::new();
    let mut output = scene.output();
    let one = scene.run_leaving("one", &[]);
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    let two = scene.run("two");
    two.wait_for_metric("dedup_lanes_running", |count| count == 2);
    one.wait_for_metric("dedup_lanes_running", |count| count == 2);
    scene.secondary.produce(1_000..4_000);
    output.wait_for(4_000, LIMIT);
    assert_eq!(one.metric("dedup_faults_total"), 0, "a hand-over in good order is no fault\n{}", one.log());
    // Who leaves hands over at once. Killed: when the session has run out.
    one.stop();
    scene.primary.produce(3_000..6_000);
    output.wait_for(6_000, LIMIT);
    let three = scene.run("three");
    three.wait_for_metric("dedup_lanes_running", |count| count == 2);
    three.kill();
    scene.secondary.produce(5_000..8_000);
    output.wait_for(8_000, LIMIT);
    output.assert_each_once(8_000);
    two.stop();
}

/// A deploy: the worker that comes back has its lanes at once, and the other one has none to take over, or to hand over.
#[test]
fn a_worker_that_is_restarted_has_its_lanes_back_and_no_other_notices() {
    let scene = Scene::new();
    let mut output = scene.output();
    // Longer than this test waits for anything.
    let settings = [("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "120000"), ("DEDUP_BATCH_RECORDS_MAX", "200")];
    let mut one = scene.run_with("one", &settings);
    one.wait_for_metric("dedup_lanes_running", |count| count == 4);
    let two = scene.run_with("two", &settings);
    two.wait_for_metric("dedup_lanes_running", |count| count == 2);
    let rebalances = || two.log().matches("the group gives this worker partitions").count();
    let before = rebalances();
    for round in 0..3 {
        scene.primary.produce(round * 3_000..round * 3_000 + 3_000);
        if round == 1 {
            one.kill();
        } else {
            one.stop();
        }
        one = scene.run_with("one", &settings);
        one.wait_for_metric("dedup_lanes_running", |count| count == 2);
        output.wait_for((round as usize + 1) * 3_000, LIMIT);
    }
    assert_eq!((two.metric("dedup_takeovers_total"), two.metric("dedup_faults_total")), (2, 0), "{}", two.log());
    assert_eq!(rebalances(), before, "{}", two.log());
    output.assert_each_once(9_000);
    one.stop();
    two.stop();
}

/// Workers are started, stopped and killed while events come in on both clusters; at no moment is there none for long.
#[test]
fn workers_come_and_go_under_load() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut random = random();
    let settings = [("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "2000"), ("DEDUP_BATCH_RECORDS_MAX", "200")];
    let mut workers = vec![scene.run_with("worker-0", &settings)];
    let mut count = 0;
    for round in 1..=if chaos() { 60 } else { 8 } {
        scene.primary.produce(count..count + 1_500);
        scene.secondary.produce(count.saturating_sub(700)..count + 1_000);
        count += 1_500;
        let change = random.random_range(0..3);
        if change == 0 || workers.len() == 1 {
            let name = format!("worker-{round}");
            let is_leaving = random.random_bool(0.5);
            workers.push(if is_leaving {
                scene.run_leaving(&name, &settings)
            } else {
                scene.run_with(&name, &settings)
            });
        } else {
            let gone = workers.swap_remove(random.random_range(0..workers.len()));
            if change == 1 { gone.stop() } else { gone.kill() }
        }
        // The next change comes somewhere in the middle of this one's work.
        output.wait_for(random.random_range(count as usize - 1_500..count as usize), LIMIT);
    }
    output.wait_for(count as usize, LIMIT);
    output.assert_each_once(count);
    for worker in workers {
        worker.stop();
    }
}

/// As with a copy of a data folder: nobody can be in the group twice, and whoever was pushed out is told nothing by it.
#[test]
fn a_worker_whose_id_was_taken_stops_at_once_and_says_so() {
    let scene = Scene::new();
    let mut output = scene.output();
    let one = scene.run("one");
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    let copy = scene.folder().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(scene.folder().join("one/member-id"), copy.join("member-id")).unwrap();
    let copy = scene.run("copy");
    copy.wait_for_metric("dedup_lanes_running", |count| count == 4);
    one.wait_for_log("its id was taken");
    let said = one.wait_for_readiness(503);
    assert!(said.contains("another worker uses this data folder's id, or a copy of it"), "{said}");
    one.wait_for_metric("dedup_lanes", |count| count == 0);
    scene.secondary.produce(1_000..4_000);
    output.wait_for(4_000, LIMIT);
    assert_eq!(copy.metric("dedup_faults_total"), 0, "{}", copy.log());
    // It comes back by itself once the other one is gone.
    copy.stop();
    one.wait_for_metric("dedup_lanes_running", |count| count == 4);
    one.wait_for_readiness(200);
    scene.primary.produce(3_000..5_000);
    output.wait_for(5_000, LIMIT);
    output.assert_each_once(5_000);
    one.stop();
}

/// Frozen until it has been replaced, then awake again in the middle of what it was doing.
#[test]
fn a_frozen_worker_is_fenced() {
    let scene = Scene::new();
    let mut output = scene.output();
    let settings = [("DEDUP_BATCH_RECORDS_MAX", "200"), ("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "2000")];
    let mut count = 0;
    for round in 0..if chaos() { 10 } else { 1 } {
        let zombie = scene.run_with(&format!("zombie-{round}"), &settings);
        zombie.wait_for_metric("dedup_lanes_running", |running| running == 4);
        scene.primary.produce(count..count + 6_000);
        output.wait_for(count as usize + 1_000, LIMIT);
        zombie.signal(Signal::STOP);
        let rival = scene.run_with(&format!("rival-{round}"), &settings);
        scene.secondary.produce(count + 3_000..count + 9_000);
        output.wait_for(count as usize + 9_000, LIMIT);
        rival.wait_for_metric("dedup_lanes_running", |running| running == 4);
        zombie.signal(Signal::CONT);
        scene.primary.produce(count + 8_000..count + 12_000);
        output.wait_for(count as usize + 12_000, LIMIT);
        // It is a member again and gets its share in good order.
        zombie.wait_for_metric("dedup_lanes_running", |running| running == 2);
        rival.wait_for_metric("dedup_lanes_running", |running| running == 2);
        scene.secondary.produce(count + 11_000..count + 14_000);
        count += 14_000;
        output.wait_for(count as usize, LIMIT);
        zombie.stop();
        rival.stop();
    }
    output.assert_each_once(count);
}

/// Workers come, go for good and are killed, twenty of them, while events come in on both clusters. Whatever the group makes of
/// that, each event comes out once.
#[test]
fn twenty_workers_come_and_go_over_thirty_two_lanes() {
    const WORKERS: usize = 20;
    let scene = Scene::new();
    let (primary, secondary) = (&scene.brokers.primary, &scene.brokers.secondary);
    primary.make_anew_of(EVENTS_INDEX, 32);
    for (broker, topic) in [(primary, EVENTS), (secondary, EVENTS), (primary, EVENTS_DEDUPED)] {
        broker.make_anew_of(topic, 64);
    }
    let inputs = [primary, secondary].map(|broker| Events::to(broker).over(64));
    let mut output = scene.output();
    output.reads(64);
    let mut random = random();
    let mut workers = VecDeque::new();
    let mut count = 0;
    for round in 0..WORKERS {
        workers.push_back(scene.run_leaving(&format!("worker-{round}"), &[]));
        inputs[round % 2].produce(count..count + 300);
        inputs[(round + 1) % 2].produce(count.saturating_sub(150)..count + 100);
        count += 300;
        // A third of them is gone before the last has come.
        if round % 3 == 2
            && let Some(worker) = workers.pop_front()
        {
            if random.random_range(0..3) == 0 { worker.kill() } else { worker.stop() }
        }
    }
    for (round, worker) in workers.into_iter().enumerate() {
        inputs[round % 2].produce(count..count + 200);
        count += 200;
        if round % 2 == 0 { worker.stop() } else { worker.kill() }
    }
    let last = scene.run("last");
    inputs[0].produce(0..count + 500);
    count += 500;
    output.wait_for(count as usize, 2 * LIMIT);
    output.assert_each_once(count);
    last.stop();
}
