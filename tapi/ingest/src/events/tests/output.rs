//! What an accepted event looks like when it goes out.

use super::*;

/// An event of a batch with these members, its output without [`NOW`].
fn output(members: &str) -> String {
    let value = BATCH.value(format!(r#"{{"batch":[{{{members}}}]}}"#));
    value.strip_suffix(NOW).unwrap_or_else(|| panic!("{value}")).to_owned()
}

const TRACK_M: &str = r#""type":"track","event":"e","userId":"u","messageId":"m""#;

#[test]
fn members_keep_their_order_and_bytes() {
    let own = r#""x":{ "a" : [1, 2.50e+7 ,"\u00e9\/"], "n":null } , "type":"track","event":"e","😀":"\ud83d\ude00","userId":"u","messageId":"m""#;
    assert_eq!(output(own), format!("{{{own},"));
}

#[test]
fn an_event_is_one_line() {
    let value =
        TRACK.value("{\n  \"event\" : \"e\",\r\n \"userId\":\"u\" , \"messageId\":\"m\",\n\"p\": [ 1 ,\n 2 ]\n}\n");
    assert_eq!(value, format!(r#"{{"event":"e","userId":"u","messageId":"m","p":[1,2],"type":"track",{NOW}"#));
    let value = TRACK.value("{\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"m\", \"p\": [ 1 ]}\n");
    assert_eq!(value, format!(r#"{{"event":"e","userId":"u","messageId":"m", "p": [ 1 ],"type":"track",{NOW}"#));
}

#[test]
fn what_the_server_says_is_not_the_clients_to_say() {
    let event = format!(r#""receivedAt":"x","source":"y","writeKey":"z",{TRACK_M},"writ\u0065Key":1,"timestamp":null"#);
    assert_eq!(output(&event), format!("{{{TRACK_M},"));
}

#[test]
fn the_last_of_a_name_counts_and_is_the_only_one() {
    let event = r#""messageId":"a","type":"page","userId":1,"x":1,"type":"track","message\u0049d":"b","x":2,"event":"e","userId":"u""#;
    let record = BATCH.one(batch_of(&[&format!("{{{event}}}")]));
    assert_eq!(record.message_id.as_deref(), Some(&b"b"[..]));
    let expected = r#"{"x":1,"type":"track","message\u0049d":"b","x":2,"event":"e","userId":"u","#;
    assert_eq!(record.value, format!("{expected}{NOW}"));
}

#[test]
fn the_path_says_the_type_where_the_event_does_not() {
    for (event_type, extra, name) in [
        (EventType::Track, r#","event":"e""#, "track"),
        (EventType::Identify, "", "identify"),
        (EventType::Page, "", "page"),
        (EventType::Screen, "", "screen"),
        (EventType::Group, r#","groupId":"g""#, "group"),
        (EventType::Alias, r#","previousId":"p""#, "alias"),
    ] {
        let post = Post { endpoint: Endpoint::Single(event_type), ..BATCH };
        for own in ["", r#","type":null"#] {
            let value = post.value(format!(r#"{{"userId":"u","messageId":"m"{extra}{own}}}"#));
            assert_eq!(value, format!(r#"{{"userId":"u","messageId":"m"{extra},"type":"{name}",{NOW}"#));
        }
        let value = post.value(r#"{"userId":"u","messageId":"m","typ\u0065":"scr\u0065en"}"#);
        assert_eq!(value, format!(r#"{{"userId":"u","messageId":"m","typ\u0065":"scr\u0065en",{NOW}"#));
    }
}

#[test]
fn numbers_as_ids_become_strings() {
    let value = BATCH.value(batch_of(&[
        r#"{"type":"group","userId":42,"anonymousId":-4.20e1,"groupId": 7 ,"previousId":1180591620717411303424,"messageId":12}"#,
    ]));
    let expected = r#"{"type":"group","userId":"42","anonymousId":"-4.20e1","groupId":"7","previousId":"1180591620717411303424","messageId":"12","#;
    assert_eq!(value, format!("{expected}{NOW}"));
}

#[test]
fn an_empty_array_is_an_empty_object_where_one_belongs() {
    let event = format!(r#"{TRACK_M},"properties":[ ],"traits":[],"context":[],"integrations":[],"x":[]"#);
    let expected = format!(r#"{TRACK_M},"properties":{{}},"traits":{{}},"context":{{}},"integrations":{{}},"x":[]"#);
    assert_eq!(output(&event), format!("{{{expected},"));
}

#[test]
fn message_ids_are_kept_or_made() {
    let id = |text: &str| PASS.one(batch_of(&[&format!(r#"{{"type":"track","event":"e","userId":"u"{text}}}"#)]));
    for (text, expected) in [
        (r#","messageId":"m-1""#, "m-1"),
        (r#","messageId":"\u0049\n\/""#, "I\n/"),
        (r#","messageId":0.10"#, "0.10"),
        (r#","messageId":1e400"#, "1e400"),
    ] {
        assert_eq!(id(text).message_id.as_deref(), Some(expected.as_bytes()), "{text}");
    }
    assert!(id(r#","messageId":"\u0049\/""#).value.contains(r#""messageId":"\u0049\/""#), "the client's own text");

    let mut made = std::collections::HashSet::new();
    for text in [
        "",
        "null",
        "\"\"",
        "true",
        "{}",
        "[]",
        "\"a\",\"messageId\":null",
        "\"  \"",
        "\"\\u0020\\n\"",
        "\"undefined\"",
        "\"00000000-0000-0000-0000-000000000000\"",
    ] {
        let record = id(&if text.is_empty() { String::new() } else { format!(r#","messageId":{text}"#) });
        let id = String::from_utf8(record.message_id.unwrap()).unwrap();
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
        assert_eq!(record.value.matches("messageId").count(), 1);
        assert!(record.value.contains(&format!(r#""messageId":"{id}""#)));
        assert!(made.insert(id), "{text}");
    }
}

#[test]
fn two_lone_surrogates_are_two_identities() {
    let ids = [r"\ud800", r"\ud801", r"\ufffd"].map(|id| {
        let record = PASS.one(batch_of(&[&GOOD.replace(r#""m""#, &format!("\"{id}\""))]));
        assert!(record.value.contains(&format!("\"{id}\"")));
        record.message_id.unwrap()
    });
    assert_eq!(ids, [&b"\xed\xa0\x80"[..], b"\xed\xa0\x81", b"\xef\xbf\xbd"]);
}

#[test]
fn times_are_corrected_and_kept() {
    let times = |members: &str| {
        let value = BATCH.value(format!(r#"{{"batch":[{{{TRACK_M}{members}}}]}}"#));
        let end = r#","source":"web","receivedAt":"2026-11-21T04:25:36.126Z"}"#;
        value.strip_prefix(&format!("{{{TRACK_M}")).unwrap().strip_suffix(end).unwrap().to_owned()
    };
    for (members, expected) in [
        (
            r#","timestamp":"2026-11-21T04:00:00Z","sentAt":"2026-11-21T04:00:01.5+00:00""#,
            r#","sentAt":"2026-11-21T04:00:01.5+00:00","originalTimestamp":"2026-11-21T04:00:00Z","timestamp":"2026-11-21T04:25:34.626Z""#,
        ),
        (
            r#","timestamp":"2026-11-21T06:00:00.123456+02:00""#,
            r#","originalTimestamp":"2026-11-21T06:00:00.123456+02:00","timestamp":"2026-11-21T04:00:00.123Z""#,
        ),
        (
            r#","timestamp":"2026-11-21T06:00:00\u002b02:00""#,
            r#","originalTimestamp":"2026-11-21T06:00:00\u002b02:00","timestamp":"2026-11-21T04:00:00.000Z""#,
        ),
        (
            r#","originalTimestamp":"1970-01-01T00:00:00Z""#,
            r#","originalTimestamp":"1970-01-01T00:00:00Z","timestamp":"1970-01-01T00:00:00.000Z""#,
        ),
        (
            r#","originalTimestamp":"1970-01-01T00:00:00Z","timestamp":"2015-2-02T00:00:00Z""#,
            r#","originalTimestamp":"2015-2-02T00:00:00Z","timestamp":"2015-02-02T00:00:00.000Z""#,
        ),
        (
            r#","timestamp":"not a date","sentAt":"nor this""#,
            r#","sentAt":"nor this","originalTimestamp":"not a date","timestamp":"2026-11-21T04:25:36.126Z""#,
        ),
        (
            r#","timestamp":1700000000000"#,
            r#","originalTimestamp":1700000000000,"timestamp":"2023-11-14T22:13:20.000Z""#,
        ),
        (
            r#","timestamp":1700000000.5,"sentAt":1700000001"#,
            r#","sentAt":1700000001,"originalTimestamp":1700000000.5,"timestamp":"2026-11-21T04:25:35.626Z""#,
        ),
        (
            r#","timestamp":"1700000000","sentAt":"1700000001000""#,
            r#","sentAt":"1700000001000","originalTimestamp":"1700000000","timestamp":"2026-11-21T04:25:35.126Z""#,
        ),
        (r#","timestamp":12"#, r#","originalTimestamp":12,"timestamp":"2026-11-21T04:25:36.126Z""#),
        (r#","timestamp":"","originalTimestamp":null,"sentAt":null"#, r#","timestamp":"2026-11-21T04:25:36.126Z""#),
        (
            r#","timestamp":"0001-01-01T00:00:00Z","sentAt":"9999-12-31T00:00:00Z""#,
            r#","sentAt":"9999-12-31T00:00:00Z","originalTimestamp":"0001-01-01T00:00:00Z","timestamp":"2026-11-21T04:25:36.126Z""#,
        ),
    ] {
        assert_eq!(times(members), expected, "{members}");
    }
}

#[test]
fn unreadable_times_are_counted_by_source() {
    let event = |members: &str| format!("{{{TRACK_M}{members}}}");
    let body = format!(
        r#"{{"batch":[{},{},{},{}]}}"#,
        event(r#","timestamp":"not a date""#),
        event(r#","sentAt":"nor this""#),
        event(r#","timestamp":"2026-11-21T04:00:00 UTC""#),
        event("")
    );
    let mut scratch = Scratch::new();
    let request = Request {
        endpoint: Endpoint::Batch,
        received_at_ms: 0,
        write_key: Some(b"k"),
        last_write_key: None,
        client_ip: None,
    };
    ingest(body.as_bytes(), &request, &Sources::Open, &mut scratch).unwrap();
    assert_eq!(scratch.unreadable_times().collect::<Vec<_>>(), [(&b"k"[..], 2)]);
    ingest(batch_of(&[GOOD]).as_bytes(), &request, &Sources::Open, &mut scratch).unwrap();
    assert_eq!(scratch.unreadable_times().count(), 0);
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_body() {
    let marked = format!("\u{feff}{}", batch_of(&[GOOD]));
    assert_eq!(BATCH.send(&marked), BATCH.send(batch_of(&[GOOD])));
    let broken = format!("\u{feff}{}", batch_of(&[&GOOD.replace('}', ",\"x\":NaN}")]));
    assert!(BATCH.one(&broken).is_event);
}

#[test]
fn the_envelopes_sent_at_counts_where_the_event_has_none() {
    let event = |sent_at: &str| format!(r#"{{{TRACK_M},"timestamp":"2026-11-21T04:00:00Z"{sent_at}}}"#);
    let send = |sent_at: &str| {
        let body = format!(r#"{{"batch":[{}],"sentAt":"2026-11-21T04:00:10Z"}}"#, event(sent_at));
        BATCH.value(body)
    };
    let expected = r#""originalTimestamp":"2026-11-21T04:00:00Z","timestamp":"2026-11-21T04:25:26.126Z","sentAt":"2026-11-21T04:00:10Z","source""#;
    assert!(send("").contains(expected), "{}", send(""));
    assert!(send(r#","sentAt":null"#).contains(expected));
    let own = send(r#","sentAt":"2026-11-21T04:00:01Z""#);
    assert!(own.contains(r#""timestamp":"2026-11-21T04:25:35.126Z""#), "{own}");
    assert_eq!(own.matches("sentAt").count(), 1);
}

#[test]
fn the_envelopes_common_members_are_merged_wherever_they_stand() {
    let common = r#""context":{ "library" : {"name":"go"}, "ip":"1.1.1.1" },"integrations":{"All":true}"#;
    let events = [
        format!("{{{TRACK_M}}}"),
        format!(r#"{{{TRACK_M},"context":{{ "library":1,"a":2 }},"integrations":{{"All":false}}}}"#),
        format!(r#"{{"context":null,{TRACK_M},"context":[],"integrations":"x"}}"#),
        format!(r#"{{{TRACK_M},"context":"own"}}"#),
    ];
    let expected = [
        r#","context":{"ip":"1.1.1.1","library":{"name":"go"}},"integrations":{"All":true},"#,
        r#","context":{"library":1,"a":2,"ip":"1.1.1.1"},"integrations":{"All":false},"#,
        r#","integrations":"x","context":{"ip":"1.1.1.1","library":{"name":"go"}},"#,
        r#","context":"own","integrations":{"All":true},"#,
    ]
    .map(|members| format!("{{{TRACK_M}{members}{NOW}"));
    let batch = format!(r#""batch":[{}]"#, events.join(","));
    for body in [format!("{{{common},{batch}}}"), format!("{{{batch},{common}}}")] {
        let (_, records) = BATCH.send(body).unwrap();
        assert_eq!(records.into_iter().map(|record| record.value).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn the_clients_address_is_filled_in_where_there_is_none() {
    let ip = |client_ip: &str, members: &str| {
        let post = Post { client_ip: Some(client_ip), ..BATCH };
        post.value(format!(r#"{{"batch":[{{{TRACK_M}{members}}}]}}"#)).strip_suffix(NOW).unwrap().to_owned()
    };
    let start = format!("{{{TRACK_M}");
    for (client_ip, members, expected) in [
        ("10.0.0.255", "", r#","context":{"ip":"10.0.0.255"},"#),
        ("10.0.0.1", r#","context":{"a":1 }"#, r#","context":{"a":1,"ip":"10.0.0.1"},"#),
        ("10.0.0.1", r#","context":{"\u0069p":"own"}"#, r#","context":{"\u0069p":"own"},"#),
        ("::ffff:10.0.0.1", "", r#","context":{"ip":"10.0.0.1"},"#),
        ("2001:db8::1", "", ","),
        ("2001:db8::1", r#","context":{"a":1 }"#, r#","context":{"a":1 },"#),
    ] {
        assert_eq!(ip(client_ip, members), format!("{start}{expected}"), "{client_ip} {members}");
    }
}

#[test]
fn a_server_s_address_is_filled_in_only_where_the_event_says_that_it_is_direct() {
    let value = |members: &str| {
        let post = Post { client_ip: Some("10.0.0.1"), client_side: false, ..BATCH };
        post.value(format!(r#"{{"batch":[{{{TRACK_M}{members}}}]}}"#)).strip_suffix(NOW).unwrap().to_owned()
    };
    let start = format!("{{{TRACK_M}");
    for (members, expected) in [
        ("", ","),
        (r#","context":{"direct":false}"#, r#","context":{"direct":false},"#),
        (r#","context":{"direct":"true"}"#, r#","context":{"direct":"true"},"#),
        (r#","context":{"dir\u0065ct":true}"#, r#","context":{"dir\u0065ct":true,"ip":"10.0.0.1"},"#),
        (r#","context":{"direct":true,"ip":"own"}"#, r#","context":{"direct":true,"ip":"own"},"#),
    ] {
        assert_eq!(value(members), format!("{start}{expected}"), "{members}");
    }
}

#[test]
fn the_request_names_the_source_then_the_envelope_then_the_event() {
    let event = |key: &str| GOOD.replace('}', &format!(r#","writeKey":"{key}"}}"#));
    let source = |write_key, envelope: &str, event: &str| {
        let post = Post { write_key, ..BATCH };
        let record = post.one(format!(r#"{{"batch":[{event}],"writeKey":{envelope}}}"#));
        assert!(!record.value.contains("writeKey"));
        assert_eq!(member(&record.value, "source").as_deref(), Some(&*record.source));
        record.source
    };
    assert_eq!(source(Some("key"), r#""other""#, &event("none")), "web");
    assert_eq!(source(Some(""), r#""other""#, &event("none")), "ios");
    assert_eq!(source(Some(" key\n"), r#""other""#, &event("none")), "web");
    assert_eq!(source(Some("  "), r#"" other\t""#, &event("none")), "ios");
    assert_eq!(source(None, r#"" ""#, &event(" key")), "web");
    assert_eq!(source(None, r#""oth\u0065r""#, &event("none")), "ios");
    assert_eq!(source(None, "null", &event("key")), "web");
    assert_eq!(source(None, r#""""#, &event("bad")), "\u{0}\"");

    let single = Post { write_key: None, ..TRACK };
    assert_eq!(single.one(event("other")).source, "ios");
}
