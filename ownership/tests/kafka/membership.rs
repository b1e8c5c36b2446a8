//! Fault: processes come, go and come back, under load.

use std::fs;
use std::time::{Duration, Instant};

use super::brokers::LANES;
use super::copier::{held, unfit};
use super::process::{Process, Start};
use super::scene::Scene;

/// What is logged of each takeover.
const TAKEN: &str = "the lane is taken over";
/// What is logged of each fault.
const FAULT: &str = "beginning again from the log";
/// What is logged of each rebalance.
const REBALANCED: [&str; 2] = ["the group gives this worker partitions", "the group takes partitions away"];
/// Longer than any test waits: nothing that happens comes from its end.
const LONG: Duration = Duration::from_mins(2);

fn rebalances(process: &Process) -> usize {
    REBALANCED.map(|text| process.said(text)).iter().sum()
}

/// Two processes with half of the lanes each.
fn share(scene: &Scene, first: Start<'_>, second: Start<'_>) -> [Process; 2] {
    let one = scene.start(first);
    one.wait_until_said(TAKEN, LANES as usize);
    let two = scene.start(second);
    two.wait_until_said(TAKEN, LANES as usize / 2);
    [one, two]
}

#[test]
fn who_comes_back_within_a_session_has_its_lanes_and_nobody_else_notices() {
    let mut scene = Scene::new();
    let named = |name| Start { name, session: LONG, ..Start::default() };
    let [mut one, two] = share(&scene, named("one"), named("two"));
    let before = rebalances(&two);
    for is_killed in [false, true, false] {
        scene.produce(2_000);
        if is_killed {
            one.kill();
        } else {
            one.stop();
        }
        scene.produce(400);
        one = scene.start(named("one"));
        one.wait_until_said(TAKEN, LANES as usize / 2);
        scene.assert_copied();
    }
    assert_eq!((rebalances(&two), two.said(TAKEN)), (before, LANES as usize / 2), "{}", two.log());
    assert_eq!((one.said(FAULT), two.said(FAULT)), (0, 0), "{}\n{}", one.log(), two.log());
}

/// No number is written by two, each lane is handed over while it is worked on, and that is no fault.
#[test]
fn who_joins_gets_its_share_from_who_is_at_work() {
    let mut scene = Scene::new();
    let one = scene.start(Start::default());
    one.wait_until_said(TAKEN, LANES as usize);
    scene.produce(8_000);
    let two = scene.start(Start { name: "two", ..Start::default() });
    two.wait_until_said(TAKEN, LANES as usize / 2);
    scene.produce(400);
    scene.assert_copied();
    one.wait_until_said("the lane is let go", LANES as usize / 2);
    assert_eq!((one.said(FAULT), two.said(FAULT)), (0, 0), "{}\n{}", one.log(), two.log());
    assert_eq!((one.said(TAKEN), two.said(TAKEN)), (LANES as usize, LANES as usize / 2));
}

#[test]
fn who_leaves_for_good_hands_its_lanes_over_at_once() {
    let mut scene = Scene::new();
    let leaving = |name| Start { name, session: LONG, leaves: true, ..Start::default() };
    let [mut one, mut two] = share(&scene, leaving("one"), leaving("two"));
    scene.produce(8_000);
    let begun = Instant::now();
    one.stop();
    two.wait_until_said(TAKEN, LANES as usize);
    println!("handed over after {:?}", begun.elapsed());
    scene.produce(400);
    scene.assert_copied();
    assert_eq!((one.said(FAULT), two.said(FAULT)), (0, 0), "{}\n{}", one.log(), two.log());
    // Nobody is left that could take them.
    let begun = Instant::now();
    two.stop();
    println!("the last one left after {:?}", begun.elapsed());
    // Nor is there a member that anybody waits for.
    let mut three = scene.start(leaving("three"));
    three.wait_until_said(TAKEN, LANES as usize);
    three.stop();
}

/// Its lanes are still being let go when it is told the second time.
#[test]
fn who_is_told_twice_to_stop_leaves_for_good() {
    let mut scene = Scene::new();
    let named = |name| Start { name, session: LONG, ..Start::default() };
    let [mut one, two] = share(&scene, named("one"), named("two"));
    let mark = held(&scene.folder_of("one"));
    fs::write(&mark, "").unwrap();
    scene.produce(400);
    one.terminate();
    one.wait_until_said("told to stop", 1);
    one.terminate();
    one.wait_until_said("told to leave", 1);
    fs::remove_file(&mark).unwrap();
    one.ends_well();
    two.wait_until_said(TAKEN, LANES as usize);
    scene.assert_copied();
    assert_eq!((one.said(FAULT), two.said(FAULT)), (0, 0), "{}\n{}", one.log(), two.log());
}

/// As with a copy of the folder, or a host that was cut off while its successor was started with its disk.
#[test]
fn who_lost_its_id_to_another_stops_at_once_and_comes_back_when_that_is_gone() {
    let mut scene = Scene::new();
    let one = scene.start(Start::default());
    one.wait_until_said(TAKEN, LANES as usize);
    scene.produce(4_000);
    let mut same = scene.start(Start::default());
    same.wait_until_said(TAKEN, LANES as usize);
    one.wait_until_said("its id was taken: another worker uses this data folder's id, or a copy of it", 1);
    scene.produce(400);
    scene.assert_copied();
    assert_eq!(same.said(FAULT), 0, "the one that came last is not disturbed\n{}", same.log());
    // It asks again, and goes on asking while the other one lives.
    one.wait_until_said("its id is still taken", 2);
    assert_eq!(same.said("its id was taken"), 0, "{}", same.log());
    same.stop();
    scene.produce(400);
    one.wait_until_said(TAKEN, 2 * LANES as usize);
    scene.assert_copied();
}

#[test]
fn who_cannot_run_any_lane_leaves_them_to_others_and_asks_again() {
    let mut scene = Scene::new();
    let mark = unfit(&scene.folder_of("one"));
    fs::create_dir_all(scene.folder_of("one")).unwrap();
    fs::write(&mark, "").unwrap();
    let one = scene.start(Start::default());
    one.wait_until_said("none of the lanes can run here", 1);
    let two = scene.start(Start { name: "two", ..Start::default() });
    scene.produce(400);
    scene.assert_copied();
    assert_eq!(one.said(TAKEN), 0, "{}", one.log());
    fs::remove_file(&mark).unwrap();
    one.wait_until_said("joining the group again", 1);
    one.wait_until_said(TAKEN, LANES as usize / 2);
    scene.produce(400);
    scene.assert_copied();
    assert_eq!((one.said(FAULT), two.said(FAULT)), (0, 0), "{}\n{}", one.log(), two.log());
}
