//! What the changelog says, and who makes of it what: cut back, made anew, made again and killed on the way.

use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

use changelog::{Log as _, Placed, Start};
use dedup::{Index, Options};
use dedup_worker::worker::spec::{index_dir, spec};
use kafka::{Cluster, Probe, Watermarks};
use ownership::{Log, Reading, never};
use service::Properties;
use wire::changelog::{Chain, Framed, Moved, Output, Record, encode_batch};
use wire::topic::EVENTS_INDEX;
use wire::{Bucket, Digest};

use super::brokers::LANES;
use super::events::{SOURCE, id, of_lane};
use super::scene::{REFUSED_BY_LOG, Scene};

const LIMIT: Duration = Duration::from_secs(50);

fn output_cluster(scene: &Scene) -> Cluster {
    Cluster::new("test", "output", &scene.brokers.primary.address, Properties::default())
}

/// Cut back to the middle: who has an index goes on with it, who has none would publish again, and is refused. The same
/// under a worker at work.
#[test]
fn a_changelog_cut_back_to_the_middle_is_refused_to_whoever_has_no_index() {
    let scene = Scene::new();
    let mut output = scene.output();
    let small = [("DEDUP_BATCH_RECORDS_MAX", "100")];
    let worker = scene.run_with("one", &small);
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    worker.stop();
    // A second takeover, so that a checkpoint lies in what is left.
    let worker = scene.run_with("one", &small);
    scene.secondary.produce(1_000..3_000);
    output.wait_for(3_000, LIMIT);
    for lane in 0..LANES {
        let (low, high) = scene.brokers.primary.ends(EVENTS_INDEX, lane);
        let middle = rdkafka::Offset::Offset(u64::midpoint(low, high).cast_signed());
        scene.brokers.primary.cut(EVENTS_INDEX, lane, middle);
    }
    scene.primary.produce(2_000..4_000);
    output.wait_for(4_000, LIMIT);
    worker.stop();
    for _ in 0..2 {
        // Twice: what a refused one leaves must not be taken for proof.
        scene.refuses("another", "begins in the middle of the window");
        let refusal = scene.ask("another", &["rebuild"]).unwrap_err();
        assert!(refusal.contains("begins in the middle of the window"), "{refusal}");
    }
    let worker = scene.run_leaving("one", &[]);
    scene.secondary.produce(0..5_000);
    output.wait_for(5_000, LIMIT);
    worker.stop();
    scene.ask("another", &["rebuild", "--from", "events.deduped"]).unwrap();
    let worker = scene.run("another");
    scene.primary.produce(0..6_000);
    output.wait_for(6_000, LIMIT);
    output.assert_each_once(6_000);
    worker.stop();
}

/// The topic is deleted and made again under a worker that has nothing to commit and so would never notice by itself: it says
/// so all the same, nothing goes into the new one, nobody begins it, and the worker goes on when it is made again from the
/// output.
#[test]
fn a_changelog_made_anew_under_a_worker_is_refused() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    scene.brokers.primary.make_anew(&[EVENTS_INDEX]);
    worker.wait_for_metric(REFUSED_BY_LOG, |count| count == u64::from(LANES));
    worker.wait_for_log("events.index is another topic now");
    scene.secondary.produce(1_000..4_000);
    assert!(worker.log().contains("rebuild --from events.deduped"), "{}", worker.log());
    scene.ask("one", &["rebuild", "--from", "events.deduped"]).unwrap();
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    worker.stop();
}

/// At each of its commits: the mark behind the old changelog, the genesis, batches, the end, of one lane after the
/// other. Whoever comes meanwhile is refused, also when it has replayed what is there.
#[test]
fn a_rebuild_of_the_changelog_killed_at_any_commit_is_run_again() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    output.wait_for(3_000, LIMIT);
    worker.stop();
    let from_output = ["rebuild", "--from", "events.deduped"];
    for at in ["committed:1", "committed:2", "before-commit:4", "committed:6"] {
        let mut command = scene.command("one", &from_output);
        let output = command.env("DEDUP_CRASH_AT", at).output().unwrap();
        assert!(!output.status.success(), "{at}");
        // Nor may what a replay of it leaves be taken for the whole.
        let _ = scene.ask("another", &["rebuild"]).unwrap_err();
        for name in ["one", "another"] {
            scene.refuses(name, "rebuild --from events.deduped");
        }
    }
    let rebuilt = scene.ask("one", &from_output).unwrap();
    assert!(rebuilt.contains("3000 identities"), "{rebuilt}");
    let worker = scene.run("one");
    scene.secondary.produce(2_000..4_000);
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    worker.stop();
}

/// `lookup --show` finds the event in the partition that its batch went to; also when the changelog was made again later.
#[test]
fn lookup_shows_the_event() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_with("one", &[("DEDUP_BATCH_RECORDS_MAX", "50")]);
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    worker.stop();
    let shows_each = || {
        for number in [0, 777, 1_999] {
            let id = id(number);
            let said = scene.ask("one", &["lookup", "--show", SOURCE, &id]).unwrap();
            assert!(said.contains(&format!(r#"{{"messageId":"{id}","type":"track"}}"#)), "{said}");
            let (named, shown) = said.split_once(", under this key").expect(&said);
            let partition = named.rsplit_once("events.deduped ").unwrap().1;
            assert!(shown.contains(&format!("events.deduped {partition}, offset ")), "{said}");
        }
    };
    shows_each();
    scene.ask("one", &["rebuild", "--from", "events.deduped"]).unwrap();
    shows_each();
}

/// An index in which one batch was left out, and one of another changelog put in: `verify` names both.
#[test]
fn verify_names_what_is_missing_and_what_is_too_much() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_with("one", &[("DEDUP_BATCH_RECORDS_MAX", "50")]);
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let numbers: Vec<u64> = of_lane(0, 0).take(500).collect();
    scene.primary.produce(numbers);
    output.wait_for(500, LIMIT);
    worker.stop();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("500 identities of 4 lanes compared, 0 differences"), "{verified}");

    let (left_out, put_in) = plant(&scene, "one");
    let output = scene.command("one", &["verify"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let named = |digest: &&Digest| said.contains(&format!("{:032x}", digest.0));
    assert_eq!(said.matches("was never published").count(), put_in.len(), "{said}");
    assert_eq!(put_in.iter().filter(named).count(), put_in.len(), "{said}");
    // The first twenty of a lane are named, the others counted.
    assert_eq!(left_out.iter().filter(named).count(), 20 - put_in.len(), "{said}");
    assert!(said.contains("--all prints each"), "{said}");
    assert!(said.contains(&format!("{} differences", left_out.len() + put_in.len())), "{said}");
    let output = scene.command("one", &["verify", "--all"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let named = |digest: &&Digest| said.contains(&format!("{:032x}", digest.0));
    assert!(left_out.iter().chain(&put_in).all(|digest| named(&digest)), "{said}");
    // And the remedy that it names.
    scene.ask("one", &["rebuild"]).unwrap();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("0 differences"), "{verified}");
}

/// Makes lane 0's index anew without its second batch, and with seven identities that nobody ever sent. Returns
/// what is missing and what is too much.
fn plant(scene: &Scene, name: &str) -> (Vec<Digest>, Vec<Digest>) {
    let cluster = output_cluster(scene);
    let probe = Probe::new(&cluster, LIMIT).unwrap();
    let facts = probe.topic(EVENTS_INDEX).unwrap();
    let marks: Watermarks = probe.watermarks(EVENTS_INDEX, 0).unwrap();
    let spec = spec(cluster.clone(), String::new(), LIMIT, LIMIT, scene.folder().join(name));
    let mut changelog =
        Log { spec: &spec, facts: &facts, lane: 0, marks, reading: &Reading::default(), is_stopped: &never };
    let genesis = changelog::genesis::<_, Index>(&mut changelog).unwrap().unwrap();
    let dir = index_dir(&scene.folder().join(name), 0);
    fs::remove_dir_all(&dir).unwrap();
    let mut index = Index::open(&dir, &genesis, changelog.id(), &Options::default()).unwrap();
    let (mut batches, mut left_out) = (0, Vec::new());
    let foreign: Vec<_> = (1..=7).map(|number| (Digest(number << 64), Bucket(20_000))).collect();
    let read = changelog.read(Start::First, &mut |Placed { offset, next, .. }, bytes| {
        let Record::Batch(batch) = Framed::decode(bytes).unwrap().record else {
            index.advance(next, genesis.created_ms);
            return ControlFlow::Continue(());
        };
        batches += 1;
        let mut entries: Vec<_> = batch.entries.iter().collect();
        if batches == 2 {
            left_out = entries.drain(..).map(|(digest, _)| digest).collect();
            entries.clone_from(&foreign);
        }
        let mut planted = Vec::new();
        let moved = Moved { positions: &batch.positions, is_all: batch.has_all_positions };
        encode_batch(&mut planted, (0, Chain::default()), batch.clock_ms, moved, Output::None, &entries);
        let Record::Batch(planted) = Framed::decode(&planted).unwrap().record else { panic!("a batch") };
        index.replay(offset, next, &planted).unwrap();
        ControlFlow::Continue(())
    });
    read.unwrap();
    index.seal().unwrap();
    (left_out, foreign.into_iter().map(|(digest, _)| digest).collect())
}
