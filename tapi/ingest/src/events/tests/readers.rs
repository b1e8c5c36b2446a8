//! What common readers of JSON cannot read is set aside, by default.

use super::*;

fn with(member: &str) -> String {
    GOOD.replace('}', &format!(",{member}}}"))
}

#[test]
fn what_a_reader_would_stop_at_is_set_aside_with_the_reason() {
    let arrays = |levels: usize| format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "\"x\":{".repeat(levels) + "\"y\":", "}".repeat(levels));
    for (member, expected) in [
        (r#""x":"\ud800""#.into(), Some(Reject::UnreadableText)),
        (r#""x":"a\uDFFFz""#.into(), Some(Reject::UnreadableText)),
        (r#""\ud83d\ud83d\ude00":1"#.into(), Some(Reject::UnreadableText)),
        (r#""x":"\ud83d\ude00\\ud800\uffff""#.into(), None),
        (r#""x":1e400"#.into(), Some(Reject::UnreadableNumber)),
        (r#""x":[-1E+309]"#.into(), Some(Reject::UnreadableNumber)),
        (format!(r#""x":1{}"#, "0".repeat(309)), Some(Reject::UnreadableNumber)),
        (format!(r#""x":1{}"#, "0".repeat(308)), None),
        (format!(r#""x":0.{}"#, "1".repeat(5_000)), None),
        (r#""x":[1e308,1e-400,1180591620717411303424]"#.into(), None),
        (arrays(126), None),
        (arrays(127), Some(Reject::UnreadableDepth)),
        (objects(126), None),
        (objects(127), Some(Reject::UnreadableDepth)),
    ] {
        let event = with(&member);
        assert!(PASS.one(batch_of(&[&event])).is_event, "{member}");
        // Its neighbours are not touched, whichever way the batch is read.
        for neighbour in [GOOD.to_owned(), with("\"n\":NaN")] {
            let (accepted, records) = BATCH.send(batch_of(&[&neighbour, &event, &neighbour])).unwrap();
            assert_eq!(accepted.rejected, usize::from(expected.is_some()), "{member}");
            let code = member_of(&records[1], "code");
            assert_eq!(code.as_deref(), expected.map(Reject::code), "{member}");
        }
        assert_eq!(TRACK.send(&event).err(), expected, "{member}");
    }
}

fn member_of(record: &Record, name: &str) -> Option<String> {
    if record.is_event { None } else { member(&record.value, name) }
}

#[test]
fn common_members_that_would_go_into_every_event_refuse_the_batch() {
    for context in [r#"{"a":"\udc00"}"#, r#"{"a":1e400}"#] {
        for good in [GOOD.to_owned(), with("\"n\":NaN")] {
            let body = format!(r#"{{"batch":[{good}],"context":{context}}}"#);
            assert!(matches!(BATCH.send(&body), Err(Reject::UnreadableText | Reject::UnreadableNumber)), "{body}");
            assert_eq!(member(&BATCH.kept(&body).unwrap().value, "raw"), Some(body.clone()));
            assert!(PASS.one(&body).is_event);
        }
    }
    // The event is one level more around it than it has itself.
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let body = |levels: usize| format!(r#"{{"batch":[{GOOD}],"context":{}}}"#, nested(levels));
    assert!(BATCH.one(body(125)).is_event);
    assert_eq!(BATCH.send(body(126)), Err(Reject::UnreadableDepth));
}

#[test]
fn a_set_aside_record_can_be_read_itself() {
    let record = BATCH.one(batch_of(&[&GOOD.replace("\"m\"", "\"\\ud800\"")]));
    assert_eq!(record.message_id.as_deref(), Some(&b"\xed\xa0\x80"[..]));
    assert_eq!(member(&record.value, "messageId"), None);
    assert!(!record.value.replace("\\\\ud800", "").contains("\\ud800"), "{}", record.value);
}
