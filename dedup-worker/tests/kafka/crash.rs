//! Fault: the worker dies.
//!
//! Each one joins a group of its own, so that none waits for the session of the one before to run out: the group is a
//! hint, and what is tested here is the fence.

use std::time::{Duration, Instant};

use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);

/// At every named point of the loop, and at several passes of it: the very first aborts a genesis.
#[test]
fn killed_at_every_step() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut count = 0;
    for step in ["before-commit", "produced", "committed", "index-updated"] {
        for pass in ["1", "6", "9"] {
            let at = format!("{step}:{pass}");
            // Twice as many as before, half of them repeats of what came before, on the other cluster too.
            scene.primary.produce(count..count + 600);
            scene.secondary.produce(count.saturating_sub(300)..count + 300);
            count += 600;
            let settings = [("DEDUP_CRASH_AT", &*at), ("DEDUP_BATCH_RECORDS_MAX", "100"), ("DEDUP_KAFKA_GROUP", &at)];
            let mut worker = scene.run_with("one", &settings);
            let status = worker.wait();
            assert!(!status.success(), "it died at {at}");
        }
    }
    let worker = scene.run("one");
    output.wait_for(count as usize, LIMIT);
    output.assert_each_once(count);
    worker.stop();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains(&format!("{count} identities of 4 partitions compared, 0 differences")), "{verified}");
}

/// At any moment, again and again, while events come in on both clusters.
#[test]
fn killed_under_load() {
    const ROUNDS: u64 = 8;
    const EACH: u64 = 4_000;
    let scene = Scene::new();
    let mut output = scene.output();
    for round in 0..ROUNDS {
        let group = format!("round-{round}");
        let settings =
            [("DEDUP_BATCH_RECORDS_MAX", "150"), ("DEDUP_BATCH_LINGER_MS", "1"), ("DEDUP_KAFKA_GROUP", &*group)];
        let worker = scene.run_with("one", &settings);
        let (from, to) = (round * EACH, (round + 1) * EACH);
        let had = output.seen.len();
        scene.primary.produce(from..to);
        scene.secondary.produce(from.saturating_sub(EACH / 2)..to - EACH / 2);
        // Once something came out it is in the middle of its work. Each round ends at another moment of it.
        output.wait_for(had + 1 + (round * 397) as usize, LIMIT);
        worker.kill();
    }
    let begun = Instant::now();
    let worker = scene.run("one");
    output.wait_for((ROUNDS * EACH) as usize, LIMIT);
    eprintln!("all out {} ms after the last start", begun.elapsed().as_millis());
    output.assert_each_once(ROUNDS * EACH);
    worker.stop();
}
