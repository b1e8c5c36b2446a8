//! Goal: what cannot be sent, or must not, is refused by name and holds up nothing else.
//! Fault: records that are too large for the brokers, a topic that is missing, fewer partitions than lanes, both clusters
//! the same, another number of lanes than before.
//! Oracle: both clusters' `events` read to their ends; the quarantine's count; exit codes and what was printed.

use std::collections::HashSet;

use rand::Rng as _;
use tests::{Kafka, LANES, Scene, Tapi, http, topic};
use wire::topic::{EVENTS, EVENTS_REJECTED};

#[test]
fn records_that_no_cluster_takes_are_set_aside_and_hold_up_nobody() {
    let scene = Scene::begin();
    let kafka = Kafka::shared();
    for cluster in [&kafka.primary, &kafka.secondary] {
        topic::make_anew(cluster.address, &[EVENTS], &[("max.message.bytes", "4000")]);
        // No topic for what is set aside.
        topic::delete(cluster.address, &[EVENTS_REJECTED]);
    }
    let mut tapi = Tapi::new(&scene, &kafka);
    tapi.start();
    let event = |id: usize, filling: &str| {
        format!(r#"{{"type":"track","userId":"u","event":"e","messageId":"m-{id}","properties":{{"p":"{filling}"}}}}"#)
    };
    // Letters that do not compress, so that a request of many records is too large although each of them is fit.
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
    assert!(
        refused < 4.0,
        "once with others and once alone by each cluster: no fit one was refused, requests are fitted"
    );
}

#[test]
fn clusters_that_must_not_be_used_together_are_refused_by_name() {
    let scene = Scene::begin();
    let kafka = Kafka::shared();
    topic::make_anew_of(kafka.secondary.address, EVENTS, LANES - 1);

    let mut wrong = Tapi::new(&scene, &kafka);
    assert_eq!(wrong.refuses().code(), Some(1));
    let said = wrong.printed();
    assert!(said.contains("has 3 partitions") && said.contains("4 lanes"), "{said}");

    // "localhost" and "127.0.0.1" are one cluster.
    let again = format!("localhost:{}", kafka.primary.address.port());
    let mut same = Tapi::new(&scene, &kafka).set("TAPI_KAFKA_SECONDARY", again);
    assert_eq!(same.refuses().code(), Some(1));
    assert!(same.printed().contains("are the same cluster"), "{}", same.printed());

    // The number of lanes is remembered with the first record that was acknowledged.
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

    let mut changed = alone.set("TAPI_KAFKA_LANES", 8);
    assert_eq!(changed.refuses().code(), Some(1));
    let said = changed.printed();
    assert!(said.contains("kafka.lanes says 8 lanes") && said.contains("says 4"), "both numbers: {said}");
}
