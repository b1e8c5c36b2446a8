//! Fault: records that are no events, or look as no record should, in the middle of good ones, on both clusters.

use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, RECEIVED_AT_HEADER, SOURCE_HEADER};

use super::brokers::LANES;
use super::events::{Events, Output, SOURCE, now_ms};
use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);

fn headers() -> OwnedHeaders {
    let received = now_ms().to_string();
    OwnedHeaders::new()
        .insert(Header { key: SOURCE_HEADER, value: Some(SOURCE) })
        .insert(Header { key: RECEIVED_AT_HEADER, value: Some(&received) })
}

/// One of each kind, and how many there are. `name` keeps those of the two clusters apart.
fn poison(events: &Events, name: &str) -> u64 {
    let large = vec![b'x'; 1_030_000];
    let huge = || headers().insert(Header { key: "x", value: Some(&large[..1_020_000]) });
    let id = |kind: &str| format!("{name}-{kind}");
    let mut count = 0;
    // Where each key leads to, so that nothing is wrong with a record but what is meant to be.
    let place = |key: Option<&[u8]>| key.map_or(0, |key| events.place(key));
    let mut send = |key: Option<&[u8]>, value: Option<&[u8]>, headers: OwnedHeaders| {
        events.raw(place(key), key, value, headers);
        count += 1;
    };
    let value = Some(&b"{}"[..]);
    send(None, value, headers());
    send(None, None, OwnedHeaders::new());
    send(Some(b""), value, headers());
    send(Some(&large[..1_025]), value, headers());
    send(Some(&large[..999_000]), value, headers());
    for (kind, value, headers) in [
        ("tombstone", None, headers()),
        ("empty", Some(&b""[..]), headers()),
        ("no source", value, OwnedHeaders::new().insert(Header { key: RECEIVED_AT_HEADER, value: Some("1") })),
        ("null source", value, headers().insert(Header { key: SOURCE_HEADER, value: None::<&str> })),
        ("time", value, headers().insert(Header { key: RECEIVED_AT_HEADER, value: Some("yesterday") })),
        (
            "bytes for a time",
            value,
            headers().insert(Header { key: RECEIVED_AT_HEADER, value: Some(&b"\xff\xff"[..]) }),
        ),
        ("long source", value, headers().insert(Header { key: SOURCE_HEADER, value: Some(&large[..257]) })),
        ("giant header", value, huge()),
        ("giant value", Some(&large[..1_020_000]), headers()),
    ] {
        send(Some(id(kind).as_bytes()), value, headers);
    }
    // Any bytes are a messageId. These lie where their repeats would not.
    let stray = &b"\xff\xfe\x00\x80"[..];
    events.raw((place(Some(stray)) + 1) % LANES, Some(stray), value, headers());
    count += 1;
    events.flush();
    count
}

/// Batches of one to three records, so that poison stands alone, first and last in them.
#[test]
fn poison_among_good_records_is_set_aside_and_holds_nothing_up() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut poisoned = 0;
    for step in 0..3 {
        scene.primary.produce(step * 20..(step + 1) * 20);
        poisoned += poison(&scene.primary, "primary");
        scene.secondary.produce(step * 20 + 10..step * 20 + 25);
        poisoned += poison(&scene.secondary, "secondary");
    }
    // An event with one more header, whose name is no UTF-8, is an event.
    scene.primary.with_header_named(65, b"\xff\xfe");
    scene.secondary.with_header_named(66, b"\x80");
    scene.primary.flush();
    scene.secondary.flush();
    scene.primary.produce(67..100);
    for (name, records_max) in [("one", "1"), ("two", "2"), ("three", "3")] {
        let worker = scene.run_leaving(name, &[("DEDUP_BATCH_RECORDS_MAX", records_max)]);
        output.wait_for(100, LIMIT);
        if name == "one" {
            worker.wait_for_metric("dedup_rejected_records_total", |count| count == poisoned);
        } else {
            worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 100);
        }
        worker.stop();
        // Everything again, for a worker that knows only the changelog.
        scene.primary.produce(0..100);
    }
    output.assert_each_once(100);
    let mut rejected = Output::topic(&scene.brokers.primary, EVENTS_REJECTED);
    rejected.drain(Duration::from_secs(2));
    assert_eq!(u64::from(rejected.seen.values().sum::<u32>()), poisoned);
}

/// Records of the input that are larger than the topics of the output take, which are set to less than Kafka's default, and a
/// backlog whose batches are: what fits comes out, what does not is set aside, and nothing waits for it.
#[test]
fn what_the_output_does_not_take_is_set_aside_and_batches_become_as_small_as_they_must() {
    let scene = Scene::new();
    let mut output = scene.output();
    scene.brokers.primary.make_anew_with(&[EVENTS_DEDUPED], &[("max.message.bytes", "6000")]);
    scene.brokers.primary.make_anew_with(&[EVENTS_INDEX], &[("max.message.bytes", "2500")]);
    let noise: Vec<u8> = (0_u64..20_000).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    let large = |events: &Events, name: &str, bytes: usize| {
        let id = format!("{name}-{bytes}");
        events.raw(events.place(id.as_bytes()), Some(id.as_bytes()), Some(&noise[..bytes]), headers());
        events.flush();
    };
    scene.primary.produce(0..2_000);
    // The one is far too large, the other only just.
    large(&scene.primary, "far", 8_000);
    large(&scene.secondary, "just", 5_480);
    scene.secondary.produce(1_000..4_000);
    let worker = scene.run("one");
    output.wait_for(4_000, LIMIT);
    worker.wait_for_metric("dedup_rejected_records_total", |count| count == 2);
    // And while it runs.
    large(&scene.secondary, "again", 20_000);
    scene.primary.produce(3_000..5_000);
    output.wait_for(5_000, LIMIT);
    worker.wait_for_metric("dedup_rejected_records_total", |count| count == 3);
    output.assert_each_once(5_000);
    worker.stop();
}
