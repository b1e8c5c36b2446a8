//! What is refused, with which reason, and what becomes of its neighbours.

use wire::limits::{EVENT_BYTES_MAX, EVENT_DEPTH_MAX, MESSAGE_ID_BYTES_MAX};

use super::*;

/// The reason against an event, which a single request is refused for and a batch sets aside.
fn reason(event: &str) -> Reject {
    let single = TRACK.send(event).unwrap_err();
    let (accepted, records) = BATCH.send(batch_of(&[GOOD, event, GOOD])).unwrap();
    assert_eq!(accepted, Accepted { events: 2, rejected: 1 });
    assert_eq!([&records[0], &records[2]].map(|record| record.is_event), [true; 2]);
    let record = &records[1];
    assert_eq!((record.is_event, &*record.source), (false, "web"));
    assert_eq!(member(&record.value, "code").as_deref(), Some(single.code()));
    assert_eq!(member(&record.value, "message").as_deref(), Some(single.message()));
    assert_eq!(member(&record.value, "source").as_deref(), Some("web"));
    assert_eq!(member(&record.value, "receivedAt").as_deref(), Some("2026-11-21T04:25:36.126Z"));
    assert_eq!(member(&record.value, "raw").as_deref(), Some(event));
    single
}

#[test]
fn events_are_refused_by_name() {
    for (event, expected) in [
        ("1", Reject::EventNotObject),
        ("[]", Reject::EventNotObject),
        ("NaN", Reject::EventNotObject),
        ("{\"type\" 1}", Reject::InvalidJson),
        ("{\"type\":}", Reject::InvalidJson),
        ("{\"type\":01}", Reject::InvalidJson),
        ("{\"type\":\"\\x\"}", Reject::InvalidJson),
        (r#"{"type":"Track","userId":"u"}"#, Reject::TypeUnknown),
        (r#"{"type":"","userId":"u"}"#, Reject::TypeUnknown),
        (r#"{"type":1,"userId":"u"}"#, Reject::TypeUnknown),
        (r#"{"type":"track","event":"e"}"#, Reject::IdentityMissing),
        (r#"{"type":"track","event":"e","userId":"","anonymousId":null}"#, Reject::IdentityMissing),
        (r#"{"type":"track","event":"e","userId":"  ","anonymousId":" "}"#, Reject::IdentityMissing),
        (r#"{"type":"track","event":"e","userId":true}"#, Reject::IdNotString),
        (r#"{"type":"track","event":"e","userId":"u","anonymousId":{}}"#, Reject::IdNotString),
        (r#"{"type":"track","event":"e","userId":[]}"#, Reject::IdNotString),
        (r#"{"type":"track","userId":"u"}"#, Reject::EventNameMissing),
        (r#"{"type":"track","userId":"u","event":""}"#, Reject::EventNameMissing),
        (r#"{"type":"track","userId":"u","event":null}"#, Reject::EventNameMissing),
        (r#"{"type":"track","userId":"u","event":7}"#, Reject::EventNameNotString),
        (r#"{"type":"track","userId":"u","event":"e","properties":"x"}"#, Reject::PropertiesNotObject),
        (r#"{"type":"track","userId":"u","event":"e","properties":[1]}"#, Reject::PropertiesNotObject),
        (r#"{"type":"page","userId":"u","properties":1}"#, Reject::PropertiesNotObject),
        (r#"{"type":"page","userId":"u","name":1}"#, Reject::NameNotString),
        (r#"{"type":"screen","userId":"u","category":[]}"#, Reject::CategoryNotString),
        (r#"{"type":"identify","userId":"u","traits":true}"#, Reject::TraitsNotObject),
        (r#"{"type":"group","userId":"u"}"#, Reject::GroupIdMissing),
        (r#"{"type":"group","userId":"u","groupId":false}"#, Reject::IdNotString),
        (r#"{"type":"group","userId":"u","groupId":"g","traits":"x"}"#, Reject::TraitsNotObject),
        (r#"{"type":"alias","userId":"u"}"#, Reject::PreviousIdMissing),
        (r#"{"type":"alias","previousId":"p"}"#, Reject::IdentityMissing),
    ] {
        assert_eq!(reason(event), expected, "{event}");
    }
    let untyped = r#"{"userId":"u","event":"e"}"#;
    let record = BATCH.one(batch_of(&[untyped]));
    assert_eq!(member(&record.value, "code").as_deref(), Some(Reject::TypeMissing.code()));
}

#[test]
fn what_is_odd_but_fine_is_taken() {
    for event in [
        r#"{"type":"page","userId":"u","name":"","category":null,"properties":null}"#,
        r#"{"type":"page","userId":null,"anonymousId":"a","properties":[]}"#,
        r#"{"type":"identify","userId":0}"#,
        r#"{"type":"identify","userId":"u","properties":"not looked at"}"#,
        r#"{"type":"group","anonymousId":"a","groupId":1,"traits":[]}"#,
        r#"{"type":"alias","anonymousId":"a","previousId":"p"}"#,
        r#"{"type":"track","userId":"u","event":"e","context":7,"name":7}"#,
    ] {
        assert!(BATCH.one(batch_of(&[event])).is_event, "{event}");
    }
}

#[test]
fn a_set_aside_event_keeps_a_message_id_that_can_be_read() {
    let set_aside = |event: &str| {
        let record = BATCH.one(batch_of(&[event]));
        (record.message_id.map(|id| String::from_utf8(id).unwrap()), member(&record.value, "messageId"))
    };
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(set_aside(r#"{"messageId":"a","message\u0049d":"\u0062"}"#), (id("b"), id("b")));
    assert_eq!(set_aside(r#"{"messageId":12}"#), (id("12"), id("12")));
    assert_eq!(set_aside(r#"{"messageId":"a","messageId":null}"#), (None, None));
    assert_eq!(set_aside("7"), (None, None));
}

#[test]
fn message_ids_have_a_bound_on_their_decoded_text() {
    let event = |id: &str| GOOD.replace("\"m\"", &format!("\"{id}\""));
    let longest = "x".repeat(MESSAGE_ID_BYTES_MAX);
    assert_eq!(BATCH.one(batch_of(&[&event(&longest)])).message_id.as_deref(), Some(longest.as_bytes()));
    let escaped = "\\u0078".repeat(MESSAGE_ID_BYTES_MAX);
    assert_eq!(BATCH.one(batch_of(&[&event(&escaped)])).message_id.as_deref(), Some(longest.as_bytes()));
    assert_eq!(reason(&event(&format!("{longest}x"))), Reject::MessageIdTooLong);
    let number = GOOD.replace("\"m\"", &"1".repeat(MESSAGE_ID_BYTES_MAX + 1));
    let record = PASS.one(batch_of(&[&number]));
    assert_eq!(member(&record.value, "code").as_deref(), Some(Reject::MessageIdTooLong.code()));
}

/// [`GOOD`] filled up to `bytes`, with a member that takes the fast or the slow path.
fn event_of(bytes: usize, extra: &str) -> String {
    let event = GOOD.replace('}', &format!(r#"{extra},"x":""}}"#));
    event.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(bytes - event.len())))
}

#[test]
fn the_size_limit_is_exact_and_counts_no_white_space() {
    // The repairs make an event longer or shorter than the client's; the client's counts.
    for extra in ["", r#","n":NaN"#, r#","n":[-Infinity,Infinity]"#, r#","n":1180591620717411303424"#] {
        let largest = event_of(EVENT_BYTES_MAX, extra);
        assert_eq!(largest.len(), EVENT_BYTES_MAX);
        let spaced = largest
            .replacen('{', "{ \t\r\n", 1)
            .replace(",\"", " , \"")
            .replace('}', &format!("{}}}", " ".repeat(9_999)));
        for event in [&largest, &spaced] {
            assert!(BATCH.one(batch_of(&[event])).is_event);
            assert!(TRACK.one(event).is_event);
        }
        assert!(TRACK.value(&spaced).len() < EVENT_BYTES_MAX + 300, "white space is not kept beyond the limit");
        assert_eq!(reason(&event_of(EVENT_BYTES_MAX + 1, extra)), Reject::EventTooLarge, "{extra}");
    }
}

#[test]
fn depth_has_an_exact_bound() {
    let nested = |levels: usize, open: &str, close: &str| {
        GOOD.replace('}', &format!(r#","x":{}{}}}"#, open.repeat(levels - 1), close.repeat(levels - 1)))
    };
    for extra in ["", ",\"n\":NaN"] {
        let event = |levels| nested(levels, "[", "]").replace("\"x\"", &format!("\"y\":0{extra},\"x\""));
        assert!(PASS.one(batch_of(&[&event(EVENT_DEPTH_MAX)])).is_event);
        assert!(Post { endpoint: TRACK.endpoint, ..PASS }.one(event(EVENT_DEPTH_MAX)).is_event);
        for levels in [EVENT_DEPTH_MAX + 1, EVENT_DEPTH_MAX + 2, EVENT_DEPTH_MAX + 3, 3_000] {
            assert_eq!(reason(&event(levels)), Reject::TooDeep, "{levels}");
        }
    }
}

#[test]
fn whole_requests_are_refused_by_name() {
    for (body, expected) in [
        ("", Reject::BodyEmpty),
        (" \r\n\t", Reject::BodyEmpty),
        ("{", Reject::InvalidJson),
        ("not json", Reject::InvalidJson),
        ("{\"batch\":", Reject::InvalidJson),
        ("[{\"batch\" 1}]", Reject::InvalidJson),
        ("{}", Reject::BatchMissing),
        ("[]", Reject::BatchMissing),
        ("{\"batch\":{\"0\":{}}}", Reject::BatchMissing),
        ("{\"batch\":NaN}", Reject::BatchMissing),
        ("{\"batch\":[ ]}", Reject::BatchEmpty),
        ("{\"batch\":[ ],\"x\":NaN}", Reject::BatchEmpty),
    ] {
        assert_eq!(BATCH.send(body), Err(expected), "{body}");
    }
    assert_eq!(TRACK.send("{\"a\":1} x"), Err(Reject::InvalidJson));
    assert_eq!(TRACK.send(b"{\"a\":\"\xff\"}"), Err(Reject::InvalidUtf8));
}

#[test]
fn a_refused_body_is_kept_whole_where_its_key_is_known() {
    let keyed = r#"{"type":"track","writeKey":"other"}"#;
    for (post, body, source) in [
        (BATCH, "not json", "web"),
        (BATCH, "{}", "web"),
        (BATCH, r#"{"batch":{"0":{}}}"#, "web"),
        (TRACK, "{\"a\":1} x", "web"),
        (TRACK, r#"{"type":"track"}"#, "web"),
        (Post { write_key: None, ..TRACK }, keyed, "ios"),
    ] {
        let record = post.kept(body).unwrap();
        assert_eq!((&*record.source, record.message_id), (source, None), "{body}");
        assert_eq!(member(&record.value, "raw"), Some(body.replace("other", "*****")));
    }
    for (post, body) in [
        (BATCH, ""),
        (BATCH, "{\"batch\":[ ]}"),
        (Post { write_key: None, ..BATCH }, "not json"),
        (Post { write_key: None, ..TRACK }, "{}"),
        (Post { write_key: Some("nobody"), ..BATCH }, "not json"),
    ] {
        assert_eq!(post.kept(body), None, "{body}");
    }
    let binary = BATCH.kept(b"{\"batch\":\xff").unwrap();
    assert_eq!(member(&binary.value, "rawBase64").as_deref(), Some("eyJiYXRjaCI6/w=="));
}

#[test]
fn a_body_that_is_refused_unread_is_kept_too() {
    let sources = Sources::configured([(&b"key"[..], &b"web"[..])]);
    let request = |write_key| Request {
        endpoint: Endpoint::Batch,
        received_at_ms: RECEIVED_AT_MS,
        write_key,
        last_write_key: None,
        client_ip: None,
    };
    let mut scratch = Scratch::new();
    let mut refused = |reject, write_key| {
        let reject = refuse(reject, b"\x1f\x8b", &request(write_key), &sources, &mut scratch);
        (reject, scratch.records().map(record).collect::<Vec<_>>())
    };
    let (reject, records) = refused(Reject::BadGzip, Some(b" key\n"));
    assert_eq!((reject, records.len(), &*records[0].source), (Reject::BadGzip, 1, "web"));
    assert_eq!(member(&records[0].value, "rawBase64").as_deref(), Some("H4s="));
    assert_eq!(refused(Reject::BadGzip, Some(b"nobody")), (Reject::UnknownWriteKey, Vec::new()));
    assert_eq!(refused(Reject::BadGzip, None), (Reject::BadGzip, Vec::new()));
    assert_eq!(refused(Reject::BodyTooLarge, Some(b"key")), (Reject::BodyTooLarge, Vec::new()), "it may be a bomb");
}

#[test]
fn bodies_have_a_bound() {
    let body = |bytes: usize| format!("{}{}", batch_of(&[GOOD]), " ".repeat(bytes - batch_of(&[GOOD]).len()));
    assert!(BATCH.send(body(REQUEST_BYTES_MAX)).is_ok());
    assert_eq!(BATCH.send(body(REQUEST_BYTES_MAX + 1)), Err(Reject::BodyTooLarge));
}

#[test]
fn a_key_that_names_no_source_does_not_end_the_search() {
    let keyed = |key: &str| GOOD.replace('}', &format!(r#","writeKey":{key}}}"#));
    let enveloped = |key: &str, event: &str| format!(r#"{{"writeKey":"{key}","batch":[{event}]}}"#);
    let source = |post: Post<'_>, body: &str| post.one(body).source;
    let single = |post: Post<'_>, body: &str| Post { endpoint: TRACK.endpoint, ..post }.one(body).source;
    let none = Post { write_key: None, ..BATCH };
    let unknown = Post { write_key: Some("nobody"), ..BATCH };
    let login = Post { write_key: None, last_write_key: Some("other"), ..BATCH };
    let spaced = keyed(r#"" key\t""#);
    for (post, event, expected) in [
        (unknown, &*keyed("\"key\""), "web"),
        (none, &spaced, "web"),
        (Post { write_key: Some("\tkey "), ..BATCH }, GOOD, "web"),
        (BATCH, &keyed("\"other\""), "web"),
        (login, &keyed("\"key\""), "web"),
        (login, &keyed("\"nobody\""), "ios"),
        (login, GOOD, "ios"),
        (Post { write_key: Some("nobody"), ..login }, GOOD, "ios"),
        (Post { last_write_key: Some("other"), ..BATCH }, GOOD, "web"),
    ] {
        assert_eq!(source(post, &batch_of(&[event])), expected, "{event}");
        assert_eq!(single(post, event), expected, "{event}");
    }
    for (post, envelope, event, expected) in [
        (unknown, "key", GOOD, "web"),
        (none, " key ", GOOD, "web"),
        (none, "nobody", &*keyed("\"key\""), "web"),
        (none, "key", &keyed("\"other\""), "web"),
        (login, "key", GOOD, "web"),
        (login, "nobody", GOOD, "ios"),
    ] {
        assert_eq!(source(post, &enveloped(envelope, event)), expected, "{envelope} {event}");
    }
    // What is refused before its key is read belongs to the login, too.
    let (accepted, records) = login.send(batch_of(&["1"])).unwrap();
    assert_eq!((accepted.rejected, &*records[0].source), (1, "ios"));
}

#[test]
fn without_a_key_that_names_a_source_all_is_refused() {
    let keyed = |key: &str| GOOD.replace('}', &format!(r#","writeKey":{key}}}"#));
    let none = Post { write_key: None, ..BATCH };
    let unknown = Post { write_key: Some("nobody"), ..BATCH };
    assert_eq!(unknown.send(batch_of(&[GOOD])), Err(Reject::UnknownWriteKey));
    assert_eq!(unknown.send(batch_of(&["1"])), Err(Reject::UnknownWriteKey));
    assert_eq!(none.send(batch_of(&[GOOD])), Err(Reject::MissingWriteKey));
    assert_eq!(none.send(batch_of(&["1", "NaN"])), Err(Reject::MissingWriteKey));
    assert_eq!(none.send(batch_of(&[&keyed("7"), &keyed("\"\""), &keyed("\" \"")])), Err(Reject::MissingWriteKey));
    assert_eq!(none.send(batch_of(&[GOOD, &keyed("\"nobody\"")])), Err(Reject::UnknownWriteKey));
    let envelope = format!(r#"{{"writeKey":"nobody","batch":[{GOOD}]}}"#);
    assert_eq!(none.send(envelope), Err(Reject::UnknownWriteKey));
    let login = Post { last_write_key: Some("admin"), ..none };
    assert_eq!(login.send(batch_of(&[GOOD])), Err(Reject::MissingWriteKey), "a site's own login is no key");
    let single = |post: Post<'_>, body: &str| Post { endpoint: TRACK.endpoint, ..post }.send(body);
    assert_eq!(single(none, GOOD), Err(Reject::MissingWriteKey));
    assert_eq!(single(unknown, GOOD), Err(Reject::UnknownWriteKey));
    assert_eq!(single(none, &keyed("\"nobody\"")), Err(Reject::UnknownWriteKey));

    let (accepted, records) = none.send(batch_of(&[&keyed("\"key\""), &keyed("\"nobody\""), "1"])).unwrap();
    assert_eq!(accepted, Accepted { events: 1, rejected: 2 });
    assert_eq!(records.iter().map(|record| &*record.source).collect::<Vec<_>>(), ["web", "(unknown)", "(unknown)"]);
    assert_eq!(member(&records[1].value, "code").as_deref(), Some("unknown_write_key"));
    assert_eq!(member(&records[1].value, "source"), None);
}

#[test]
fn a_source_that_is_not_text_is_unknown() {
    let request = Request {
        endpoint: Endpoint::Batch,
        received_at_ms: RECEIVED_AT_MS,
        write_key: Some(b"\xff"),
        last_write_key: None,
        client_ip: None,
    };
    let outcome = ingest(batch_of(&[GOOD]).as_bytes(), &request, &Sources::Open, &mut Scratch::new());
    assert_eq!(outcome, Err(Reject::UnknownWriteKey));
}

#[test]
fn events_beyond_the_limit_are_set_aside_together() {
    for extra in ["7", "NaN"] {
        let good = vec![GOOD; BATCH_EVENTS_MAX];
        assert_eq!(BATCH.send(batch_of(&good)).unwrap().0, Accepted { events: BATCH_EVENTS_MAX, rejected: 0 });
        let body = batch_of(&[&good[..], &[GOOD, extra]].concat());
        let (accepted, records) = BATCH.send(body).unwrap();
        assert_eq!(accepted, Accepted { events: BATCH_EVENTS_MAX, rejected: 2 });
        let last = &records[BATCH_EVENTS_MAX].value;
        assert_eq!(records.len(), BATCH_EVENTS_MAX + 1);
        assert_eq!(member(last, "code").as_deref(), Some("batch_too_long"));
        assert_eq!(member(last, "events").as_deref(), Some("2"));
        assert_eq!(member(last, "raw").unwrap(), format!("{GOOD},{extra}"));
    }
}

#[test]
fn a_small_body_does_not_become_a_large_one() {
    let context = format!(r#"{{"a":"{}"}}"#, "x".repeat(30_000));
    let events = vec![GOOD; BATCH_EVENTS_MAX].join(",");
    let (accepted, records) = BATCH.send(format!(r#"{{"context":{context},"batch":[{events}]}}"#)).unwrap();
    let bytes: usize = records.iter().filter(|record| record.is_event).map(|record| record.value.len()).sum();
    assert!((RECORDS_BYTES_MAX - 40_000..RECORDS_BYTES_MAX).contains(&bytes), "{bytes}");
    assert_eq!(accepted.events + accepted.rejected, BATCH_EVENTS_MAX);
    assert_eq!(member(&records[BATCH_EVENTS_MAX - 1].value, "code").as_deref(), Some("expands_too_much"));

    let context = format!(r#"{{"a":"{}"}}"#, "x".repeat(40_000));
    assert_eq!(BATCH.send(format!(r#"{{"context":{context},"batch":[{GOOD}]}}"#)), Err(Reject::ExpandsTooMuch));
}

#[test]
fn every_event_bad_is_still_an_accepted_batch() {
    let (accepted, records) = BATCH.send(batch_of(&["1", "{}"])).unwrap();
    assert_eq!((accepted, records.len()), (Accepted { events: 0, rejected: 2 }, 2));
}

#[test]
fn reasons_are_counted() {
    let keys = Sources::Open;
    let request = Request {
        endpoint: Endpoint::Batch,
        received_at_ms: 0,
        write_key: Some(b"k"),
        last_write_key: None,
        client_ip: None,
    };
    let mut scratch = Scratch::new();
    ingest(batch_of(&["1", "{}", GOOD, "2"]).as_bytes(), &request, &keys, &mut scratch).unwrap();
    let counts: Vec<_> = scratch.event_rejects().collect();
    assert_eq!(counts, [(Reject::EventNotObject, 2), (Reject::TypeMissing, 1)]);
}
