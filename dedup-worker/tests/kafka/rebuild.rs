//! The index and the changelog, made again.

use std::fs;
use std::time::Duration;

use wire::topic::EVENTS_INDEX;

use super::events::{SOURCE, id};
use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);

#[test]
fn an_index_that_is_gone_is_made_again() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    output.wait_for(3_000, LIMIT);
    worker.stop();
    fs::remove_dir_all(scene.folder().join("one")).unwrap();
    let worker = scene.run("one");
    scene.secondary.produce(0..4_000);
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    worker.stop();

    // By command, and over one that lies.
    fs::remove_dir_all(scene.folder().join("one/index-00000/store")).unwrap();
    let rebuilt = scene.ask("one", &["rebuild"]).unwrap();
    assert!(rebuilt.contains("4000 identities"), "{rebuilt}");
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("4000 identities of 4 partitions compared, 0 differences"), "{verified}");
    let worker = scene.run("one");
    scene.primary.produce(0..5_000);
    output.wait_for(5_000, LIMIT);
    output.assert_each_once(5_000);
    worker.stop();
}

/// The mark of a rebuild that was killed: what has been sealed is kept.
#[test]
fn rebuild_goes_on_where_it_was_killed() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    output.wait_for(3_000, LIMIT);
    worker.stop();
    fs::write(scene.folder().join("one/rebuild-unfinished"), b"").unwrap();
    let rebuilt = scene.ask("one", &["rebuild"]).unwrap();
    assert!(rebuilt.contains("going on with a rebuild that was interrupted"), "{rebuilt}");
    // The last record of each partition is read again, for its positions, and no batch beside it.
    let records: u64 = rebuilt.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(records <= 4, "{rebuilt}");
    let anew = scene.ask("one", &["rebuild"]).unwrap();
    assert!(anew.contains("3000 identities"), "{anew}");
}

#[test]
fn a_changelog_that_is_gone_is_made_again_from_the_output() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    output.wait_for(3_000, LIMIT);
    worker.stop();
    for partition in 0..4 {
        scene.brokers.primary.empty(EVENTS_INDEX, partition);
    }
    let refusal = scene.ask("one", &["run"]).unwrap_err();
    assert!(refusal.contains("rebuild --from events.deduped"), "{refusal}");
    let rebuilt = scene.ask("one", &["rebuild", "--from", "events.deduped"]).unwrap();
    assert!(rebuilt.contains("3000 identities"), "{rebuilt}");
    let known = scene.ask("one", &["lookup", SOURCE, &id(7)]).unwrap();
    assert!(known.starts_with("known: the next event"), "{known}");
    // The inputs' positions are gone too: everything is read again, and nothing comes out again.
    let worker = scene.run("one");
    scene.secondary.produce(2_000..4_000);
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    worker.stop();
}
