//! Goal: an unmodified SDK pointed here loses nothing and needs no special care.
//! Fault: none but the SDKs' own habits: `NaN`, lone surrogates, numbers beyond 64 bits, null members, gzip.
//! Oracle: what the SDK itself says it handed over, event by event and member by member; the corrected timestamp is
//! calculated here again from the formula.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;
use tests::output::{self, Event};
use tests::sdk::{self, Door};
use tests::secure::Authority;
use tests::{Scene, Turnstile};

const TRACKS: usize = 1_000;
const WRITE_KEY: &str = "sdk-key";
const TYPES: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];

/// Members the server adds or corrects; everything else must be the SDK's.
const MANAGED: [&str; 5] = ["timestamp", "originalTimestamp", "sentAt", "receivedAt", "source"];
/// Clocks of one machine, and rounding to milliseconds.
const CLOCK_SLACK_MS: i64 = 5;

#[test]
fn python_sdk_events_come_out_once_and_whole() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::python("2.4.0", &Door::plain(server.ingest), WRITE_KEY, TRACKS, &[]);
    run.check(&scene, &server, &sent);
    let order = sent
        .iter()
        .find(|event| event.json.get("event").is_some_and(|name| name == "Order Completed"))
        .expect("sent by the script");
    let out = &output::events_by_id(&server.deduped())[order.text("messageId")];
    assert!(out.raw.contains("1180591620717411303424"), "2^70 keeps its digits: {}", out.raw);
}

#[test]
fn python_sdk_with_gzip_delivers_the_same() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene);
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::python("2.4.0", &Door::plain(server.ingest), WRITE_KEY, TRACKS, &["--gzip"]);
    run.check(&scene, &server, &sent);
}

#[test]
fn python_sdk_hazards_cost_nothing_beside_them() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene).set("TURNSTILE_UNREADABLE_EVENTS", "pass");
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::python("2.4.0", &Door::plain(server.ingest), WRITE_KEY, TRACKS, &["--hazards"]);
    let out = run.check(&scene, &server, &sent);
    let named = |name: &str| {
        out.iter().filter(|event| event.json.get("event").is_some_and(|event| event == name)).collect::<Vec<_>>()
    };
    let (not_numbers, surrogates) = (named("Not A Number"), named("Lone Surrogate"));
    assert_eq!((not_numbers.len(), surrogates.len()), (TRACKS / 100, TRACKS / 100));
    for event in not_numbers {
        assert_eq!(event.json["properties"]["nan"], Value::Null, "{}", event.raw);
        assert_eq!(event.json["properties"]["inf"], Value::from(vec![Value::Null, Value::Null]), "{}", event.raw);
    }
    for event in surrogates {
        assert!(event.raw.contains("before \\ud800 after"), "the surrogate keeps its text: {}", event.raw);
    }
}

#[test]
fn the_older_python_sdk_delivers_the_same() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene).set("TURNSTILE_UNREADABLE_EVENTS", "pass");
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::python("2.3.3", &Door::plain(server.ingest), WRITE_KEY, TRACKS, &["--hazards"]);
    run.check(&scene, &server, &sent);
}

#[test]
fn node_sdk_events_come_out_once_and_whole() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene).set("TURNSTILE_UNREADABLE_EVENTS", "pass");
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::node("@segment/analytics-node", &Door::plain(server.ingest), WRITE_KEY, TRACKS);
    let out = run.check(&scene, &server, &sent);
    let surrogate = out.iter().find(|event| event.json.get("event").is_some_and(|event| event == "Lone Surrogate"));
    assert!(surrogate.expect("came out").raw.contains("before \\ud800 after"));
}

#[test]
fn the_older_node_sdk_delivers_the_same() {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene).set("TURNSTILE_UNREADABLE_EVENTS", "pass");
    server.start();
    let run = Run::begin(TRACKS);
    let sent = sdk::node("analytics-node-2", &Door::plain(server.ingest), WRITE_KEY, TRACKS);
    run.check(&scene, &server, &sent);
}

#[test]
fn every_server_sdk_delivers_the_same_over_tls() {
    let scene = Scene::begin();
    let authority = Authority::new(&scene, "authority");
    let sdks = ["2.4.0", "2.3.3", "@segment/analytics-node", "analytics-node-2"];
    for (index, sdk) in sdks.into_iter().enumerate() {
        let data = scene.folder().join(format!("data-{index}"));
        let server = Turnstile::with_data(&scene, data).set("TURNSTILE_UNREADABLE_EVENTS", "pass");
        let mut server = server.with_tls(&authority);
        server.start();
        let run = Run::begin(TRACKS);
        let door = Door::tls(server.ingest, &authority);
        let sent = match index {
            0 | 1 => sdk::python(sdk, &door, WRITE_KEY, TRACKS, &[]),
            _ => sdk::node(sdk, &door, WRITE_KEY, TRACKS),
        };
        run.check(&scene, &server, &sent);
        server.stop();
    }
}

/// One SDK's run, from its begin on.
pub(crate) struct Run {
    begun: Timestamp,
    events_min: usize,
}

impl Run {
    pub(crate) fn begin(events_min: usize) -> Self {
        Self { begun: Timestamp::now(), events_min }
    }

    /// Compares what came out of the SDK's source with what was sent; gives what came out.
    pub(crate) fn check(&self, scene: &Scene, server: &Turnstile, sent: &[Event]) -> Vec<Event> {
        let ended = Timestamp::now();
        server.drained();
        let mut out = output::events_by_id(&server.deduped());
        out.retain(|_, event| event.text("source") == WRITE_KEY);
        assert!(sent.len() > self.events_min, "the SDK sent {} events only", sent.len());
        let mut by_type: HashMap<&str, usize> = HashMap::new();
        for event in sent {
            let id = event.text("messageId");
            let came = out.get(id).unwrap_or_else(|| panic!("{id} did not come out"));
            same_members(event, came);
            self.same_times(event, came, ended);
            *by_type.entry(event.text("type")).or_default() += 1;
        }
        assert_eq!(out.len(), sent.len(), "something came out that was not sent");
        for event_type in TYPES {
            assert!(by_type.contains_key(event_type), "no {event_type} was sent: {by_type:?}");
        }
        let rejected = output::events(&server.rejected());
        assert!(rejected.is_empty(), "set aside: {rejected:?}");
        scene.say(format_args!("{} events, each out once, all members compared: {by_type:?}", sent.len()));
        out.into_values().collect()
    }

    /// Section "Timestamps" of the protocol: originalTimestamp is the client's, receivedAt the server's, and timestamp
    /// the client's corrected by what its clock was off when it sent.
    fn same_times(&self, sent: &Event, came: &Event, ended: Timestamp) {
        let stamp = |member: &str| -> Timestamp {
            came.text(member).parse().unwrap_or_else(|error| panic!("{member} ({error}): {}", came.raw))
        };
        let text = sent.text("timestamp");
        assert_eq!(came.text("originalTimestamp"), text, "{}", came.raw);
        let (original, received, sent_at) = (stamp("originalTimestamp"), stamp("receivedAt"), stamp("sentAt"));
        let (begun, ended) = (self.begun.as_millisecond(), ended.as_millisecond());
        let within = begun - CLOCK_SLACK_MS..=ended + CLOCK_SLACK_MS;
        assert!(within.contains(&received.as_millisecond()), "receivedAt is not when it was received: {}", came.raw);
        assert!(within.contains(&sent_at.as_millisecond()), "sentAt is not when it was sent: {}", came.raw);
        let corrected = received.as_millisecond() - (sent_at.as_millisecond() - original.as_millisecond());
        let off = (stamp("timestamp").as_millisecond() - corrected).abs();
        assert!(off <= 1, "timestamp is {off} ms from receivedAt - (sentAt - originalTimestamp): {}", came.raw);
        assert!(came.text("timestamp").ends_with('Z') && came.text("receivedAt").ends_with('Z'), "UTC: {}", came.raw);
    }
}

/// Every member of the SDK's is there with its value, and nothing but the managed ones was added. A null member may go.
fn same_members(sent: &Event, came: &Event) {
    for (member, value) in &sent.json {
        if member == "timestamp" {
            continue;
        }
        let out = came.json.get(member).unwrap_or(&Value::Null);
        assert_eq!(out, value, "{member} of\n{}\nbecame\n{}", sent.raw, came.raw);
    }
    for member in came.json.keys() {
        // The Node SDK adds its metadata when it writes the request, after the script has seen the event.
        let added = MANAGED.contains(&member.as_str()) || member == "_metadata";
        assert!(added || sent.json.contains_key(member), "{member} was never sent: {}", came.raw);
    }
}
