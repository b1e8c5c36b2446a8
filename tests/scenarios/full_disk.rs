//! Goal: a full disk is weather: the server says "later", stays alive, loses nothing and goes on when space returns.
//! Fault: the disk of all data is full; then only that of the output is, while the buffer takes on up to its bound.
//! Oracle: the answers (503 with `Retry-After`), the process, and `loadtest verify` after the space came back.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use tests::disk::SmallDisk;
use tests::http::Answer;
use tests::load::{self, Load};
use tests::{Scene, Turnstile, http, wait};

const MIB: u64 = 1 << 20;
/// Load that needs about twice the space that the ballast leaves.
const RATE: u32 = 6_000;
const DURATION: Duration = Duration::from_secs(8);
/// As large as a small batch, so that what is left of a nearly full buffer does not take it.
const PROBE_BYTES: usize = 8 * 1024;
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn a_full_disk_answers_later_and_recovers_when_space_returns() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene).set("TURNSTILE_BUFFER_SEGMENT_BYTES", 4 * MIB);
    let Some(disk) = SmallDisk::mount(&scene, server.data(), 512 * MIB) else { return };
    let ballast = disk.ballast(40 * MIB);
    full_and_free_again(&scene, &mut server, &ballast);
    scene.say(format_args!("{} MiB left at the end", disk.free_bytes() / MIB));
}

#[test]
fn a_full_output_disk_holds_events_in_the_buffer_until_space_returns() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene)
        .set("TURNSTILE_BUFFER_SEGMENT_BYTES", 4 * MIB)
        .set("TURNSTILE_BUFFER_BYTES_MAX", 24 * MIB);
    let Some(disk) = SmallDisk::mount(&scene, &server.deduped(), 512 * MIB) else { return };
    let ballast = disk.ballast(8 * MIB);
    full_and_free_again(&scene, &mut server, &ballast);
}

fn full_and_free_again(scene: &Scene, server: &mut Turnstile, ballast: &Path) {
    server.start();
    let load = Load::new(scene, 0, RATE, DURATION)
        .option("--connections", 16)
        .option("--events-per-request", 20)
        .retrying(Duration::from_secs(90));
    let mut client = load.start(server);

    let mut probes = 0_u32;
    let refusal: Answer = wait::until("the full disk is answered with 503", LIMIT, || {
        probes += 1;
        let answer = probe(server).ok()?;
        assert!([200, 503].contains(&answer.status), "a full disk was answered with {answer:?}");
        (answer.status == 503).then_some(answer)
    });
    let retry_after: u32 = refusal.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!((1..=60).contains(&retry_after), "Retry-After: {retry_after}");
    assert_eq!(refusal.json()["success"], false);
    assert!(server.alive(), "the server died of a full disk");
    assert_eq!(http::get(server.admin, "/healthz").expect("the admin port answers").status, 200);

    fs::remove_file(ballast).expect("the ballast");
    wait::until("the server takes events again", LIMIT, || (probe(server).ok()?.status == 200).then_some(()));
    client.succeed(Duration::from_mins(3));
    assert!(server.alive());
    let verdict = load::verify(scene, server, &[load], 0.0);
    scene.say(format_args!("503 at probe {probes}, Retry-After {retry_after}, then free again: {verdict}"));
}

/// Asks without leaving a trace in the output that is judged: a batch whose one event is bad is stored like any other,
/// and comes out among those set aside.
fn probe(server: &Turnstile) -> io::Result<Answer> {
    let body = format!("{{\"batch\":[{{\"type\":\"track\",\"padding\":\"{}\"}}]}}", "x".repeat(PROBE_BYTES));
    http::post(server.ingest, "/v1/batch", http::BASIC_AUTH, body.as_bytes())
}
