//! The index and the changelog, made again.

use std::fs;
use std::time::Duration;

use dedup_worker::kafka::{Cluster, Kind, Outgoing, Producer};
use dedup_worker::worker::owner::transactional_id;
use kafka_producer::Headers;
use wire::changelog::{Genesis, OutputRange, encode_batch, encode_genesis};
use wire::topic::EVENTS_INDEX;
use wire::{Bucket, Digest, DigestSeed, PartitionCount, Window};

use super::brokers::PARTITIONS;
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

/// What one leaves that was killed in the middle of a partition: a genesis and a batch, and no checkpoint behind them.
fn half_a_rebuild(scene: &Scene, partition: u32) {
    let cluster = Cluster::new("output", &scene.brokers.primary.address, service::Properties::default());
    let producer = Producer::fence(&cluster, &transactional_id(partition), Duration::from_secs(10)).unwrap();
    let (partition_count, seed) = (PartitionCount::try_new(PARTITIONS).unwrap(), DigestSeed(1));
    let genesis = Genesis { partition_count, seed, window: Window::default(), created_ms: 0 };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    encode_genesis(&mut first, partition, &genesis);
    encode_batch(&mut second, partition, 0, &[], OutputRange::default(), &[(Digest(1), Bucket(1))]);
    for value in [&first, &second] {
        producer.begin().unwrap();
        let (kind, topic, headers) = (Kind::Changelog, c"events.index", Headers::These(&[]));
        producer.send([Outgoing { kind, topic, partition: Some(partition), key: &[], value, headers }]).unwrap();
        producer.commit().unwrap();
    }
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
    for partition in 0..PARTITIONS {
        half_a_rebuild(&scene, partition);
    }
    let refusal = scene.ask("one", &["run"]).unwrap_err();
    assert!(refusal.contains("was interrupted; run `dedup-worker rebuild --from events.deduped` again"), "{refusal}");
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
