//! The index and the changelog, made again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use dedup_worker::worker::spec::transactional_id;
use kafka::Headers;
use kafka::{Cluster, Fenced, Kind, Outgoing};
use rustix::process::Signal;
use service::Properties;
use wire::changelog::{
    Chain, Checkpoint, Genesis, Link, Moved, Output, checksum_of, encode_batch, encode_checkpoint, encode_genesis,
};
use wire::topic::EVENTS_INDEX;
use wire::{Digest, DigestSeed, LaneCount, Window};

use super::brokers::LANES;
use super::events::{SOURCE, id, now_ms};
use super::scene::Scene;
use super::worker::Worker;

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
    assert!(verified.contains("4000 identities of 4 lanes compared, 0 differences"), "{verified}");
    let worker = scene.run("one");
    scene.primary.produce(0..5_000);
    output.wait_for(5_000, LIMIT);
    output.assert_each_once(5_000);
    worker.stop();
}

/// Writes records to a lane's changelog, and commits them.
pub(crate) fn write(scene: &Scene, lane: u32, records: impl IntoIterator<Item = Vec<u8>>) {
    let cluster = Cluster::new("test", "output", &scene.brokers.primary.address, Properties::default());
    let mut producer = Fenced::take(&cluster, &transactional_id(lane), Duration::from_secs(10)).unwrap();
    producer.begin().unwrap();
    for value in records {
        let (kind, topic, headers) = (Kind::Changelog, c"events.index", Headers::These(&[]));
        producer.send([Outgoing { kind, topic, partition: Some(lane), key: &[], value: &value, headers }]).unwrap();
    }
    drop(producer.commit().unwrap());
}

fn genesis(created_ms: i64) -> Genesis {
    let (lanes, seed) = (LaneCount::try_new(LANES).unwrap(), DigestSeed(1));
    Genesis { lanes, seed, window: Window::default(), created_ms }
}

/// Digests of a batch of [`a_changelog`], and its batches.
const BATCH: u32 = 20_000;
const BATCHES: u32 = 30;
/// Where a part of the index is sealed, and so the batches of a part.
const SEALED_AT: u32 = 65_536;
const BATCHES_A_RUN: u32 = SEALED_AT.div_ceil(BATCH);

/// Every lane's changelog, whole, each in one transaction.
fn a_changelog(scene: &Scene) {
    let clock_ms = now_ms();
    let (genesis, bucket) = (genesis(clock_ms), Window::default().at(clock_ms));
    for lane in 0..LANES {
        // As good as random, as digests are.
        let digest =
            |number: u32| Digest(u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let (mut chain, mut records) = (Chain::default(), Vec::new());
        let mut append = |encode: &dyn Fn(Chain, &mut Vec<u8>)| {
            let mut record = Vec::new();
            encode(chain, &mut record);
            let end = records.len() as u64 + 1;
            chain.before = Some(Link { end, checksum: checksum_of(&record) });
            chain.checkpoint = Some(1);
            records.push(record);
        };
        append(&|chain, record| encode_genesis(record, lane, chain, &genesis));
        for number in 0..BATCHES {
            let first = (lane * BATCHES + number) * BATCH;
            let entries: Vec<_> = (first..first + BATCH).map(|number| (digest(number), bucket)).collect();
            let none = Moved { positions: &[], is_all: false };
            append(&|chain, record| encode_batch(record, (lane, chain), clock_ms, none, Output::None, &entries));
        }
        let last = Checkpoint { genesis, positions: Vec::new(), clock_ms };
        append(&|chain, record| encode_checkpoint(record, lane, chain, &last));
        write(scene, lane, records);
    }
}

/// Parts of the index that have been sealed.
fn runs(data: &Path) -> u32 {
    let files = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let stores = files(data.to_owned()).map(|index| index.join("store"));
    stores.flat_map(files).filter(|file| file.extension().is_some_and(|end| end == "sst")).count() as u32
}

/// Fault: `kill -9` in the middle of a rebuild. It goes on with what it had sealed, which is all but the last part of
/// each lane that was under way.
#[test]
fn rebuild_goes_on_where_it_was_killed() {
    let scene = Scene::new();
    a_changelog(&scene);
    let data = scene.folder().join("one");
    let rebuild = || {
        let mut command = scene.command("one", &["rebuild"]);
        command.env("DEDUP_INDEX_OPEN_DIGESTS_MAX", SEALED_AT.to_string());
        command
    };
    let killed = Worker::start(rebuild(), &scene.folder().join("rebuild.log"));
    // A few milliseconds at a time, so that it cannot come to its end while nobody looks.
    let begun = Instant::now();
    while runs(&data) < 4 * LANES {
        assert!(begun.elapsed() < LIMIT, "nothing is sealed\n{}", killed.log());
        killed.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(3));
        killed.signal(Signal::STOP);
    }
    let sealed = runs(&data);
    killed.kill();
    // The newest part of each lane may not have been the store's yet.
    let kept = (sealed - LANES) * BATCHES_A_RUN;

    let output = rebuild().output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("going on with a rebuild that was interrupted"), "{said}");
    let replayed: u32 = said.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
    let records = LANES * (BATCHES + 2);
    // The last record of each lane that is kept is read again: it proves that this is the same changelog.
    assert!(replayed <= records - kept + LANES, "{replayed} of {records}, although {sealed} runs were sealed");
    // None was larger than it may be, so no more than that could be lost of a lane.
    assert!(runs(&data) >= LANES * (BATCHES / BATCHES_A_RUN), "{} runs", runs(&data));

    let identities = LANES * BATCHES * BATCH;
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains(&format!("{identities} identities of 4 lanes compared, 0 differences")), "{verified}");
    let anew = scene.ask("one", &["rebuild"]).unwrap();
    assert!(
        anew.contains(&format!("{records} records")) && anew.contains(&format!("{identities} identities")),
        "{anew}"
    );
}

#[test]
fn a_changelog_that_is_gone_is_made_again_from_the_output() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    output.wait_for(3_000, LIMIT);
    worker.stop();
    for lane in 0..LANES {
        scene.brokers.primary.empty(EVENTS_INDEX, lane);
    }
    scene.refuses("one", "rebuild --from events.deduped");
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
