//! How fast one worker is; run by hand: `cargo test --release -p dedup-worker --test kafka -- --ignored --nocapture`.

use std::fs;
use std::time::{Duration, Instant};

use super::scene::Scene;

const EVENTS: u64 = 1_500_000;

#[test]
#[ignore = "a measurement, not a check"]
fn events_a_second() {
    let scene = Scene::new();
    for from in (0..EVENTS).step_by(100_000) {
        scene.primary.produce(from..from + 100_000);
    }
    let begun = Instant::now();
    let worker = scene.run("one");
    worker.wait_for_metric("dedup_batches_total", |count| count > 0);
    let (first, counting) = (begun.elapsed(), Instant::now());
    worker.wait_for_metric("dedup_published_events_total", |count| count == EVENTS);
    let seconds = counting.elapsed().as_secs_f64();
    let (batches, cpu) = (worker.metric("dedup_batches_total"), worker.cpu());
    eprintln!(
        "first batch after {first:.2?}; then {EVENTS} events in {seconds:.2} s: {:.0}/s",
        EVENTS as f64 / seconds
    );
    eprintln!("{batches} transactions, {:.2} us of CPU an event", cpu.as_secs_f64() * 1e6 / EVENTS as f64);
    worker.stop();
    fs::remove_dir_all(scene.folder().join("one")).unwrap();
    let begun = Instant::now();
    let rebuilt = scene.ask("one", &["rebuild"]).unwrap();
    eprintln!("{:.2?}: {}", begun.elapsed(), rebuilt.trim());
    let begun = Instant::now();
    let worker = scene.run("one");
    worker.wait_for_metric("dedup_partitions_running", |count| count == 4);
    eprintln!("all partitions taken over {:.2?} after the start", begun.elapsed());
    worker.stop();
    assert!(begun.elapsed() < Duration::from_mins(1));
}
