//! Goal: somebody who tails the output may believe each complete line the moment it is there.
//! Fault: `kill -9` at random moments under load, between output, ledger, index and floor.
//! Oracle: a follower that read the files line by line all the while: no identity twice, nothing taken back, and in the
//! end exactly the lines that `loadtest verify` finds right.

use std::thread;
use std::time::Duration;

use rand::Rng as _;
use tests::follower::Follower;
use tests::load::{self, Load};
use tests::{Scene, Turnstile, chaos, output};

const RATE: u32 = 4_000;
const ROUND: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_mins(1);

#[test]
fn a_tail_reader_sees_each_event_once_through_kills() {
    let scene = Scene::begin();
    let mut rng = scene.rng();
    let mut server = Turnstile::new(&scene)
        .set("TURNSTILE_BUFFER_SEGMENT_BYTES", 1 << 20)
        .set("TURNSTILE_OUTPUT_FILE_BYTES_MAX", 4 << 20);
    let follower = Follower::start(server.deduped());
    let mut loads = Vec::new();
    let rounds = if chaos() { 50 } else { 8 };
    server.start();
    for round in 0..rounds {
        let load = Load::new(&scene, round, RATE, ROUND)
            .option("--connections", 16)
            .option("--events-per-request", 10)
            .option("--duplicates", 0.05)
            .retrying(RETRY);
        let mut client = load.start(&server);
        // The fault is a random instant: this is the one place where time is waited for.
        thread::sleep(rng.random_range(Duration::ZERO..ROUND));
        server.kill();
        server.start();
        client.succeed(RETRY * 2);
        loads.push(load);
    }
    let verdict = load::verify(&scene, &server, &loads, 0.0);
    let tail = follower.finish();
    assert!(tail.faults.is_empty(), "{} faults: {:?}", tail.faults.len(), &tail.faults[..tail.faults.len().min(10)]);
    let written = output::events(&server.deduped()).len() as u64;
    assert_eq!(tail.lines, written, "the follower read {} lines, the files hold {written}", tail.lines);
    scene.say(format_args!("{rounds} kills, {} lines followed, none twice, none taken back: {verdict}", tail.lines));
}
