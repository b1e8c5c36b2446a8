//! Fault: the process dies, at each step that makes a difference, between the commit and what follows it too.

use ownership::Step;

use super::scene::Scene;

/// Each step, at its first pass and in the middle of batches: a takeover's steps come once a lane.
#[test]
fn killed_at_every_step_it_copies_each_number_once() {
    let mut scene = Scene::new();
    for step in Step::ALL {
        for pass in [1, 4] {
            scene.produce(200);
            let (at, group) = (format!("{}:{pass}", step.name()), format!("{}-{pass}", step.name()));
            let mut child = scene.start(&group, &at);
            scene.wait_until_killed(&mut child);
        }
    }
    let mut child = scene.start("last", "");
    scene.assert_copied();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Two processes share the lanes; one dies under load, and the other one goes on where it was.
#[test]
fn a_lane_goes_on_in_another_process() {
    let mut scene = Scene::new();
    scene.produce(400);
    let mut children = [scene.start("two", ""), scene.start("two", "")];
    scene.assert_copied();
    scene.produce(2_000);
    children[0].kill().unwrap();
    children[0].wait().unwrap();
    scene.produce(400);
    scene.assert_copied();
    children[1].kill().unwrap();
    children[1].wait().unwrap();
}
