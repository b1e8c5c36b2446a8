//! Goal: an orderly stop loses no request in flight and leaves nothing behind that only a restart would bring out.
//! Fault: SIGTERM in the middle of full load, with clients that do not retry.
//! Oracle: exit code 0 within the deadline, and `loadtest verify` against the output while the server is still down.

use std::time::{Duration, Instant};

use tests::load::{self, Load};
use tests::{Scene, Turnstile, wait};

const RATE: u32 = 10_000;
const DURATION: Duration = Duration::from_secs(5);
/// Longer than any request in flight and the drain of what one second of load leaves.
const STOP_MAX: Duration = Duration::from_secs(20);
/// Most of the load finds nobody listening.
const UNANSWERED_MAX: f64 = 1.0;

#[test]
fn sigterm_under_load_answers_what_it_took_drains_and_exits_0() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    server.start();
    let load = Load::new(&scene, 0, RATE, DURATION)
        .option("--connections", 64)
        .option("--events-per-request", 5)
        .retrying(Duration::ZERO);
    let mut client = load.start(&server);
    wait::until("the load flows", DURATION, || {
        (server.metrics().ok()?.sum("tapi_events_total")? > f64::from(RATE)).then_some(())
    });

    let begun = Instant::now();
    let status = server.stop();
    let took = begun.elapsed();
    assert!(status.success(), "SIGTERM ended it with {status}");
    assert!(took < STOP_MAX, "stopping took {took:?}");
    client.wait(DURATION * 4);

    let verdict = load::verify(&scene, &server, std::slice::from_ref(&load), UNANSWERED_MAX);
    scene.say(format_args!("stopped in {took:?}; while it was down: {verdict}"));

    // What was refused by the closed door is no harm to what comes after.
    server.start();
    let next = Load::new(&scene, 1, RATE, Duration::from_secs(1));
    next.run(&server);
    load::verify(&scene, &server, &[load, next], UNANSWERED_MAX);
}
