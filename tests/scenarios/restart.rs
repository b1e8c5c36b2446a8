//! Goal: a restart is invisible: what was accepted is there, and what was seen stays seen.
//! Fault: an orderly stop and a start; `kill -9` and a start; then the same events sent once more, with the same ids.
//! Oracle: `loadtest verify` over both ledgers, and the output's bytes, which the second sending must not change.

use std::time::Duration;

use tests::load::{self, Load};
use tests::{Scene, Turnstile, output};

const RATE: u32 = 10_000;
const DURATION: Duration = Duration::from_secs(3);

#[test]
fn duplicates_across_a_stop_and_a_start_do_not_come_out() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    repeated_after(&scene, &mut server, |server| {
        let status = server.stop();
        assert!(status.success(), "an orderly stop ended with {status}");
    });
}

#[test]
fn duplicates_across_a_kill_and_a_start_do_not_come_out() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    repeated_after(&scene, &mut server, Turnstile::kill);
}

#[test]
fn a_server_started_three_times_over_an_empty_folder_and_once_over_a_full_one_serves() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    for _ in 0..3 {
        server.start();
        assert!(server.stop().success());
    }
    server.start();
    let load = Load::new(&scene, 0, RATE, Duration::from_secs(1));
    load.run(&server);
    assert!(server.stop().success());
    server.start();
    load::verify(&scene, &server, &[load], 0.0);
}

fn repeated_after(scene: &Scene, server: &mut Turnstile, end: impl FnOnce(&mut Turnstile)) {
    server.start();
    let first = Load::new(scene, 0, RATE, DURATION).option("--connections", 32).option("--events-per-request", 20);
    first.run(server);
    load::verify(scene, server, std::slice::from_ref(&first), 0.0);
    let bytes_before = output::bytes(&server.deduped());

    end(server);
    server.start();
    let second = first.again("again");
    second.run(server);
    let verdict = load::verify(scene, server, &[first, second], 0.0);
    let bytes_after = output::bytes(&server.deduped());
    assert!(bytes_before > 0);
    assert_eq!(bytes_after, bytes_before, "events that came out before the restart came out again");
    scene.say(format_args!("{bytes_after} bytes of output before and after: {verdict}"));
}
