//! Goal: what is appended to an input that was put back to an older copy comes out, and nothing else twice.
//! Fault: the data of the secondary replaced by a copy that ends before what the worker has read, then grown past it:
//! the same cluster, the same topic, and every offset in range.
//! Oracle: `loadtest verify` over `events.deduped`; what the worker says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::load::Load;
use tests::{Output, Pipeline, Scene};

/// Events a second.
const RATE: u32 = 4_000;
/// Longest wait for a load.
const LIMIT: Duration = Duration::from_mins(3);

fn load(scene: &Scene, n: u64, seconds: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(seconds))
        .option("--connections", 32)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
}

#[test]
fn an_input_put_back_to_an_older_copy_is_read_from_its_earliest_record() {
    let scene = Scene::begin();
    let mut pipeline = Pipeline::new(&scene, Output::Primary);
    pipeline.tapi.configure("TAPI_KAFKA_PIN", "secondary");
    pipeline.begin(&scene, 1);
    let loads = [load(&scene, 0, 2), load(&scene, 1, 2), load(&scene, 2, 6)];
    let (data, copy) = (pipeline.kafka.secondary.data(), scene.folder().join("copy"));

    loads[0].start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.caught_up();
    pipeline.kafka.secondary.stop();
    mirror(&data, &copy);
    pipeline.kafka.secondary.start();
    loads[1].start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.caught_up();
    assert!(pipeline.workers[0].stop().success());

    pipeline.kafka.secondary.kill();
    mirror(&copy, &data);
    // Twice, so that the leader is not by chance of the epoch that it had when the lost records were appended.
    pipeline.kafka.secondary.start();
    pipeline.kafka.secondary.kill();
    pipeline.kafka.secondary.start();
    loads[2].start_at(pipeline.tapi.ingest).succeed(LIMIT);
    pipeline.tapi.drained();

    pipeline.workers[0].start();
    let verdict = pipeline.verify(&scene, &loads);
    scene.say(format_args!("{} records in both clusters: {verdict}", pipeline.records()));
    assert!(pipeline.workers[0].printed().contains("the input was cut"), "{}", pipeline.workers[0].printed());
    pipeline.stop();
}

/// Makes a folder what another one is.
fn mirror(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "{status}");
}
