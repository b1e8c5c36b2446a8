//! Fault: the worker dies.
//!
//! Each one joins a group of its own, so that none waits for the session of the one before to run out: the group is a
//! hint, and what is tested here is the fence.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::events::Output;
use super::scene::{Scene, chaos, random};

const LIMIT: Duration = Duration::from_secs(50);

/// Kills a worker at a step and a pass, once for each pair, every time among new events and repeats on both clusters.
fn die_at(scene: &Scene, output: &mut Output, steps: &[(&str, u64)], settings: &[(&str, &str)]) {
    let mut count = output.seen.len() as u64;
    for (round, (step, pass)) in steps.iter().enumerate() {
        // Twice as many as before, half of them repeats of what came before, on the other cluster too.
        scene.primary.produce(count..count + 600);
        scene.secondary.produce(count.saturating_sub(300)..count + 300);
        count += 600;
        let (at, group) = (format!("{step}:{pass}"), format!("{step}-{round}"));
        let mut settings = settings.to_vec();
        settings.extend([("DEDUP_CRASH_AT", &*at), ("DEDUP_BATCH_RECORDS_MAX", "100"), ("DEDUP_KAFKA_GROUP", &*group)]);
        let mut worker = scene.run_with("one", &settings);
        let most = count + 100_000;
        // And more, while it lives: some steps come with time alone, to a worker that has something to commit.
        while !worker.has_ended() {
            scene.primary.produce(count..count + 20);
            scene.secondary.produce(count.saturating_sub(20)..count + 10);
            count += 20;
            output.drain(Duration::from_millis(20));
            assert!(count < most, "it never came to {at}\n{}", worker.log());
        }
        worker.wait_until_killed();
    }
    let worker = scene.run("one");
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    output.wait_for(count as usize, LIMIT);
    output.assert_each_once(count);
    worker.stop();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains(&format!("{count} identities of 4 lanes compared, 0 differences")), "{verified}");
}

/// The passes of a step at which to die: these, or ten random ones.
fn passes(step: &'static str, short: &[u64], passes_max: u64) -> Vec<(&'static str, u64)> {
    if !chaos() {
        return short.iter().map(|pass| (step, *pass)).collect();
    }
    let mut random = random();
    (0..10).map(|_| (step, random.random_range(1..=passes_max))).collect()
}

/// The very first commit is a genesis, then come checkpoints, then batches.
#[test]
fn killed_at_every_step_of_a_batch() {
    let scene = Scene::new();
    let mut output = scene.output();
    let steps = ["before-commit", "decided", "committed", "applied"];
    die_at(&scene, &mut output, &steps.map(|step| passes(step, &[1, 6], 12)).concat(), &[]);
}

#[test]
fn killed_at_every_step_of_a_takeover() {
    let scene = Scene::new();
    let mut output = scene.output();
    let steps = ["fencing", "fenced", "confirmed", "measured", "restored", "checkpointed"];
    let mut steps = steps.map(|step| passes(step, &[3], 4)).concat();
    steps.extend(passes("restoring", &[1, 8], 16));
    die_at(&scene, &mut output, &steps, &[]);
}

/// Buckets of a second: a run is sealed every second, while batches come and while the changelog is replayed.
#[test]
fn killed_half_way_through_the_index_write() {
    for step in ["run-written", "run-taken"] {
        let scene = Scene::new();
        let mut output = scene.output();
        let window = [("DEDUP_WINDOW_BUCKET_S", "1"), ("DEDUP_WINDOW_PROMISED_BUCKETS", "300")];
        die_at(&scene, &mut output, &passes(step, &[1, 3], 6), &window);
    }
}

/// At any moment, again and again, while events come in on both clusters.
#[test]
fn killed_under_load() {
    const EACH: u64 = 4_000;
    let rounds = if chaos() { 40 } else { 8 };
    let scene = Scene::new();
    let mut output = scene.output();
    for round in 0..rounds {
        let group = format!("round-{round}");
        let settings = [("DEDUP_BATCH_RECORDS_MAX", "150"), ("DEDUP_KAFKA_GROUP", &*group)];
        let worker = scene.run_with("one", &settings);
        let (from, to) = (round * EACH, (round + 1) * EACH);
        let had = output.seen.len();
        scene.primary.produce(from..to);
        scene.secondary.produce(from.saturating_sub(EACH / 2)..to - EACH / 2);
        // Once something came out it is in the middle of its work. Each round ends at another moment of it.
        output.wait_for(had + 1 + (round * 397 % EACH) as usize, LIMIT);
        worker.kill();
    }
    let begun = Instant::now();
    let worker = scene.run("one");
    output.wait_for((rounds * EACH) as usize, LIMIT);
    eprintln!("all out {} ms after the last start", begun.elapsed().as_millis());
    output.assert_each_once(rounds * EACH);
    worker.stop();
}
