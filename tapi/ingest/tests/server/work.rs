//! No body is worth more than its bytes: hostile shapes of the largest size, each measured in the time that its thread
//! computes. What grows with the square of the size takes seconds here.

use std::time::Duration;

use ingest::events::{Scratch, ingest};
use ingest::request::{ClientIp, Endpoint, EventType, Request};
use ingest::sources::Sources;
use rustix::time::{ClockId, clock_gettime};
use wire::limits::{BATCH_EVENTS_MAX, REQUEST_BYTES_MAX};

/// What a request may take on a core of its own.
const WORK_MAX: Duration = Duration::from_millis(30);
/// The same on a core that is shared, with caches that are.
const NOISE: u32 = 5;

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// `start`, as many of `unit` as fit, and `end`.
fn filled(start: &str, unit: &str, end: &str) -> String {
    let units = (REQUEST_BYTES_MAX - start.len() - end.len()) / unit.len();
    [start, &unit.repeat(units), end].concat()
}

/// A batch of `count` events, each padded by as many of `unit` as the body has room for.
fn padded(envelope: &str, count: usize, before: &str, unit: &str, after: &str) -> String {
    let start = format!("{{{envelope}\"batch\":[");
    let room = (REQUEST_BYTES_MAX - start.len() - 2) / count - before.len() - after.len() - 1;
    let event = [before, &unit.repeat(room / unit.len().max(1)), after].concat();
    format!("{start}{}]}}", vec![event; count].join(","))
}

fn members(names: usize, value: &str) -> String {
    (0..names).fold(String::new(), |all, name| all + &format!("\"m{name}\":{value},"))
}

const EVENT: &str = r#"{"type":"track","event":"e","userId":"u""#;

fn shapes() -> Vec<(&'static str, String)> {
    let event = format!("{EVENT}}},");
    let big = |unit: &str| padded("", 33, &format!("{EVENT},\"p\":["), unit, "0]}");
    let small = |unit: &str| padded("", BATCH_EVENTS_MAX, &format!("{EVENT},\"p\":["), unit, "0]}");
    let context = |members_of_envelope: usize| format!("\"context\":{{{}\"z\":1}},", members(members_of_envelope, "1"));
    vec![
        ("brackets", filled("", "[", "")),
        ("brackets that close", ["[".repeat(500_000), "]".repeat(500_000)].concat()),
        ("nested objects", filled("", "{\"a\":", "")),
        ("events of brackets", filled("{\"batch\":[", &["[".repeat(400), "]".repeat(400), ",".into()].concat(), "0]}")),
        (
            "events nested to the bound",
            padded("", 500, &format!("{EVENT},\"p\":"), &("[".repeat(900) + &"]".repeat(900)), "}"),
        ),
        ("numbers as events", filled("{\"batch\":[", "1,", "0]}")),
        ("empty events", filled("{\"batch\":[", "{},", "0]}")),
        ("the smallest events", filled("{\"batch\":[", &event, "0]}")),
        ("NaN as events", filled("{\"batch\":[", "NaN,", "0]}")),
        ("half surrogates as events", filled("{\"batch\":[", "\"\\ud800\",", "0]}")),
        ("small events of NaN", small("NaN,")),
        ("small events of numbers", small("1,")),
        ("big events of NaN", big("NaN,")),
        ("big events of huge numbers", big("1e999,")),
        ("big events of long fractions", big(&format!("0.{},", "1234567890".repeat(70)))),
        ("big events of half surrogates", big("\"\\ud800\",")),
        ("big events of empty lists", big("[],")),
        ("big events of space", big("      ")),
        ("one number", filled("{\"batch\":[", "1", "]}")),
        ("one text of escapes", filled("{\"batch\":[\"", "\\u0041", "\"]}")),
        ("one text of backslashes", filled("{\"batch\":[\"", "\\\\", "\"]}")),
        ("one text of bytes that are no text", filled("{\"batch\":[\"", "\u{1}", "\"]}")),
        ("quotes", filled("{\"batch\":[", "\"\",", "0]}")),
        ("colons", filled("{\"batch\":[", ":", "]}")),
        ("space", filled("{\"batch\":[", " ", "0]}")),
        ("a member of one name", filled("{", "\"a\":1,", "\"batch\":[0]}")),
        ("a member of one name, of NaN", filled("{", "\"a\":NaN,", "\"batch\":[0]}")),
        ("batches", filled("{", "\"batch\":[1],", "\"batch\":[0]}")),
        ("batches of NaN", filled("{", "\"batch\":[NaN],", "\"batch\":[0]}")),
        ("contexts", filled("{", "\"context\":{\"a\":1},", "\"batch\":[0]}")),
        ("members of a context", filled("{\"context\":{", "\"a\":1,", "\"a\":1},\"batch\":[0]}")),
        ("write keys", filled("{", "\"writeKey\":\"k\",", "\"batch\":[0]}")),
        ("escaped names", filled("{", "\"\\u0062atch\":1,", "\"batch\":[0]}")),
        ("messageIds in big events", padded("", 33, EVENT, ",\"messageId\":\"m\"", "}")),
        ("escaped messageIds in big events", padded("", 33, EVENT, ",\"\\u006dessageId\":\"\\u006d\"", "}")),
        ("timestamps in big events", padded("", 33, EVENT, ",\"timestamp\":\"2026-01-01T00:00:00.000Z\"", "}")),
        ("contexts in big events", padded("", 33, EVENT, ",\"context\":{\"a\":1}", "}")),
        ("a long messageId", filled("{\"batch\":[{\"messageId\":\"", "\\u0001", "\"}]}")),
        ("one event of many names", format!("{{\"batch\":[{EVENT},\"p\":{{{}\"z\":1}}}}]}}", members(80_000, "1"))),
        ("refused events of escapes", padded("", 33, "{\"a\":\"", "\\u0077", "\"}")),
        ("refused events of write keys", padded("", 33, "{", "\"writeKey\":\"k\",", "\"a\":1}")),
        ("a large context before many events", padded(&context(3_500), 2_000, EVENT, "", "}")),
        ("a large context before events with as large ones", {
            let own = format!(",\"context\":{{{}\"y\":1}}}}", members(3_000, "1"));
            padded(&context(3_000), 28, EVENT, "", &own)
        }),
        ("a large context before events with small ones", {
            let own = format!(",\"context\":{{{}\"y\":1}}}}", members(300, "1").replace("\"m", "\"n"));
            padded(&context(2_500), 250, EVENT, "", &own)
        }),
        ("integrations before events with their own", {
            let envelope = context(2_500).replace("context", "integrations");
            let own = format!(",\"integrations\":{{{}\"y\":1}}}}", members(300, "true").replace("\"m", "\"n"));
            padded(&envelope, 250, EVENT, "", &own)
        }),
    ]
}

#[test]
fn no_body_costs_more_work_than_its_size_is_worth() {
    let mut scratch = Scratch::new();
    let mut costs = Vec::new();
    for (shape, body) in shapes() {
        assert!(body.len() <= REQUEST_BYTES_MAX && body.len() > REQUEST_BYTES_MAX / 20, "{shape}: {}", body.len());
        for write_key in [Some(&b"key"[..]), None] {
            for endpoint in [Endpoint::Batch, Endpoint::Single(EventType::Track)] {
                let client_ip = Some(ClientIp::Direct([192, 0, 2, 1].into()));
                let request =
                    Request { endpoint, received_at_ms: 1_795_235_136_126, write_key, last_write_key: None, client_ip };
                let begun = thread_time();
                let _ = ingest(body.as_bytes(), &request, &Sources::Open, &mut scratch);
                costs.push((thread_time().saturating_sub(begun), shape, endpoint, write_key.is_some()));
            }
        }
    }
    costs.sort_unstable_by_key(|(cost, ..)| std::cmp::Reverse(*cost));
    for (cost, shape, endpoint, has_key) in &costs[..20] {
        println!(
            "{:6.1} ms  {shape}, {endpoint:?}, {}",
            cost.as_secs_f64() * 1e3,
            if *has_key { "key" } else { "no key" }
        );
    }
    let (worst, shape, ..) = costs[0];
    assert!(worst < WORK_MAX * NOISE, "{shape}: {worst:?}");
}
