//! Fault: nobody says whether a transaction was committed, or it was not, while more has been decided behind it.

use std::thread;
use std::time::Duration;

use dedup_worker::worker::spec::transactional_id;
use kafka::{Cluster, Fenced};
use rustix::process::Signal;
use service::Properties;

use super::events::of_lane;
use super::proxy::Mode;
use super::scene::{Scene, chaos};

const LIMIT: Duration = Duration::from_mins(1);
/// A commit is waited for no longer than a transaction may live.
const SHORT: (&str, &str) = ("DEDUP_KAFKA_TRANSACTION_TIMEOUT_MS", "5000");
/// Nobody is replaced meanwhile: what is seen is what became of the commit.
const LONG: (&str, &str) = ("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "60000");

/// The connection is cut before the request to commit arrives, and after it was carried out and before the answer: the
/// worker sees the same both times.
#[test]
fn a_commit_without_an_answer_is_looked_up_in_the_changelog() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_behind_proxy("one", &[SHORT, LONG]);
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let mut count = 0;
    for round in 0..if chaos() { 20 } else { 2 } {
        let had = output.seen.len();
        let (lane, faults) = (round / 2 % 4, worker.faults());
        let (takes_effect, id) = (round % 2 == 1, transactional_id(lane));
        scene.brokers.proxy.set(if takes_effect { Mode::CutAfter(id) } else { Mode::CutBefore(id) });
        scene.primary.produce(count..count + 400);
        scene.secondary.produce(count + 100..count + 500);
        count += 500;
        scene.brokers.proxy.wait_until_cut();
        worker.wait_for_a_fault(faults);
        // Nobody has told the worker yet. The output's readers know.
        let of_it = |from: u64| of_lane(lane, from).take_while(|number| *number < count).count();
        output.drain(Duration::from_millis(500));
        let out = output.seen.keys().filter(|id| super::events::lane(id) == lane).count();
        let expected = of_it(0) - if takes_effect { 0 } else { of_it(count - 500) };
        assert!(
            if takes_effect { out > expected - of_it(count - 500) } else { out == expected },
            "{round}: {out}, {had}"
        );
        scene.brokers.proxy.set(Mode::Pass);
        output.wait_for(count as usize, LIMIT);
    }
    output.assert_each_once(count);
    worker.stop();
}

/// The answer takes longer than it ever should, and no longer than the transaction lives: it is waited for.
#[test]
fn a_commit_that_is_answered_late_is_waited_for() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_behind_proxy("one", &[]);
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let held = scene.brokers.proxy.held();
    scene.brokers.proxy.set(Mode::Hold(transactional_id(0)));
    scene.primary.produce(0..400);
    scene.brokers.proxy.wait_until_held();
    // The fault is the time itself.
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(scene.brokers.proxy.held(), held + 1, "one commit, one request");
    scene.brokers.proxy.set(Mode::Pass);
    output.wait_for(400, LIMIT);
    output.assert_each_once(400);
    assert_eq!(worker.faults(), 0, "{}", worker.log());
    worker.stop();
}

/// The broker is frozen between the last acknowledgement and the request to commit, which it finds when it thaws, behind
/// the end of the transaction's life.
#[test]
fn a_commit_into_a_frozen_broker_is_looked_up_in_the_changelog() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut count = 0;
    for round in 0..if chaos() { 10 } else { 1 } {
        // Behind the genesis and checkpoints, in the middle of batches.
        let at = format!("pause-before-commit:{}", 9 + round);
        let group = format!("round-{round}");
        let settings =
            [SHORT, ("DEDUP_CRASH_AT", &*at), ("DEDUP_BATCH_RECORDS_MAX", "100"), ("DEDUP_KAFKA_GROUP", &*group)];
        let worker = scene.run_with("one", &settings);
        scene.primary.produce(count..count + 1_000);
        scene.secondary.produce(count.saturating_sub(500)..count + 500);
        count += 1_000;
        worker.wait_until_paused();
        scene.brokers.primary.freeze();
        worker.signal(Signal::CONT);
        worker.wait_for_a_fault(0);
        scene.brokers.primary.thaw();
        output.wait_for(count as usize, LIMIT);
        worker.stop();
    }
    output.assert_each_once(count);
}

/// The output broker is killed with a transaction ready to be committed; later the input-only one, under load.
#[test]
fn a_broker_killed_under_a_worker_costs_and_doubles_nothing() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut count = 0;
    for round in 0..if chaos() { 5 } else { 1 } {
        let (at, group) = (format!("pause-before-commit:{}", 9 + round), format!("round-{round}"));
        let settings =
            [SHORT, ("DEDUP_CRASH_AT", &*at), ("DEDUP_BATCH_RECORDS_MAX", "100"), ("DEDUP_KAFKA_GROUP", &*group)];
        let worker = scene.run_with("one", &settings);
        scene.primary.produce(count..count + 1_000);
        scene.secondary.produce(count + 500..count + 1_500);
        worker.wait_until_paused();
        scene.brokers.primary.kill();
        worker.signal(Signal::CONT);
        scene.secondary.produce(count + 1_200..count + 2_000);
        scene.brokers.primary.start_again();
        output.wait_for(count as usize + 2_000, 2 * LIMIT);
        count += 2_000;

        scene.brokers.secondary.kill();
        scene.primary.produce(count..count + 500);
        output.wait_for(count as usize + 500, LIMIT);
        scene.brokers.secondary.start_again();
        scene.brokers.secondary.wait_for_answer();
        scene.secondary.produce(count..count + 1_000);
        count += 1_000;
        output.wait_for(count as usize, LIMIT);
        worker.stop();
    }
    output.assert_each_once(count);
}

/// Batch N, of one event, is held at its commit while N + 1, which repeats it, is decided: the repeat is a duplicate of a
/// batch that is then aborted, by somebody who takes the fence.
#[test]
fn repeats_of_a_batch_that_is_aborted_come_out() {
    let scene = Scene::new();
    let mut output = scene.output();
    let cluster = Cluster::new("test", "output", &scene.brokers.primary.address, Properties::default());
    let mut count = 0;
    for round in 0..if chaos() { 10 } else { 1 } {
        let (lane, group) = (round % 4, format!("round-{round}"));
        let id = transactional_id(lane);
        // Only this lane's batches come to `decided`: N is the second pass, N + 1 the third.
        let settings =
            [("DEDUP_CRASH_AT", "pause-decided:3"), ("DEDUP_BATCH_RECORDS_MAX", "100"), ("DEDUP_KAFKA_GROUP", &*group)];
        let worker = scene.run_behind_proxy("one", &settings);
        worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
        let mut numbers = of_lane(lane, count).take(101);
        // The clock of a new changelog comes to now with its first record, in commits of its own; those are not to be held.
        scene.primary.produce(numbers.next());
        output.wait_for(output.seen.len() + 1, LIMIT);
        scene.brokers.proxy.set(Mode::Hold(id.clone()));
        let numbers: Vec<u64> = numbers.collect();
        count = numbers[99] + 1;
        let had = output.seen.len();
        scene.primary.produce(numbers[..1].iter().copied());
        scene.brokers.proxy.wait_until_held();
        // As many as a batch holds: while N is on its way, N + 1 is decided when it is full.
        scene.primary.produce(numbers.iter().copied());
        worker.wait_until_paused();
        // The worker stands with both batches in its hands; nothing is out.
        output.drain(Duration::from_millis(300));
        assert_eq!(output.seen.len(), had);
        drop(Fenced::take(&cluster, &id, Duration::from_secs(20)).unwrap());
        scene.brokers.proxy.set(Mode::Pass);
        worker.signal(Signal::CONT);
        worker.wait_for_a_fault(0);
        output.wait_for(had + 100, LIMIT);
        output.drain(Duration::from_millis(700));
        assert_eq!(output.seen.len(), had + 100);
        assert!(output.seen.values().all(|times| *times == 1));
        worker.stop();
    }
}
