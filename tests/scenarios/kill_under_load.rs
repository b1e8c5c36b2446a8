//! Goal: nothing acknowledged is lost and nothing comes out twice, whatever moment the process dies at.
//! Fault: `kill -9` at a random moment under load, or during the start and recovery that follow, again and again.
//! Oracle: `loadtest verify` over the ledgers of all rounds, payload checksums included; its clients retry with the same
//! ids, so that what was stored before the kill comes again after it.

use std::thread;
use std::time::Duration;

use rand::Rng as _;
use tests::load::{self, Load};
use tests::{Scene, Turnstile, chaos};

/// Events a second; enough for many group commits between any two instants, little enough for two cores.
const RATE: u32 = 8_000;
/// Load of one round; the kills fall into it.
const ROUND: Duration = Duration::from_millis(1_500);
/// A start takes about this long; one in three is killed within it.
const START: Duration = Duration::from_millis(300);
/// Outlasts every outage that a round makes.
const RETRY: Duration = Duration::from_mins(1);

#[test]
fn kills_at_random_moments_lose_nothing_and_double_nothing() {
    let scene = Scene::begin();
    // Small files and an early seal, so that rolling, recycling and sealing fall under the kills too.
    let server = Turnstile::new(&scene)
        .set("TURNSTILE_BUFFER_SEGMENT_BYTES", 1 << 20)
        .set("TURNSTILE_OUTPUT_FILE_BYTES_MAX", 8 << 20)
        .set("TURNSTILE_DEDUP_OPEN_DIGESTS_MAX", 65_536);
    rounds(&scene, server, if chaos() { 100 } else { 10 });
}

#[test]
fn kills_with_small_single_requests_lose_nothing_and_double_nothing() {
    let scene = Scene::begin();
    let server = Turnstile::new(&scene);
    let shape =
        |load: Load| load.option("--shape", "single").option("--connections", 128).option("--without-message-id", 0.05);
    rounds_shaped(&scene, server, if chaos() { 50 } else { 4 }, shape);
}

fn rounds(scene: &Scene, server: Turnstile, rounds: u64) {
    rounds_shaped(scene, server, rounds, |load| {
        load.option("--shape", "mixed").option("--connections", 32).option("--gzip", 0.2)
    });
}

fn rounds_shaped(scene: &Scene, mut server: Turnstile, rounds: u64, shape: impl Fn(Load) -> Load) {
    let mut rng = scene.rng();
    let mut loads = Vec::new();
    let (mut kills_in_start, mut retries, mut adopted) = (0, 0, 0.0);
    server.start();
    for round in 0..rounds {
        let load = shape(Load::new(scene, round, RATE, ROUND).option("--duplicates", 0.02).retrying(RETRY));
        let mut client = load.start(&server);
        // The fault is a random instant: this is the one place where time is waited for.
        thread::sleep(rng.random_range(Duration::ZERO..ROUND));
        server.kill();
        while rng.random_ratio(1, 3) {
            server.launch();
            thread::sleep(rng.random_range(Duration::ZERO..START));
            server.kill();
            kills_in_start += 1;
        }
        server.start();
        client.succeed(RETRY * 2);
        retries += load.report()["requests"]["retries"].as_u64().expect("a count of retries");
        adopted += server.metrics().expect("the admin port").sum("turnstile_adopted_lines_total").expect("a counter");
        loads.push(load);
    }
    assert!(retries > 0, "no client noticed any of the kills");
    let verdict = load::verify(scene, &server, &loads, 0.0);
    scene.say(format_args!(
        "{rounds} kills under load, {kills_in_start} more during a start, {retries} retries, {adopted} lines adopted: {verdict}"
    ));
}
