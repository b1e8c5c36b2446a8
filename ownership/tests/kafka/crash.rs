//! Fault: the process dies, at each step that makes a difference, between the commit and what follows it too.

use ownership::Step;

use super::process::Start;
use super::scene::Scene;

/// Each step, at its first pass and in the middle of batches: a takeover's steps come once a lane.
#[test]
fn killed_at_every_step_it_copies_each_number_once() {
    let mut scene = Scene::new();
    for step in Step::ALL {
        for pass in [1, 4] {
            scene.produce(200);
            let (at, group) = (format!("{}:{pass}", step.name()), format!("{}-{pass}", step.name()));
            scene.start(Start { group: &group, crash_at: &at, ..Start::default() }).wait();
        }
    }
    let _last = scene.start(Start::default());
    scene.assert_copied();
}

/// Two processes share the lanes; one dies under load, and the other one goes on where it was.
#[test]
fn a_lane_goes_on_in_another_process() {
    let mut scene = Scene::new();
    scene.produce(400);
    let [mut one, _two] = ["one", "two"].map(|name| scene.start(Start { name, ..Start::default() }));
    scene.assert_copied();
    scene.produce(2_000);
    one.kill();
    scene.produce(400);
    scene.assert_copied();
}
