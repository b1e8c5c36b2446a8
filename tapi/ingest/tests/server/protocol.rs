//! What each kind of client sends and needs back: a row for each habit, with the request as it is on the wire.
//!
//! How events are read is the business of the tests of `events`; here is what surrounds them.

use serde_json::{Value, json};

use crate::client::{AUTH, batch, chunked, event, gzip};
use crate::harness::{Harness, settings};

/// A request, and what has to come of it: the status, and the ids that are stored.
pub(crate) struct Row {
    pub(crate) habit: &'static str,
    pub(crate) line: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) stored: &'static [&'static str],
}

fn row(habit: &'static str, line: &'static str, headers: &'static str, body: impl Into<Vec<u8>>) -> Row {
    Row { habit, line, headers, body: body.into(), status: 200, stored: &["m"] }
}

/// `{"writeKey":"KEY"}` in front of the other members.
fn keyed(body: &str) -> String {
    body.replacen('{', r#"{"writeKey":"KEY","#, 1)
}

fn enveloped(before: &str, after: &str) -> String {
    format!(r#"{{{before}"batch":[{}]{after}}}"#, event("m"))
}

/// An event of so many bytes.
fn padded(id: &str, bytes: usize) -> String {
    let event = event(id);
    event.replacen('{', &format!(r#"{{"p":"{}","#, "p".repeat(bytes - event.len() - 7)), 1)
}

pub(crate) fn rows() -> Vec<Row> {
    [ways(), contents(), typed(), refused()].into_iter().flatten().collect()
}

/// Where events are sent to, and in what.
fn ways() -> Vec<Row> {
    let (one, many) = (event("m"), batch(&["m"]));
    vec![
        // Paths.
        row("server SDKs post batches", "POST /v1/batch", AUTH, &*many),
        row("Ruby's batches", "POST /v1/import", AUTH, &*many),
        row("Java's and Android's batches, with a slash behind", "POST /v1/import/", AUTH, &*many),
        row("browsers and mobile apps post batches", "POST /v1/b", "", keyed(&many)),
        row("a RudderStack beacon has its key in the query", "POST /beacon/v1/batch?writeKey=KEY", "", &*many),
        row("a beacon to the usual path", "POST /v1/b?writeKey=KEY", TEXT, &*many),
        // Keys.
        row("Basic and body say the same key", "POST /v1/batch", AUTH, keyed(&many)),
        row("Basic alone", "POST /v1/batch", AUTH, &*many),
        row("Basic without the colon", "POST /v1/batch", "Authorization: Basic S0VZ\r\n", &*many),
        row("the key in the envelope alone", "POST /v1/batch", "", keyed(&many)),
        row("the key in the event alone", "POST /v1/t", "", keyed(&one)),
        row("the key in envelope and event", "POST /v1/b", "", enveloped(r#""writeKey":"KEY","#, "")),
        row("an OAuth token beside the key of the body", "POST /v1/batch", "Authorization: Bearer t\r\n", keyed(&many)),
        // Headers.
        row(
            "JSON with a charset",
            "POST /v1/import/",
            "Content-Type: application/json; charset=utf-8\r\n",
            keyed(&many),
        ),
        row("a browser's body is plain text", "POST /v1/t", TEXT, keyed(&one)),
        row("no content type", "POST /v1/b", "", keyed(&many)),
        row("retries are numbered", "POST /v1/batch", "X-Retry-Count: 3\r\n", keyed(&many)),
        row("RudderStack's own headers", "POST /v1/track?writeKey=KEY", RUDDER, &*one),
        row("plain JSON", "POST /v1/batch", "Content-Type: application/json\r\n", keyed(&many)),
        row("an SDK that names itself", "POST /v1/batch", "User-Agent: analytics-python/2.4.0\r\n", keyed(&many)),
        // Encodings.
        row("gzip", "POST /v1/batch", GZIP, gzip(keyed(&many).as_bytes())),
        row("gzip on a path for one event", "POST /v1/t", GZIP, gzip(keyed(&one).as_bytes())),
        row("gzip that calls itself a form", "POST /v1/batch", FORM_GZIP, gzip(keyed(&many).as_bytes())),
    ]
}

/// What is in a body.
fn contents() -> Vec<Row> {
    let (one, many) = (event("m"), batch(&["m"]));
    vec![
        // Envelopes.
        row(
            "members before the batch",
            "POST /v1/batch",
            AUTH,
            enveloped(r#""sentAt":"2026-11-21T04:25:37Z","x":1,"#, ""),
        ),
        row(
            "members behind the batch",
            "POST /v1/batch",
            "",
            enveloped("", r#","writeKey":"KEY","sequence":1,"messageId":"x","timestamp":"2026-11-21T04:25:37Z""#),
        ),
        row(
            "legacy Node's envelope has a time of its own",
            "POST /v1/batch",
            AUTH,
            enveloped("", r#","timestamp":"2026-11-21T04:25:37Z","sentAt":"2026-11-21T04:25:37Z""#),
        ),
        row("Go's library stands in the envelope alone", "POST /v1/batch", AUTH, enveloped(LIBRARY, "")),
        row("a mobile app's file of events", "POST /v1/b", GZIP, gzip(enveloped("", FILE_END).as_bytes())),
        row("lines between events", "POST /v1/b", AUTH, many.replace(['[', ','], "[\n").replace("[\n\"", ",\n\"")),
        // Events.
        row("the user id that is not used is null", "POST /v1/batch", AUTH, many.replace(r#""userId":"u""#, ANONYMOUS)),
        row("an empty user id beside another one", "POST /v1/batch", AUTH, many.replace(r#""userId":"u""#, EMPTY_USER)),
        row("Node's and the browser's metadata", "POST /v1/t", AUTH, one.replacen('{', METADATA, 1)),
        row(
            "RudderStack's original time instead of a time",
            "POST /v1/batch",
            AUTH,
            many.replace(r#""userId""#, RUDDER_EVENT),
        ),
        row("escapes of every kind", "POST /v1/track", AUTH, one.replacen("Seen", ESCAPES, 1)),
        row("as deep as every reader goes", "POST /v1/track", AUTH, one.replacen("\"u\"", &nested(126), 1)),
        row("a page without a name", "POST /v1/page", AUTH, one.replacen('{', r#"{"name":"","category":"","#, 1)),
        row("null members", "POST /v1/track", AUTH, one.replacen('{', r#"{"anonymousId":null,"traits":null,"#, 1)),
        row(
            "a number as group",
            "POST /v1/group",
            AUTH,
            one.replacen('{', r#"{"groupId":7,"#, 1).replace("track", "group"),
        ),
        row("a number as user", "POST /v1/track", AUTH, one.replace(r#""u""#, "42")),
        row(
            "NaN and infinities",
            "POST /v1/batch",
            AUTH,
            many.replacen("\"userId\"", "\"p\":[NaN,-Infinity],\"userId\"", 1),
        ),
        row(
            "an integer beyond 64 bits",
            "POST /v1/track",
            AUTH,
            one.replacen("\"u\"", "\"u\",\"n\":1180591620717411303424", 1),
        ),
        row("PHP's empty objects", "POST /v1/batch", AUTH, many.replacen('}', r#","properties":[],"context":[]}"#, 1)),
        row("a time that is none", "POST /v1/track", AUTH, one.replacen('}', r#","timestamp":"not a date"}"#, 1)),
        row(
            "a time without a fraction",
            "POST /v1/track",
            AUTH,
            one.replacen('}', r#","timestamp":"2026-11-21T04:43:16+00:00"}"#, 1),
        ),
    ]
}

/// One event, whose path says its type.
fn typed() -> Vec<Row> {
    let untyped = br#"{"userId":"u","event":"e","messageId":"m","previousId":"p","groupId":"g"}"#;
    let paths = ["t", "i", "p", "g", "a", "s", "track", "identify", "page", "screen", "group", "alias"];
    let row = |path| {
        let line: &'static str = format!("POST /v1/{path}").leak();
        row("one event, whose path says its type", line, AUTH, &untyped[..])
    };
    paths.into_iter().map(row).collect()
}

/// What stores nothing.
fn refused() -> Vec<Row> {
    let (one, many) = (event("m"), batch(&["m"]));
    let refused =
        |habit, line, headers, body: &[u8], status| Row { status, stored: &[], ..row(habit, line, headers, body) };
    let dropped = |habit, body: &[u8]| refused(habit, "POST /v1/batch", AUTH, body, 400);
    vec![
        Row { stored: &[], ..row("an SDK's figures about itself", "POST /v1/m", TEXT, r#"{"series":[]}"#) },
        dropped("PHP with text that is not UTF-8 sends nothing", b""),
        dropped("a body that is not JSON", b"{"),
        dropped("a body without a batch", b"{}"),
        dropped("an empty batch", br#"{"batch":[]}"#),
        refused("gzip that is none", "POST /v1/batch", GZIP_AUTH, b"{}", 400),
        refused(
            "a single event deeper than readers go",
            "POST /v1/track",
            AUTH,
            one.replacen("\"u\"", &nested(3_000), 1).as_bytes(),
            400,
        ),
        refused("a track without a name", "POST /v1/track", AUTH, one.replacen("Seen", "", 1).as_bytes(), 400),
        refused("an event without a user", "POST /v1/track", AUTH, br#"{"event":"e"}"#, 400),
        refused("a single event beyond 32 KiB", "POST /v1/track", AUTH, padded("m", 40_000).as_bytes(), 400),
        refused("a body beyond 1 MiB", "POST /v1/batch", AUTH, &vec![b' '; (1 << 20) + 1], 400),
        refused("an encoding that nobody sends", "POST /v1/batch", BROTLI, many.as_bytes(), 400),
        refused("no key", "POST /v1/batch", "", many.as_bytes(), 401),
        refused("no such path", "POST /v1/nothing", AUTH, many.as_bytes(), 404),
        refused("a method that the path has not", "PUT /v1/batch", AUTH, many.as_bytes(), 405),
    ]
}

/// The value of `userId`, and a member behind it that is so deep.
fn nested(levels: usize) -> String {
    format!(r#""u","deep":{}{}"#, "[".repeat(levels), "]".repeat(levels))
}

const LIBRARY: &str =
    r#""messageId":"x","sentAt":"2026-11-21T04:25:37.1Z","context":{"library":{"name":"analytics-go"}},"#;
const FILE_END: &str = r#","sentAt":"2026-11-21T04:25:37.126Z","writeKey":"KEY""#;
const ANONYMOUS: &str = r#""userId":null,"anonymousId":"a""#;
const EMPTY_USER: &str = r#""userId":"","anonymousId":"a""#;
const METADATA: &str = r#"{"_metadata":{"nodeVersion":"22.20.0","jsRuntime":"node","bundled":["Segment.io"]},"#;
const RUDDER_EVENT: &str =
    r#""channel":"server","rudderId":"r","originalTimestamp":"2026-11-21T04:25:36.126Z","userId""#;
const ESCAPES: &str = r"\u0000 \u001f \u003c\u003e\u0026 \/ \u00e9 \ud83d\ude00";

const TEXT: &str = "Content-Type: text/plain\r\n";
const GZIP: &str = "Content-Encoding: gzip\r\n";
const GZIP_AUTH: &str = "Content-Encoding: gzip\r\nAuthorization: Basic S0VZOg==\r\n";
const FORM_GZIP: &str = "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n";
const BROTLI: &str = "Content-Encoding: br\r\nAuthorization: Basic S0VZOg==\r\n";
const RUDDER: &str = "AnonymousId: YW5vbg==\r\nSentAt: 2026-11-21T04:25:37.000Z\r\nRSA-Retry-Attempt: 1\r\n\
    RSA-Retry-Reason: client-network\r\nRSA-Since-First-Attempt: 5\r\nRSA-Since-Last-Attempt: 5\r\n";

#[test]
fn every_habit_of_an_sdk() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for Row { habit, line, headers, body, status, stored } in rows() {
        let answer = client.request(line, headers, &body);
        assert_eq!(answer.status, status, "{habit}: {answer:?}");
        // Ruby sends again where there is no JSON object; Python where it has no code and message.
        let said = answer.json();
        assert_eq!(said["success"], Value::Bool(status == 200), "{habit}");
        for member in ["code", "message", "error"] {
            assert_eq!(said[member].is_string(), status != 200, "{habit}: {member}");
        }
        assert!(!(300..400).contains(&answer.status) && answer.header("location").is_empty(), "{habit}");
        assert_eq!(harness.event_ids(), stored, "{habit}");
        if answer.header("connection") == "close" {
            client = harness.client();
        }
    }
}

#[test]
fn an_event_of_an_sdk_that_leaves_everything_to_the_server() {
    let mut harness = Harness::new();
    // Rust's SDKs and people who write their own requests send neither an id nor a time.
    harness.ask("POST /v1/track", AUTH, br#"{"userId":"u","event":"e"}"#).assert_stored();
    let stored = harness.stored();
    let [event] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(event.value["messageId"], *event.id);
    assert_eq!((&event.value["type"], &event.value["timestamp"]), (&json!("track"), &event.value["receivedAt"]));
}

#[test]
fn half_of_a_surrogate_costs_nothing_where_readers_take_it() {
    let harness = Harness::with(|config| config.unreadable_events = ingest::events::Unreadable::Pass);
    let body = batch(&["m", "n"]).replacen("Seen", r"\ud800", 1);
    harness.ask("POST /v1/batch", AUTH, body.as_bytes()).assert_stored();
    // The value is no text for a strict reader, such as that of this test.
    let metrics = harness.admin().metrics();
    assert!(metrics.contains("\ntapi_events_total 2\n"), "{metrics}");
}

#[test]
fn a_body_comes_in_any_pieces_on_a_connection_that_stays() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = keyed(&batch(&["m"]));
    // Kotlin and Android: chunked and gzip.
    let head = "POST /v1/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n";
    client.send(head.as_bytes());
    client.send(&chunked(&gzip(body.as_bytes()), 10));
    client.answer().assert_stored();
    // Ruby: head and body apart.
    client.send(format!("POST /v1/import HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    client.send(body.as_bytes());
    client.answer().assert_stored();
    // Go: a first piece with the head, a second one of 32 KiB, and the rest.
    let long = keyed(&batch(&["m"])) + &" ".repeat(60_000);
    let message = format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{long}", long.len());
    for piece in [&message[..4_096], &message[4_096..36_864], &message[36_864..]] {
        client.send(piece.as_bytes());
    }
    client.answer().assert_stored();
    // libcurl: the body comes when it is asked for.
    let head = "POST /v1/batch HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n";
    client.send(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    assert_eq!(client.answer().status, 100);
    client.send(body.as_bytes());
    client.answer().assert_stored();
    // C#: one request a connection.
    let answer = client.request("POST /v1/b", "Connection: close\r\n", body.as_bytes());
    answer.assert_stored();
    assert!(client.is_closed());
    assert_eq!(harness.stored_ids(), ["m"; 5]);
}

#[test]
fn the_largest_batches_that_sdks_send_are_taken() {
    let mut harness = Harness::new();
    // The sum of an SDK's events, and that of its envelope: 524,288 bytes and more.
    let events: Vec<_> = (0..17).map(|index| padded(&format!("{index}"), 32_000)).collect();
    harness.ask("POST /v1/batch", AUTH, format!(r#"{{"batch":[{}]}}"#, events.join(",")).as_bytes()).assert_stored();
    assert_eq!(harness.stored().iter().filter(|stored| stored.is_event).count(), 17);
    // Node does not count right: four events of 300 kB, of which none is legal, and a legal one among three.
    let events = [padded("a", 300_000), event("b"), padded("c", 300_000), padded("d", 300_000)];
    harness.ask("POST /v1/batch", AUTH, format!(r#"{{"batch":[{}]}}"#, events.join(",")).as_bytes()).assert_stored();
    let stored = harness.stored();
    assert_eq!(stored.iter().map(|stored| stored.is_event).collect::<Vec<_>>(), [false, true, false, false]);
    // More events than are taken of a batch: the others are set aside in one record.
    let ids: Vec<String> = (0..2_503).map(|index| index.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    harness.ask("POST /v1/batch", AUTH, batch(&ids).as_bytes()).assert_stored();
    let stored = harness.stored();
    assert_eq!((stored.len(), stored[2_499].is_event, stored[2_500].is_event), (2_501, true, false));
}

#[test]
fn a_browser_starts_from_here_alone() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let host = harness.address.to_string();
    let origin = "Origin: http://localhost:3000\r\n";
    // It asks for its settings, and goes on with the key and the address in them.
    client.send(format!("GET /v1/projects/KEY/settings HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n").as_bytes());
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), "http://localhost:3000");
    let settings = answer.json();
    let segment = &settings["integrations"]["Segment.io"];
    assert_eq!(*segment.get("apiKey").unwrap(), json!("KEY"));
    assert_eq!((&segment["protocol"], &segment["apiHost"]), (&json!("http"), &json!(format!("{host}/v1"))));
    assert_eq!(settings["metrics"]["sampleRate"], 0, "no figures to somebody else's server");
    // Then a preflight, the event, and the same in a beacon.
    let path = segment["apiHost"].as_str().unwrap().strip_prefix(&*host).unwrap();
    let asked =
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-retry-count\r\n";
    let answer = client.request(&format!("OPTIONS {path}/t"), &format!("{origin}{asked}"), b"");
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (204, "authorization,x-retry-count"));
    let headers = format!("{AUTH}{origin}{TEXT}");
    client.request(&format!("POST {path}/t"), &headers, event("fetched").as_bytes()).assert_stored();
    let headers = format!("{origin}Content-Type: text/plain;charset=UTF-8\r\n");
    client.request(&format!("POST {path}/b?writeKey=KEY"), &headers, batch(&["beacon"]).as_bytes()).assert_stored();
    let stored = harness.stored();
    assert_eq!(stored.iter().map(|stored| &*stored.id).collect::<Vec<_>>(), ["fetched", "beacon"]);
    assert!(
        stored.iter().all(|stored| stored.value["context"]["ip"] == "127.0.0.1"),
        "a browser's address is the user's"
    );
}

/// `/v1/projects/KEY/settings` for Kotlin, Swift, React Native, C# and the classic SDKs, whose base address ends in `/v1`.
#[test]
fn a_mobile_app_starts_from_here_alone_and_learns_what_to_try_again() {
    let mut harness = Harness::new();
    let host = harness.address.to_string();
    let mut client = harness.client();
    client.send(format!("GET /v1/projects/KEY/settings HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let settings = client.answer().json();
    let segment = &settings["integrations"]["Segment.io"];
    // What each reads, and would do without.
    for member in ["integrations", "plan", "edgeFunction", "middlewareSettings", "metrics"] {
        assert!(settings[member].is_object(), "{member}: {settings}");
    }
    // Kotlin, Swift and C#, then React Native.
    for config in [&segment["httpConfig"], &settings["httpConfig"]] {
        let (backoff, rate) = (&config["backoffConfig"], &config["rateLimitConfig"]);
        assert_eq!((&backoff["enabled"], &rate["enabled"]), (&json!(true), &json!(true)));
        // What this server answers: a later try mends 429 and 503, and never 400 and 401.
        let fate = |status: u16| {
            let named = backoff["statusCodeOverrides"].get(status.to_string());
            let of_kind = &backoff[if status < 500 { "default4xxBehavior" } else { "default5xxBehavior" }];
            named.unwrap_or(of_kind).as_str().unwrap().to_owned()
        };
        assert_eq!([408, 410, 429, 460, 500, 503].map(fate), ["retry"; 6]);
        assert_eq!([400, 401, 404, 501, 505].map(fate), ["drop"; 5]);
        // Numbers that the SDKs would cut to their own bounds are none: a thousand tries, a week.
        assert!(backoff["maxRetryCount"].as_u64() <= Some(1000) && rate["maxRetryCount"].as_u64() <= Some(1000));
        assert!(backoff["maxTotalBackoffDuration"].as_u64() <= Some(604_800));
    }
    let path = segment["apiHost"].as_str().unwrap().strip_prefix(&*host).unwrap();
    let body = format!(r#"{{"writeKey":"{}","batch":[{}]}}"#, segment["apiKey"].as_str().unwrap(), event("mobile"));
    client.request(&format!("POST {path}/b"), "", body.as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["mobile"]);
}

#[test]
fn settings_name_the_public_address() {
    let harness = Harness::with(|config| {
        config.client_ip_header = "x-forwarded-for".into();
        config.trusted_proxies = vec!["127.0.0.1".into()];
    });
    let mut client = harness.client();
    let segment = |answer: crate::client::Answer| answer.json()["integrations"]["Segment.io"].clone();
    let behind_tls = client.request("GET /v1/projects/K%22%20Y/settings", "X-Forwarded-Proto: https\r\n", b"");
    let behind_tls = segment(behind_tls);
    assert_eq!((&behind_tls["apiKey"], &behind_tls["protocol"]), (&json!("K\" Y"), &json!("https")));
    let mut config = settings();
    config.public_url = "https://events.example.com/".into();
    ingest::reload(&harness.live, Ok(config));
    let told = (0..10_000).find_map(|_| {
        let segment = segment(client.request("GET /projects/KEY/settings", "", b""));
        (segment["apiHost"] == "events.example.com/v1").then_some(segment)
    });
    assert_eq!(told.expect("the setting is used at last")["protocol"], "https");
}

#[test]
fn rudderstack_finds_its_source() {
    let harness = Harness::new();
    for (line, headers) in [("GET /sourceConfig/?p=cdn&writeKey=KEY", ""), ("GET /sourceConfig", AUTH)] {
        let answer = harness.ask(line, headers, b"");
        assert_eq!(answer.status, 200, "{line}");
        let source = &answer.json()["source"];
        assert_eq!((&source["id"], &source["enabled"]), (&json!("KEY"), &json!(true)));
        assert!(source["config"].is_object() && source["destinations"].is_array());
    }
    assert_eq!(harness.ask("GET /sourceConfig", "", b"").status, 401);
    for path in ["/health", "/version"] {
        assert_eq!(harness.ask(&format!("GET {path}"), "", b"").json()["server"], "UP");
    }
}

#[test]
fn a_picture_is_an_event_and_always_a_picture() {
    use base64::Engine as _;
    let mut harness = Harness::new();
    let mut client = harness.client();
    let json = keyed(&event("m"));
    let data = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
    let identified = "userId=u&messageId=m&writeKey=KEY";
    for (habit, target, is_stored) in [
        ("JSON in Base64", format!("/v1/pixel/track?data={data}"), true),
        (
            "plain parameters",
            format!("/v1/pixel/track?event=Opened&{identified}&properties.campaign=spring+sale"),
            true,
        ),
        ("each type", format!("/v1/pixel/identify?{identified}&traits.plan=pro"), true),
        ("each type", format!("/v1/pixel/page?{identified}&name=Home"), true),
        ("each type", format!("/v1/pixel/screen?{identified}&name=Home"), true),
        ("each type", format!("/v1/pixel/group?{identified}&groupId=g"), true),
        ("each type", format!("/v1/pixel/alias?{identified}&previousId=p"), true),
        ("RudderStack's path", format!("/pixel/v1/track?event=Opened&{identified}"), true),
        ("RudderStack's path", format!("/pixel/v1/page?{identified}"), true),
        ("no key", "/v1/pixel/track?event=Opened&userId=u".into(), false),
        ("no event", "/v1/pixel/track".into(), false),
        ("no Base64", "/v1/pixel/track?data=!".into(), false),
    ] {
        let answer = client.request(&format!("GET {target}"), "", b"");
        assert_eq!((answer.status, answer.header("content-type")), (200, "image/gif"), "{habit}: {target}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.bytes.starts_with(b"GIF89a\x01\0\x01\0") && answer.bytes.ends_with(b";"));
        let stored = harness.stored();
        assert_eq!(stored.len(), usize::from(is_stored), "{habit}: {target}");
        if let Some(stored) = stored.first() {
            assert_eq!((&*stored.source, stored.is_event, &*stored.id), ("KEY", true, "m"), "{habit}: {target}");
            assert_eq!(stored.value["context"]["ip"], "127.0.0.1", "{habit}");
            if target.contains("campaign") {
                assert_eq!(stored.value["properties"]["campaign"], "spring sale");
            }
        }
    }
    let metrics = harness.admin().metrics();
    assert!(metrics.contains("tapi_requests_total{endpoint=\"pixel\",status=\"200\"} 12\n"), "{metrics}");
    assert!(metrics.contains("tapi_requests_refused_total{code=\"missing_write_key\"} 1\n"), "{metrics}");
}

#[test]
fn head_is_get_without_a_body_and_stores_nothing() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for path in [
        "/v1/projects/KEY/settings",
        "/sourceConfig?writeKey=KEY",
        "/health",
        "/v1/pixel/track?userId=u&writeKey=KEY&event=e",
    ] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let head = client.head();
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(harness.stored(), [], "{path}");
        let get = client.request(&format!("GET {path}"), "", b"");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
        harness.stored();
    }
    client.send(b"HEAD /v1/batch HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.head().status, 405);
}
