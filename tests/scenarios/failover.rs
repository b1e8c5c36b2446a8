//! Goal: an outage of either cluster, or of both, loses no acknowledged event and is not felt by those who post.
//! Fault: the primary frozen, killed with -9, both killed; partition counts that differ; both clusters the same; records
//! that are too large, a topic that is missing.
//! Oracle: both clusters' `events` read to their ends, each id in its partition, one copy of each given to
//! `loadtest verify`; the time of the first acknowledgement from the other cluster.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::Rng as _;
use tests::load::{self, Load};
use tests::{Cluster, Kafka, Scene, Tapi, http, topic, wait};
use wire::partition::partition_of;
use wire::topic::{EVENTS, EVENTS_REJECTED};
use wire::{MessageId, PartitionCount};

const PARTITIONS: u32 = 8;
const RATE: u32 = 20_000;
const ACKNOWLEDGED: &str = "tapi_forward_records_total";
const PRIMARY: &str = "cluster=\"primary\"";
const SECONDARY: &str = "cluster=\"secondary\"";
/// From the freeze to the first acknowledgement of the secondary: the stall limit is 1 s.
const FROZEN_MAX: Duration = Duration::from_secs(2);
/// The same from a kill, which connections tell.
const KILLED_MAX: Duration = Duration::from_millis(500);
/// Longest wait for a figure to move.
const MOVE_LIMIT: Duration = Duration::from_secs(40);

fn clusters(scene: &Scene) -> Kafka {
    let kafka = Kafka::start(scene);
    for cluster in [&kafka.primary, &kafka.secondary] {
        cluster.create_topics(&[EVENTS, EVENTS_REJECTED], PARTITIONS).expect("topics");
    }
    kafka
}

fn tapi(scene: &Scene, kafka: &Kafka) -> Tapi {
    // The pause before a cluster is tried again is half a minute by default: too long to watch.
    Tapi::new(scene, kafka).set("TAPI_KAFKA_BREAKER_PAUSE_MS", 3_000)
}

fn load(scene: &Scene, n: u64, seconds: u64) -> Load {
    Load::new(scene, n, RATE, Duration::from_secs(seconds))
        .option("--connections", 64)
        .option("--events-per-request", 10)
        .option("--event-bytes", 500)
}

/// Waits until a cluster has acknowledged more than `before`; gives how long that took.
fn acknowledges(tapi: &Tapi, cluster: &str, before: f64) -> Duration {
    let begun = Instant::now();
    wait::until("the cluster acknowledges", MOVE_LIMIT, || {
        (tapi.metrics().ok()?.sum_where(ACKNOWLEDGED, cluster)? > before).then_some(())
    });
    begun.elapsed()
}

/// One copy of every event that lies in a cluster, as a folder of output; and how many records there are.
fn output(scene: &Scene, kafka: &Kafka) -> (PathBuf, usize) {
    let folder = scene.folder().join("output");
    fs::create_dir_all(&folder).expect("a folder");
    let mut file = BufWriter::new(File::create(folder.join("events.ndjson")).expect("a file"));
    let count = PartitionCount::try_new(PARTITIONS).expect("a count");
    let (mut seen, mut records) = (HashSet::new(), 0);
    for cluster in [&kafka.primary, &kafka.secondary] {
        topic::read(cluster.address, EVENTS, |partition, key, value| {
            let id = MessageId::try_new(key).expect("a message id");
            assert_eq!(partition, partition_of(id, count), "{key:?} is in the wrong partition");
            records += 1;
            if seen.insert(key.to_vec()) {
                file.write_all(value).and_then(|()| file.write_all(b"\n")).expect("written");
            }
        });
    }
    file.flush().expect("written");
    (folder, records)
}

/// Nothing acknowledged is missing, nothing else is there.
fn judge(scene: &Scene, kafka: &Kafka, tapi: &Tapi, loads: &[Load]) {
    tapi.drained();
    let (folder, records) = output(scene, kafka);
    let verdict = load::verify_at(scene, tapi.admin, &folder, loads, 0.0);
    let copies = records as u64 - verdict.lines;
    scene.say(format_args!("{records} records in both clusters, {copies} of them second copies: {verdict}"));
}

/// p99 of the answers, milliseconds, and requests that were not acknowledged at their first sending.
fn latency(load: &Load) -> (f64, u64) {
    let report = load.report();
    let p99 = report["latency"]["p99_ms"].as_f64().unwrap_or_else(|| panic!("no p99 in {report}"));
    let count = |name: &str| report["requests"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}"));
    (p99, count("total") - count("acknowledged") + count("retries") + count("not_started"))
}

#[test]
#[ignore = "minutes, and times that need a machine to itself: make chaos"]
fn a_frozen_primary_is_left_within_two_seconds_and_used_again_when_it_thaws() {
    let scene = Scene::begin();
    let mut kafka = clusters(&scene);
    let mut tapi = tapi(&scene, &kafka);
    tapi.start();
    let load = load(&scene, 0, 15);
    let mut client = load.start_at(tapi.ingest);
    acknowledges(&tapi, PRIMARY, f64::from(RATE));

    let before = tapi.figure(ACKNOWLEDGED, SECONDARY);
    kafka.primary.freeze();
    let left = acknowledges(&tapi, SECONDARY, before);
    kafka.primary.thaw();
    let before = tapi.figure(ACKNOWLEDGED, PRIMARY);
    let back = acknowledges(&tapi, PRIMARY, before + 100.0);
    client.succeed(MOVE_LIMIT);
    let (p99_ms, bad) = latency(&load);
    scene.say(format_args!(
        "first acknowledgement of the secondary {left:?} after the freeze, of the primary {back:?} after that; p99 {p99_ms} ms"
    ));
    assert!(left < FROZEN_MAX, "{left:?}");
    assert_eq!(bad, 0, "requests that were not acknowledged");
    assert!(http::get(tapi.admin, "/").expect("a page").text().contains("records go to"), "the status page");
    judge(&scene, &kafka, &tapi, &[load]);
    assert!(tapi.stop().success());
}

#[test]
#[ignore = "minutes, and times that need a machine to itself: make chaos"]
fn a_killed_primary_is_left_within_half_a_second_and_used_again_when_it_is_back() {
    let scene = Scene::begin();
    let mut kafka = clusters(&scene);
    let mut tapi = tapi(&scene, &kafka);
    tapi.start();
    let first = load(&scene, 0, 6);
    let mut client = first.start_at(tapi.ingest);
    acknowledges(&tapi, PRIMARY, f64::from(RATE));

    let before = tapi.figure(ACKNOWLEDGED, SECONDARY);
    kafka.primary.kill();
    let left = acknowledges(&tapi, SECONDARY, before);
    client.succeed(MOVE_LIMIT);
    assert!(left < KILLED_MAX, "{left:?}");
    assert_eq!(latency(&first).1, 0, "requests that were not acknowledged");

    // kill -9 of tapi while the primary is away: it starts with one dead cluster, and finds it when it returns.
    tapi.kill();
    tapi.start();
    kafka.primary.start();
    let second = load(&scene, 1, 8);
    let mut client = second.start_at(tapi.ingest);
    let back = acknowledges(&tapi, PRIMARY, 100.0);
    client.succeed(MOVE_LIMIT);
    scene.say(format_args!(
        "first acknowledgement of the secondary {left:?} after the kill, of the primary {back:?} after the load went on"
    ));
    judge(&scene, &kafka, &tapi, &[first, second]);
}

#[test]
#[ignore = "minutes, and times that need a machine to itself: make chaos"]
fn with_both_clusters_down_the_buffer_grows_and_drains_when_one_is_back() {
    let scene = Scene::begin();
    let mut kafka = clusters(&scene);
    // The pause before a cluster is tried again is the default, half a minute: it is not waited for.
    let mut tapi = Tapi::new(&scene, &kafka);
    tapi.start();
    let load = load(&scene, 0, 10);
    let mut client = load.start_at(tapi.ingest);
    acknowledges(&tapi, "", f64::from(RATE));
    kafka.primary.kill();
    kafka.secondary.kill();
    wait::until("a backlog", MOVE_LIMIT, || {
        (tapi.metrics().ok()?.sum("local_buffer_backlog_records")? > 3.0 * f64::from(RATE)).then_some(())
    });
    assert_eq!(http::get(tapi.admin, "/readyz").expect("an answer").status, 200, "the buffer is there for that");
    client.succeed(MOVE_LIMIT);
    assert_eq!(latency(&load).1, 0, "requests that were not acknowledged");
    let acknowledged = tapi.figure(ACKNOWLEDGED, PRIMARY);
    // The primary was left for the secondary, which now holds everything and is dead as well.
    kafka.primary.start();
    let begun = Instant::now();
    wait::until("records flow", MOVE_LIMIT, || {
        (tapi.metrics().ok()?.sum_where(ACKNOWLEDGED, PRIMARY)? > acknowledged).then_some(())
    });
    let flow = begun.elapsed();
    let (begun, backlog) = (Instant::now(), tapi.figure("local_buffer_backlog_records", ""));
    tapi.drained();
    let rate = backlog / begun.elapsed().as_secs_f64();
    scene.say(format_args!("records flow {flow:?} after the primary answers, and drain at {rate:.0}/s"));
    kafka.secondary.start();
    judge(&scene, &kafka, &tapi, &[load]);
}

#[test]
#[ignore = "minutes, and times that need a machine to itself: make chaos"]
fn an_operators_pin_moves_the_traffic_and_sigterm_drains_it() {
    let scene = Scene::begin();
    let kafka = clusters(&scene);
    let mut tapi = tapi(&scene, &kafka);
    tapi.start();
    // Long enough for any pause of a breaker; the stop ends it.
    let load = Load::new(&scene, 0, 5_000, MOVE_LIMIT)
        .option("--connections", 64)
        .option("--events-per-request", 10)
        .retrying(Duration::ZERO);
    let mut client = load.start_at(tapi.ingest);
    acknowledges(&tapi, PRIMARY, 1000.0);
    let post = |path: &str| http::post(tapi.admin, path, "", b"").expect("an answer");
    assert_eq!(post("/kafka/pin?cluster=secondary").status, 200);
    acknowledges(&tapi, SECONDARY, 1000.0);
    let before = tapi.figure(ACKNOWLEDGED, PRIMARY);
    assert_eq!(post("/kafka/release").status, 200);
    acknowledges(&tapi, PRIMARY, before + 1000.0);
    assert!(tapi.stop().success());
    client.wait(MOVE_LIMIT * 2);
    // What it had acknowledged lies in the clusters now; it starts again only to be asked for its backlog.
    let (_, records) = output(&scene, &kafka);
    tapi.start();
    assert!(tapi.figure("local_buffer_backlog_records", "") < 1.0, "SIGTERM drains");
    let (folder, again) = output(&scene, &kafka);
    assert_eq!(records, again, "nothing was left to send");
    load::verify_at(&scene, tapi.admin, &folder, &[load], 1.0);
}

#[test]
fn records_that_no_cluster_takes_are_set_aside_and_hold_up_nobody() {
    let scene = Scene::begin();
    let small = |name| Cluster::new(&scene, name).set("message.max.bytes", 4_000);
    let mut kafka = Kafka { primary: small("primary"), secondary: small("secondary") };
    for cluster in [&mut kafka.primary, &mut kafka.secondary] {
        cluster.launch();
    }
    for cluster in [&mut kafka.primary, &mut kafka.secondary] {
        cluster.answered();
        // No topic for what is set aside.
        cluster.create_topics(&[EVENTS], PARTITIONS).expect("topics");
    }
    let mut tapi = tapi(&scene, &kafka);
    tapi.start();
    let event = |id: usize, filling: &str| {
        format!(r#"{{"type":"track","userId":"u","event":"e","messageId":"m-{id}","properties":{{"p":"{filling}"}}}}"#)
    };
    // Letters that do not compress, so that a request of many records is refused although each of them is fit.
    let mut rng = scene.rng();
    let mut noise = |count| (0..count).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect::<String>();
    let mut events: Vec<String> = (0..200).map(|id| event(id, &noise(500))).collect();
    events.push(event(200, &noise(10_000)));
    events.push(r#"{"type":"track","messageId":"m-201"}"#.into());
    let body = format!(r#"{{"batch":[{}]}}"#, events.join(","));
    let answer = http::post(tapi.ingest, "/v1/batch", http::BASIC_AUTH, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    tapi.drained();
    let quarantined = tapi.figure("tapi_forward_quarantined_total", "");
    assert!((quarantined - 2.0).abs() < 0.5, "the large one and the bad one, not {quarantined}");
    let mut seen = HashSet::new();
    for cluster in [&kafka.primary, &kafka.secondary] {
        topic::read(cluster.address, EVENTS, |_, key, _| {
            seen.insert(String::from_utf8(key.to_vec()).expect("text"));
        });
    }
    let missing: Vec<_> = (0..200).map(|id| format!("m-{id}")).filter(|id| !seen.remove(id)).collect();
    assert!(missing.is_empty() && seen.is_empty(), "missing {missing:?}, foreign {seen:?}");
    let refused = tapi.figure("tapi_forward_faults_total", "fault=\"record\"");
    scene.say(format_args!("{refused} refusals of records, 200 of 202 events out, 2 set aside"));
    assert!(refused > 2.0, "some fit ones were refused with others, and tried alone");
}

#[test]
fn clusters_that_must_not_be_used_together_are_refused_by_name() {
    let scene = Scene::begin();
    let kafka = Kafka::start(&scene);
    kafka.primary.create_topics(&[EVENTS, EVENTS_REJECTED], 8).expect("topics");
    kafka.secondary.create_topics(&[EVENTS], 6).expect("topics");

    let mut wrong = Tapi::new(&scene, &kafka);
    assert_eq!(wrong.refuses().code(), Some(1));
    let said = wrong.printed();
    assert!(said.contains("has 8 partitions, that of the other cluster 6"), "{said}");

    // "localhost" and "127.0.0.1" are one cluster.
    let again = format!("localhost:{}", kafka.primary.address.port());
    let mut same = Tapi::new(&scene, &kafka).set("TAPI_KAFKA_SECONDARY", again);
    assert_eq!(same.refuses().code(), Some(1));
    assert!(same.printed().contains("are the same cluster"), "{}", same.printed());

    // Alone, each of them could be used; the one that was there first is remembered.
    let mut alone = Tapi::new(&scene, &kafka).set("TAPI_KAFKA_SECONDARY", "");
    alone.start();
    let event = r#"{"userId":"u","event":"e","messageId":"m-1"}"#;
    let answer = http::post(alone.ingest, "/v1/track", http::BASIC_AUTH, event.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200);
    alone.drained();
    let mut seen = Vec::new();
    topic::read(kafka.primary.address, EVENTS, |_, key, _| seen.push(key.to_vec()));
    assert_eq!(seen, [b"m-1"]);

    let pin = |path: &str| http::post(alone.admin, path, "", b"").expect("an answer").status;
    assert_eq!([pin("/kafka/pin?cluster=primary"), pin("/kafka/release")], [200, 200]);
    assert_eq!([pin("/kafka/pin?cluster=secondary"), pin("/kafka/pin")], [400, 400]);
    assert!(alone.stop().success());

    let mut changed = alone.set("TAPI_KAFKA_PRIMARY", kafka.secondary.address);
    assert_eq!(changed.refuses().code(), Some(1));
    let said = changed.printed();
    assert!(said.contains("has 6 partitions, but the data directory has always used 8"), "{said}");
}
