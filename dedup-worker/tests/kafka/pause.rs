//! Fault: a worker stands still at a step, a rival takes its lanes over, and it goes on where it stood.
//!
//! Oracle: each event once; and whoever was replaced notices, lets go, and ends in good order.

use std::time::Duration;

use rand::Rng as _;

use super::scene::{Scene, chaos, random};

const LIMIT: Duration = Duration::from_secs(50);
/// So that nobody waits long for a worker that stands still.
const SETTINGS: [(&str, &str); 2] = [("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "2000"), ("DEDUP_BATCH_RECORDS_MAX", "50")];

/// Every step between being given a lane and knowing that a batch is committed, each with a pass that comes soon.
const STEPS: [(&str, u64); 11] = [
    ("fencing", 2),
    ("fenced", 1),
    ("confirmed", 2),
    ("measured", 1),
    ("restoring", 5),
    ("restored", 2),
    ("checkpointed", 1),
    ("decided", 2),
    ("before-commit", 3),
    ("committed", 4),
    ("applied", 2),
];

#[test]
fn a_worker_that_stood_still_at_any_step_while_a_rival_took_over_does_no_harm() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut count = 0;
    let rival = scene.run_with("rival", &SETTINGS);
    let mut steps = STEPS.to_vec();
    if chaos() {
        let mut random = random();
        steps = (0..10).flat_map(|_| STEPS).map(|(step, pass)| (step, random.random_range(1..=pass))).collect();
    }
    for (round, (step, pass)) in steps.into_iter().enumerate() {
        // It has something to restore, and an index of its own that knows nothing.
        scene.primary.produce(count..count + 400);
        count += 400;
        output.wait_for(count as usize, LIMIT);
        let (at, name) = (format!("pause-{step}:{pass}"), format!("zombie-{round}"));
        let mut settings = SETTINGS.to_vec();
        settings.push(("DEDUP_CRASH_AT", &at));
        let zombie = scene.run_with(&name, &settings);
        let most = count + 100_000;
        // Until it stands: each event on both clusters, so that some of them are in its hands.
        while !zombie.is_paused() {
            scene.secondary.produce(count.saturating_sub(20)..count + 20);
            scene.primary.produce(count..count + 20);
            count += 20;
            output.drain(Duration::from_millis(20));
            assert!(count < most, "it never came to {at}\n{}", zombie.log());
        }
        // What it held, again, and more. The rival gets to it when the zombie's session has run out.
        scene.secondary.produce(count.saturating_sub(100)..count + 300);
        count += 300;
        output.wait_for(count as usize, LIMIT);
        rival.wait_for_metric("dedup_lanes_running", |running| running == 4);
        zombie.signal(rustix::process::Signal::CONT);
        scene.primary.produce(count.saturating_sub(400)..count + 300);
        count += 300;
        output.wait_for(count as usize, LIMIT);
        zombie.stop();
        println!("{at}: {count} events so far");
    }
    output.assert_each_once(count);
    rival.stop();
    let verified = scene.ask("rival", &["verify"]).unwrap();
    assert!(verified.contains("0 differences"), "{verified}");
}
