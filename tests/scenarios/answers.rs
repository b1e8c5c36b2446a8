//! Goal: every wrong request gets the one answer that makes SDKs do the right thing, and costs nothing beside it.
//! Fault: oversize, broken, hostile and unlucky requests, each followed by a good one on the same connection.
//! Oracle: the status and body of each answer, and exactly the good events in the output.

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::http::{Answer, BASIC_AUTH, Connection, SOURCE};
use tests::{Scene, Turnstile, output};
use wire::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};

const GZIP: &str = "content-encoding: gzip\r\n";
const LEVELS: usize = 3_000;

#[test]
fn an_event_of_32_kib_is_stored_and_one_byte_more_is_refused() {
    let mut talk = Talk::begin();
    let largest = event_of_bytes("largest", EVENT_BYTES_MAX);
    talk.accepted("/v1/track", "", largest.as_bytes(), &["largest"]);
    talk.refused("/v1/track", "", event_of_bytes("too-large", EVENT_BYTES_MAX + 1).as_bytes(), 400);
    // White space between tokens is not the event's.
    let spaced = largest.replace("\"largest\"", "  \"spaced\"\n ").replace("xx\"", "x\"");
    assert!(spaced.len() > EVENT_BYTES_MAX);
    talk.accepted("/v1/track", "", spaced.as_bytes(), &["spaced"]);
    // In a batch it costs itself alone.
    let batch = format!(
        "{{\"batch\":[{},{},{}]}}",
        good("beside-1"),
        event_of_bytes("x", EVENT_BYTES_MAX + 1),
        good("beside-2")
    );
    talk.accepted("/v1/batch", "", batch.as_bytes(), &["beside-1", "beside-2"]);
    // The one of the batch, and the whole body of the other.
    talk.end(2);
}

#[test]
fn broken_bodies_are_refused_and_the_connection_serves_on() {
    let mut talk = Talk::begin();
    for body in [
        "",
        " ",
        "{",
        "{\"batch\":[{",
        "[1,2",
        "nonsense",
        "{\"batch\":[]}x",
        "\u{0}",
        "{\"batch\":{}}",
        "{\"batch\":[]}",
        "{}",
        "[]",
        "null",
    ] {
        talk.refused("/v1/batch", "", body.as_bytes(), 400);
    }
    talk.refused("/v1/batch", GZIP, b"this is not gzip", 400);
    let whole = gzip(batch(&["never"]).as_bytes());
    talk.refused("/v1/batch", GZIP, &whole[..whole.len() / 2], 400);
    talk.refused("/v1/batch", GZIP, b"", 400);
    talk.accepted("/v1/batch", GZIP, &gzip(batch(&["gzipped"]).as_bytes()), &["gzipped"]);
    // Bytes that are no UTF-8 cost a single event its request, and in a batch that event alone.
    talk.refused("/v1/track", "", b"{\"event\":\"\xff\xfe\",\"userId\":\"u\"}", 400);
    let beside = good("beside");
    let body = [b"{\"batch\":[{\"event\":\"\xff\"},", beside.as_bytes(), b"]}"].concat();
    talk.accepted("/v1/batch", "", &body, &["beside"]);
    // Each body that says something is kept, and the one event of a batch.
    talk.end(13);
}

#[test]
fn one_bad_event_of_a_hundred_is_set_aside_alone() {
    let mut talk = Talk::begin();
    let ids: Vec<String> = (0..99).map(|n| format!("good-{n}")).collect();
    let mut events: Vec<String> = ids.iter().map(|id| good(id)).collect();
    events.insert(50, "{\"type\":\"track\",\"event\":\"Nobody\",\"messageId\":\"bad\"}".to_owned());
    let body = format!("{{\"batch\":[{}]}}", events.join(","));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    talk.accepted("/v1/batch", "", body.as_bytes(), &ids);
    talk.end(1);
    let set_aside = &output::events(&talk.server.rejected())[0];
    assert_eq!(set_aside.text("source"), SOURCE);
    assert!(!set_aside.text("code").is_empty() && !set_aside.text("message").is_empty(), "{}", set_aside.raw);
    assert!(set_aside.text("raw").contains("\"Nobody\""), "its own bytes are kept: {}", set_aside.raw);
}

#[test]
fn deep_nesting_is_refused_alone_and_set_aside_in_a_batch() {
    let mut talk = Talk::begin();
    for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
        let deep = format!("{}1{}", open.repeat(LEVELS), close.repeat(LEVELS));
        let event =
            format!("{{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"properties\":{{\"deep\":{deep}}}}}");
        talk.refused("/v1/track", "", event.as_bytes(), 400);
        let beside = format!("beside-{}", open.len());
        talk.accepted("/v1/batch", "", format!("{{\"batch\":[{event},{}]}}", good(&beside)).as_bytes(), &[&beside]);
    }
    // Brackets without an end, as many as a request may hold: an answer, soon, and no overflow.
    talk.refused("/v1/batch", "", format!("{{\"batch\":[{}", "[".repeat(1_000_000)).as_bytes(), 400);
    // The two of the batches, and the three bodies.
    talk.end(5);
}

#[test]
fn bare_nan_is_saved_as_null_and_lone_surrogates_keep_their_text() {
    let mut talk = Talk::begin_with("pass");
    let hazard = |id: &str, value: &str| {
        format!(
            "{{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"{id}\",\"properties\":{{\"v\":{value}}}}}"
        )
    };
    let hazards = [
        ("bare-nan", "NaN", "{\"v\":null}"),
        ("infinity", "Infinity", "{\"v\":null}"),
        ("minus-infinity", "[-Infinity]", "{\"v\":[null]}"),
        ("surrogate", "\"\\ud800\"", "{\"v\":\"\\ud800\"}"),
        ("long-number", "123456789012345678901234567890", "{\"v\":123456789012345678901234567890}"),
        ("huge-number", "1e400", "{\"v\":1e400}"),
        ("exact-number", "0.30000000000000004", "{\"v\":0.30000000000000004}"),
        ("null-escape", "\"\\u0000\"", "{\"v\":\"\\u0000\"}"),
    ];
    for (id, value, _) in hazards {
        talk.accepted("/v1/track", "", hazard(id, value).as_bytes(), &[id]);
        let batch_id = format!("{id}-in-batch");
        let beside = format!("{id}-beside");
        let batch = format!("{{\"batch\":[{},{}]}}", hazard(&batch_id, value), good(&beside));
        talk.accepted("/v1/batch", "", batch.as_bytes(), &[&batch_id, &beside]);
    }
    talk.end(0);
    let lines: Vec<String> = output::files(&talk.server.deduped())
        .iter()
        .flat_map(|file| std::fs::read_to_string(file).expect("UTF-8").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for (id, _, out) in hazards {
        for id in [id.to_owned(), format!("{id}-in-batch")] {
            let line = lines.iter().find(|line| line.contains(&format!("\"messageId\":\"{id}\""))).expect("came out");
            assert!(line.contains(&format!("\"properties\":{out}")), "{id}: {line}");
        }
    }
}

#[test]
fn two_different_lone_surrogates_are_two_identities() {
    let mut talk = Talk::begin_with("pass");
    let event = |id: &str| format!("{{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"{id}\"}}");
    for id in ["\\ud800", "\\ud801", "\\ud800", "\\ufffd", "\u{fffd}"] {
        let answer = talk.say("/v1/track", "", event(id).as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    talk.server.drained();
    let out: String = output::files(&talk.server.deduped())
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("UTF-8"))
        .collect();
    assert_eq!(out.lines().count(), 3, "two surrogates and one replacement character, written in two ways: {out}");
}

#[test]
fn unknown_paths_keys_and_methods_are_told_so() {
    let mut talk = Talk::begin();
    let key = std::mem::take(&mut talk.key);
    talk.refused("/v1/track", "", good("no-key").as_bytes(), 401);
    talk.key = key;
    talk.refused("/v1/nothing", "", good("nowhere").as_bytes(), 404);
    talk.refused("/", "", good("nowhere").as_bytes(), 404);
    let answer = talk.connection.get("/v1/batch").expect("an answer");
    assert!((400..500).contains(&answer.status), "{answer:?}");
    assert!(answer.status != 408 && answer.status != 410, "codes that SDKs misread: {answer:?}");
    talk.reopen_after(&answer);
    talk.accepted("/v1/batch/", "", batch(&["slash"]).as_bytes(), &["slash"]);
    talk.end(0);
}

#[test]
fn events_beyond_the_batch_bound_are_set_aside_and_the_others_stored() {
    let mut talk = Talk::begin();
    let ids: Vec<String> = (0..BATCH_EVENTS_MAX + 3).map(|n| format!("n{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    talk.accepted("/v1/batch", "", batch(&ids).as_bytes(), &ids[..BATCH_EVENTS_MAX]);
    talk.end(3);
}

/// One client on one connection, that remembers what must come out.
struct Talk {
    server: Turnstile,
    connection: Connection,
    key: String,
    expected: BTreeSet<String>,
    said: usize,
    // Last: the folder goes after the server that writes to it.
    scene: Scene,
}

impl Talk {
    fn begin() -> Self {
        Self::begin_with("set-aside")
    }

    /// What becomes of events that common readers refuse.
    fn begin_with(unreadable_events: &str) -> Self {
        let scene = Scene::begin();
        let mut server = Turnstile::new(&scene).set("TURNSTILE_UNREADABLE_EVENTS", unreadable_events);
        server.start();
        let connection = Connection::open(server.ingest).expect("a connection");
        Self { server, connection, key: BASIC_AUTH.to_owned(), expected: BTreeSet::new(), said: 0, scene }
    }

    fn say(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.said += 1;
        let headers = format!("{}{headers}", self.key);
        let answer = self.connection.post(path, &headers, body).unwrap_or_else(|error| {
            panic!(
                "no answer ({error}) to {path} {headers:?} {:?}",
                String::from_utf8_lossy(&body[..body.len().min(200)])
            )
        });
        self.reopen_after(&answer);
        answer
    }

    /// The server may say that it closes; it must say it.
    fn reopen_after(&mut self, answer: &Answer) {
        if answer.header("connection") == Some("close") {
            self.connection = Connection::open(self.server.ingest).expect("another connection");
        }
    }

    fn accepted(&mut self, path: &str, headers: &str, body: &[u8], ids: &[&str]) {
        let answer = self.say(path, headers, body);
        assert_eq!(answer.status, 200, "{ids:?}: {answer:?}");
        assert_eq!(answer.json()["success"], true);
        self.expected.extend(ids.iter().map(|id| (*id).to_owned()));
    }

    fn refused(&mut self, path: &str, headers: &str, body: &[u8], status: u16) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
        let answer = self.say(path, headers, body);
        assert_eq!(answer.status, status, "{path} {shown}: {answer:?}");
        let json = answer.json();
        assert_eq!(json["success"], false);
        for member in ["code", "message"] {
            assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "SDKs need {member}: {answer:?}");
        }
        // A good event after each bad request: on the same connection unless the server said that it closes.
        if !self.key.is_empty() {
            let id = format!("after-{}", self.said);
            self.accepted("/v1/track", "", good(&id).as_bytes(), &[&id]);
        }
    }

    /// Demands exactly the expected events in the output and so many set aside.
    fn end(&self, set_aside: u64) {
        self.server.drained();
        let out: BTreeSet<String> = output::events_by_id(&self.server.deduped()).into_keys().collect();
        let missing: Vec<_> = self.expected.difference(&out).collect();
        let foreign: Vec<_> = out.difference(&self.expected).collect();
        assert!(missing.is_empty() && foreign.is_empty(), "missing {missing:?}, foreign {foreign:?}");
        let rejected = output::events(&self.server.rejected());
        // One record may stand for several events that were set aside for the same reason.
        let events: u64 = rejected
            .iter()
            .map(|event| event.json.get("events").map_or(1, |events| events.as_u64().expect("a number")))
            .sum();
        assert_eq!(events, set_aside, "set aside: {rejected:?}");
        self.scene.say(format_args!("{} requests, {} events out, {set_aside} set aside", self.said, out.len()));
    }
}

fn good(id: &str) -> String {
    format!("{{\"type\":\"track\",\"event\":\"Good\",\"userId\":\"u\",\"messageId\":\"{id}\"}}")
}

fn batch(ids: &[&str]) -> String {
    let events: Vec<String> = ids.iter().map(|id| good(id)).collect();
    format!("{{\"batch\":[{}]}}", events.join(","))
}

/// An event whose compact JSON is exactly `bytes` long.
fn event_of_bytes(id: &str, bytes: usize) -> String {
    let frame = format!(
        "{{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"{id}\",\"properties\":{{\"x\":\"\"}}}}"
    );
    let event = frame.replace("\"x\":\"\"", &format!("\"x\":\"{}\"", "x".repeat(bytes - frame.len())));
    assert_eq!(event.len(), bytes);
    event
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).expect("memory");
    gzip.finish().expect("memory")
}
