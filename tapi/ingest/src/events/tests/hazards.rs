//! What real SDKs have been seen to send, and what an attacker would.

use std::time::{Duration, Instant};

use super::*;

/// [`GOOD`] with one more member.
fn with(member: &str) -> String {
    GOOD.replace('}', &format!(",{member}}}"))
}

/// The output of an event with `member`, from that member on to where the server's begin.
fn kept(member: &str) -> String {
    let value = PASS.value(batch_of(&[&with(member)]));
    let value = value.strip_suffix(NOW).unwrap().strip_suffix(',').unwrap().to_owned();
    value.strip_prefix(GOOD.strip_suffix('}').unwrap()).unwrap()[1..].to_owned()
}

#[test]
fn values_keep_their_text() {
    for member in [
        r#""n":1180591620717411303424"#,
        r#""n":123456789012345678901234567890"#,
        r#""n":1e400"#,
        r#""n":-1E+9999"#,
        r#""n":[1e+21,0.30000000000000004,9007199254740993,-0,1.0,1E5]"#,
        r#""s":"\ud800""#,
        r#""\udfff":"\ud83d\ud83d\ude00""#,
        r#""s":"\u0000\u001f\u003c\u003e\u0026\/é😀""#,
        r#""a":[],"o":{},"n":null,"nested":{"x":[[],{}]}"#,
        "\"del\":\"\u{7f}\u{2028}\"",
    ] {
        assert_eq!(kept(member), member);
    }
}

#[test]
fn what_is_no_number_becomes_null() {
    assert_eq!(kept(r#""n":NaN"#), r#""n":null"#);
    assert_eq!(kept(r#""n":[Infinity, -Infinity],"NaN":"NaN""#), r#""n":[null, null],"NaN":"NaN""#);
    let value = TRACK.value(with("\"n\":NaN"));
    assert_eq!(value, format!("{},\"n\":null,{NOW}", GOOD.strip_suffix('}').unwrap()));
}

#[test]
fn one_bad_event_costs_only_itself() {
    let deep = with(&format!(r#""x":{}{}"#, "[".repeat(3_000), "]".repeat(3_000)));
    let large = with(&format!(r#""x":"{}""#, "x".repeat(300_000)));
    for (bad, events) in [
        (with("\"x\":NaN").into_bytes(), 100),
        (with("\"x\":1e400").into_bytes(), 100),
        (with("\"x\":\"\\udc00\"").into_bytes(), 100),
        (with("\"x\":01").into_bytes(), 99),
        (with("\"x\":\"\t\"").into_bytes(), 99),
        (deep.into_bytes(), 99),
        (large.into_bytes(), 99),
        ([&b"{\"x\":\"\xff\"}"[..]].concat(), 99),
        (b"{\"x\" \"y\"}".to_vec(), 99),
        (b"undefined".to_vec(), 99),
    ] {
        for place in [0, 50, 99] {
            let mut all = vec![GOOD.as_bytes(); 99];
            all.insert(place, &bad);
            let body = [b"{\"batch\":[".to_vec(), all.join(&b','), b"],\"sentAt\":\"2026-11-21T00:00:00Z\"}".to_vec()]
                .concat();
            let (accepted, records) = PASS.send(&body).unwrap();
            assert_eq!((accepted.events, accepted.rejected), (events, 100 - events));
            assert_eq!(records[place].is_event, events == 100);
        }
    }
}

#[test]
fn bytes_that_are_not_text_are_kept_as_base64() {
    let body = [&b"{\"batch\":[{\"a\":\"\xff\"}]}"[..]].concat();
    let record = BATCH.one(body);
    assert_eq!(member(&record.value, "code").as_deref(), Some("invalid_utf8"));
    assert_eq!(member(&record.value, "rawBase64").as_deref(), Some("eyJhIjoi/yJ9"));
    assert_eq!(member(&record.value, "raw"), None);
}

#[test]
fn a_swift_batch_file_has_line_ends_between_events() {
    let body = format!("{{ \"batch\": [\n{GOOD}\n,\n{GOOD}],\n\"sentAt\":\"x\",\n\"writeKey\":\"key\"}}\n");
    let (accepted, records) = Post { write_key: None, ..BATCH }.send(body).unwrap();
    assert_eq!((accepted.events, records.len()), (2, 2));
}

#[test]
fn the_envelope_may_need_repair_too() {
    let body = format!(r#"{{"batch":[{GOOD}],"context":{{"n":NaN,"s":"\ud800","big":1e400}},"x":Infinity}}"#);
    let expected = r#","context":{"big":1e400,"n":null,"s":"\ud800"},"#;
    assert_eq!(PASS.value(body), format!("{}{expected}{NOW}", GOOD.strip_suffix('}').unwrap()));
}

/// Each of these has been the worst case of some parser. The bound is generous: what it guards against is quadratic
/// time, which would be minutes.
#[test]
fn no_body_takes_long() {
    let fill = |unit: &str, around: (&str, &str)| {
        let room = REQUEST_BYTES_MAX - around.0.len() - around.1.len();
        format!("{}{}{}", around.0, unit.repeat(room / unit.len()), around.1)
    };
    let batch = ("{\"batch\":[", "0]}");
    let single = ("{\"userId\":\"u\",\"event\":\"e\"", "}");
    let open = "[".repeat(10_000);
    let bodies = [
        fill("[", ("", "")),
        fill("{\"a\":", batch),
        fill("{\"a\":[", batch),
        fill("{\"a\":\"{", batch),
        fill("{\"a\":\"],", batch),
        fill("}", batch),
        fill("{\"a\":1},]", batch),
        fill("\"a\":", batch),
        fill("\"a\"]", batch),
        fill("x ", ("", "")),
        fill("{\"batch\":[1]}", ("", "")),
        fill("{\"a\":", ("", "")),
        fill("[", ("{\"batch\":[", "")),
        fill("1,", batch),
        fill("{},", batch),
        fill("NaN,", batch),
        fill("\"\\ud800\",", batch),
        fill(&format!("{open},"), batch),
        fill(&format!("{open}{},", "]".repeat(10_000)), batch),
        fill(",\"a\":1", single),
        fill(",\"messageId\":\"a\"", single),
        fill(",\"a\":NaN", single),
        fill("\\", ("{\"a\":\"", "\"}")),
        fill("\"", ("{\"batch\":[", "")),
        fill("-", ("[", "]")),
        fill("1", ("{\"batch\":[", "]}")),
        fill(" ", ("{\"batch\":[", "]}")),
        fill(&format!("{GOOD},"), ("{\"context\":{\"a\":1},\"batch\":[", "0]}")),
        fill(
            "{\"type\":\"track\",\"event\":\"e\",\"userId\":1},",
            ("{\"context\":{\"a\":1,\"b\":NaN},\"batch\":[", "0]}"),
        ),
        fill("\"a\":1,", ("{\"context\":{", "\"z\":1},\"batch\":[{}]}")),
    ];
    for body in &bodies {
        for post in [BATCH, TRACK] {
            let start = Instant::now();
            let _ = post.send(body);
            let elapsed = start.elapsed();
            assert!(elapsed < Duration::from_secs(2), "{elapsed:?} for {}…", &body[..60]);
        }
    }
}
