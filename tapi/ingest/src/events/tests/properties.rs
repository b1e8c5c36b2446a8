//! Random events: what comes out is JSON, and what is not ours to change comes out byte by byte.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// JSON text of any shape, spaces and odd numbers included. `hard` adds what simd-json refuses.
fn json(hard: bool) -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
    ];
    let leaf = if hard {
        let odd = prop_oneof![
            Just("1e400".to_owned()),
            Just(r#""\ud800""#.to_owned()),
            "-?[1-9][0-9]{18,40}",
            "0\\.[0-9]{20,40}",
        ];
        prop_oneof![plain, odd].boxed()
    } else {
        plain.boxed()
    };
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(" , "))),
            proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|members| {
                let members =
                    members.iter().map(|(name, value)| format!("{}: {value}", serde_json::to_string(name).unwrap()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// The top-level members of an object, their values as text.
fn members(value: &str) -> Vec<(String, String)> {
    struct Members(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    out.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                        members.push((name, value.get().to_owned()));
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_str::<Members>(value).unwrap_or_else(|error| panic!("{error}: {value}")).0
}

fn event(extra: &[(String, String)]) -> String {
    let extra: Vec<_> = extra.iter().map(|(name, value)| format!(",\"x{name}\" :{value}")).collect();
    GOOD.replace('}', &format!("{}}}", extra.concat()))
}

/// Members of names that mean something, often twice, with values of any kind.
fn managed(hard: bool) -> impl Strategy<Value = Vec<(String, String)>> {
    let name = proptest::sample::select(names::Name::ALL.to_vec())
        .prop_map(|(_, name)| std::str::from_utf8(name).unwrap().to_owned())
        .prop_map(|name| if name == "writeKey" { "wr\\u0069teKey".to_owned() } else { name });
    let value = prop_oneof![
        json(hard),
        Just("{}".to_owned()),
        Just("[ ]".to_owned()),
        Just("\"\"".to_owned()),
        Just("\"page\"".to_owned()),
        Just("\"2015-2-02T00:30:19.984Z\"".to_owned()),
        Just("{ \"ip\" : 1,\n\"a\":2 }".to_owned()),
    ];
    proptest::collection::vec((name, value), 0..12)
}

/// An event with these members, and those that make it likely to be taken before or behind them.
fn managed_event(members: &[(String, String)], first: bool) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let good = GOOD.trim_matches(['{', '}']);
    let (before, behind) = if first { (good, "") } else { ("\"x\":0", good) };
    let parts = [&[before.to_owned()], &members[..], &[behind.to_owned()]].concat();
    format!("{{{}}}", parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ,"))
}

/// Records with the ids that the server made replaced, so that two runs can be compared.
fn without_made_ids(outcome: Result<(Accepted, Vec<Record>), Reject>) -> Result<(Accepted, Vec<Record>), Reject> {
    let (accepted, mut records) = outcome?;
    for record in &mut records {
        let Some(id) = record.message_id.as_ref().and_then(|id| String::from_utf8(id.clone()).ok()) else { continue };
        if record.is_event && uuid::Uuid::parse_str(&id).is_ok() {
            record.value = record.value.replace(&id, "made");
            record.message_id = None;
        }
    }
    Ok((accepted, records))
}

proptest! {
    #[test]
    fn members_that_are_not_ours_come_out_byte_by_byte(
        extra in proptest::collection::vec(("[a-z]{0,3}", json(true)), 0..8),
        client_ip in proptest::option::of(Just("10.1.2.3")),
    ) {
        let post = Post { client_ip, ..PASS };
        let value = post.value(batch_of(&[&event(&extra)]));
        let out: Vec<_> = members(&value).into_iter().filter(|(name, _)| name.starts_with('x')).collect();
        let expected: Vec<_> = extra.into_iter().map(|(name, value)| (format!("x{name}"), value)).collect();
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn both_paths_agree(
        events in proptest::collection::vec(proptest::collection::vec(("[a-z]{0,3}", json(false)), 0..4), 1..4),
        context in json(false),
        odd in json(false),
    ) {
        let mut events: Vec<_> = events.iter().map(|extra| event(extra)).collect();
        events.push(odd);
        let body = format!(r#"{{"context":{context},"batch":[{}] }}"#, events.join(" ,\n"));
        prop_assert_eq!(BATCH.send(&body), BATCH.send_slowly(body.as_bytes()));
        prop_assert_eq!(TRACK.send(&events[0]), TRACK.send_slowly(events[0].as_bytes()));
    }

    #[test]
    fn damaged_bodies_never_come_out_as_anything_but_json(
        extra in proptest::collection::vec(("[a-z]{0,3}", json(true)), 0..4),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut body = batch_of(&[GOOD, &event(&extra), GOOD]).into_bytes();
        for (place, byte, insert) in damage {
            let place = place.index(body.len());
            if insert { body.insert(place, byte) } else { body[place] = byte }
        }
        for post in [BATCH, TRACK] {
            if let Ok((_, records)) = post.send(&body) {
                for record in records {
                    // A lone surrogate is JSON, but no text for serde_json: only names could hold one here.
                    serde_json::from_str::<&RawValue>(&record.value).map_err(|error| TestCaseError::fail(format!("{error}: {}", record.value)))?;
                }
            }
        }
    }

    #[test]
    fn every_name_of_ours_is_there_once(
        members_in in managed(true),
        first in any::<bool>(),
        common in managed(true),
        client_ip in proptest::option::of(Just("10.1.2.3")),
    ) {
        let envelope: Vec<_> =
            common.iter().filter(|(name, _)| !["batch", "writeKey"].contains(&&**name)).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let envelope = [envelope, vec![format!("\"batch\":[{}]", managed_event(&members_in, first))]].concat().join(",");
        let (_, records) = Post { client_ip, ..PASS }.send(format!("{{{envelope}}}")).unwrap();
        if !records[0].is_event {
            return Ok(());
        }
        let out = members(&records[0].value);
        let count = |name: &str| out.iter().filter(|(own, _)| own == name).count();
        for name in ["type", "messageId", "timestamp", "source", "receivedAt"] {
            prop_assert_eq!(count(name), 1, "{} in {}", name, records[0].value);
        }
        for (_, name) in names::Name::ALL {
            prop_assert!(count(std::str::from_utf8(name).unwrap()) <= 1);
        }
        prop_assert_eq!(count("writeKey"), 0);
        let received_at = &out.iter().find(|(name, _)| name == "receivedAt").unwrap().1;
        prop_assert_eq!(received_at, "\"2026-11-21T04:25:36.126Z\"");
        for name in ["properties", "traits", "context", "integrations"] {
            prop_assert!(!out.iter().any(|(own, value)| own == name && value.replace(' ', "") == "[]"));
        }
    }

    #[test]
    fn both_paths_agree_on_members_of_ours(members in managed(false), first in any::<bool>(), common in managed(false)) {
        let event = managed_event(&members, first);
        let common: Vec<_> = common.iter().map(|(name, value)| format!("\"{name}\":{value},")).collect();
        let body = format!("{{{}\"batch\":[{event}]}}", common.concat());
        prop_assert_eq!(without_made_ids(BATCH.send(&body)), without_made_ids(BATCH.send_slowly(body.as_bytes())));
        prop_assert_eq!(without_made_ids(TRACK.send(&event)), without_made_ids(TRACK.send_slowly(event.as_bytes())));
    }
}
