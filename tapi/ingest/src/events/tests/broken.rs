//! Bodies that are no JSON as a whole: every whole event is taken, and the rest is kept.

use super::*;

/// [`GOOD`] with the id `id`.
fn event(id: &str) -> String {
    GOOD.replace("\"m\"", &format!("\"{id}\""))
}

/// What becomes of a body in which `A` to `D` are whole events: their ids, and what else is kept as `code raw`.
fn outcome(body: &str) -> (String, Vec<String>) {
    let body = ["A", "B", "C", "D"].iter().fold(body.to_owned(), |body, id| body.replace(id, &event(id)));
    let (accepted, records) = BATCH.send(&body).unwrap_or_else(|reject| panic!("{reject:?} {body}"));
    let (events, kept): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.is_event);
    assert_eq!((accepted.events, accepted.rejected), (events.len(), kept.len()));
    let ids = events.into_iter().map(|event| String::from_utf8(event.message_id.unwrap()).unwrap()).collect();
    let text = |record: Record| {
        let [code, raw] = ["code", "raw"].map(|name| member(&record.value, name).unwrap());
        format!("{code} {raw}")
    };
    (ids, kept.into_iter().map(text).collect())
}

#[test]
fn each_whole_element_is_an_event_and_the_rest_is_kept() {
    for (body, ids, kept) in [
        // Commas.
        (r#"{"batch":[A B]}"#, "AB", &[][..]),
        (r#"{"batch":[AB]}"#, "AB", &[]),
        (r#"{"batch":[A,,B]}"#, "AB", &[]),
        (r#"{"batch":[,A,B]}"#, "AB", &[]),
        (r#"{"batch":[A,B,]}"#, "AB", &[]),
        ("{\"batch\":[\n,A\n,\n,B,\n],\"channel\":\"x\"}", "AB", &[]),
        (r#"{"batch":[A,B],,"channel":"x",}"#, "AB", &[]),
        (r#",{"batch":[A],}"#, "A", &[]),
        // Torn events, in and outside of strings, at each end of the batch.
        (r#"{"batch":[A,{"type":"track","event":"tor,B,C]}"#, "ABC", &[r#"event_torn {"type":"track","event":"tor"#]),
        (r#"{"batch":[{"type":"tra,A]}"#, "A", &[r#"event_torn {"type":"tra"#]),
        ("{\"batch\":[{\"type\":\"tra\nA,B]}", "AB", &[r#"event_torn {"type":"tra"#]),
        (r#"{"batch":[{"type":,A,B]}"#, "AB", &[r#"event_torn {"type":"#]),
        (r#"{"batch":[{"type":"track",A,B]}"#, "AB", &[r#"event_torn {"type":"track""#]),
        (
            r#"{"batch":[{"type":"track","properties":{"a":{"b":1},A,B]}"#,
            "AB",
            &[r#"event_torn {"type":"track","properties":{"a":{"b":1}"#],
        ),
        (r#"{"batch":[{"type"A]}"#, "A", &[r#"event_torn {"type""#]),
        (r#"{"batch":[A,{"type":"tor],"channel":"x","writeKey":"k"}"#, "A", &[r#"event_torn {"type":"tor"#]),
        (
            r#"{"batch":[A,{"type":"t","a":[1,2],"b":{"x":"tor]}"#,
            "A",
            &[r#"event_torn {"type":"t","a":[1,2],"b":{"x":"tor"#],
        ),
        (r#"{"batch":[A,{"a":"x,{"b":"y,B]}"#, "AB", &[r#"event_torn {"a":"x"#, r#"event_torn {"b":"y"#]),
        // The next event's escaped quotes let the brackets match again.
        (
            r#"{"batch":[{"type":"tra,{"a":"\"x\"","b":{"c":"dddddddddddddddddddddddddddddddd"}},A]}"#,
            "A",
            &[
                r#"event_torn {"type":"tra"#,
                r#"missing_type {"a":"\"x\"","b":{"c":"dddddddddddddddddddddddddddddddd"}}"#,
            ],
        ),
        // Brackets.
        (r#"{"batch":[A,{"type":"track"}},B]}"#, "AB", &[r#"no_user_anon_id {"type":"track"}"#, "event_torn }"]),
        (r#"{"batch":[A,{"a":[1,2},B]}"#, "AB", &[r#"event_torn {"a":[1,2}"#]),
        (r#"{"batch":[A,{"a":1]},B]}"#, "AB", &[r#"event_torn {"a":1]}"#]),
        (r#"{"batch":[A,{"a":{"b":1},B]}"#, "AB", &[r#"event_torn {"a":{"b":1}"#]),
        (r#"{"batch":[A,{,B]}"#, "AB", &["event_torn {"]),
        // A batch without its end, and a file without its own.
        (r#"{"batch":[A,B"#, "AB", &[]),
        (r#"{"batch":[A,B,"#, "AB", &[]),
        (r#"{"batch":[A,B]"#, "AB", &[]),
        (r#"{"batch":[A,B}"#, "AB", &[]),
        (r#"{"batch":[A,{"type":"tr"#, "A", &[r#"event_torn {"type":"tr"#]),
        (r#"{"batch":[A,B,"channel":"x","writeKey":"k"}"#, "AB", &[]),
        (r#"{"batch":[A,B],"channel":"2026-11"#, "AB", &[r#"stray_text "channel":"2026-11"#]),
        // Text between, around and behind.
        (r#"{"batch":[A,undefined,B]}"#, "AB", &["invalid_json undefined"]),
        (r#"{"batch":[A]}garbage"#, "A", &["stray_text garbage"]),
        (r#"{"batch":[A]}]}"#, "A", &["stray_text ]}"]),
        (r#"{"batch":[A],"channel":tomorrow,"x":1}"#, "A", &[r#"stray_text "channel":tomorrow"#]),
        (r#"{"x" 1,"batch":[A]}"#, "A", &[r#"stray_text "x" 1"#]),
        (r#")]}',{"batch":[A]}"#, "A", &["stray_text )]}'"]),
        // A second envelope, whole, torn, and without a batch.
        (r#"{"batch":[A],"channel":"x"}{"batch":[B,C],"channel":"y"}"#, "ABC", &[]),
        ("{\"batch\":[A]}\n{\"batch\":[B,{\"a\":1", "AB", &["event_torn {\"a\":1"]),
        (r#"{"batch":[A]},{"channel":"x"}"#, "A", &[r#"stray_text {"channel":"x"}"#]),
        (r#"{"batch":[A]}{"batch":[]}"#, "A", &[r#"empty_batch {"batch":[]}"#]),
    ] {
        assert_eq!(outcome(body), (ids.to_owned(), kept.iter().map(|&kept| kept.to_owned()).collect()), "{body}");
    }
    // What follows a colon is a value, so here the event behind it is lost in the torn one, and kept with it.
    let (ids, kept) = outcome(r#"{"batch":[{"type":A,B]}"#);
    assert_eq!((&*ids, kept), ("B", vec![format!(r#"event_torn {{"type":{}"#, event("A"))]));
}

#[test]
fn a_body_without_a_whole_element_is_refused_and_kept() {
    for body in [
        "{\"batch\":[{",
        "{\"batch\":[{\"type\":\"tr",
        "{\"batch\":[{]}",
        "{\"batch\":[}]}",
        "{\"batch\":[[[[[",
        "{\"batch\":[{\"a\":1",
    ] {
        assert_eq!(BATCH.send(body), Err(Reject::InvalidJson), "{body}");
        assert_eq!(member(&BATCH.kept(body).unwrap().value, "raw").as_deref(), Some(body));
    }
}

#[test]
fn a_second_envelope_says_its_own_key_and_time() {
    let body = format!(
        r#"{{"batch":[{}],"writeKey":"key","context":{{"n":1}}}}{{"batch":[{}],"writeKey":"other"}}{{"batch":[{}],"writeKey":"nobody"}}"#,
        event("a"),
        event("b"),
        event("c")
    );
    let (accepted, records) = Post { write_key: None, ..BATCH }.send(&body).unwrap();
    assert_eq!(accepted, Accepted { events: 2, rejected: 1 });
    assert_eq!(records.iter().map(|record| &*record.source).collect::<Vec<_>>(), ["web", "ios", "ios"]);
    assert!(records[0].value.contains("\"context\"") && !records[1].value.contains("\"context\""));
    assert_eq!(member(&records[2].value, "code").as_deref(), Some("unknown_write_key"));
    // The request's own key is for all of them.
    let (accepted, records) = BATCH.send(&body).unwrap();
    assert_eq!(accepted, Accepted { events: 3, rejected: 0 });
    assert!(records.iter().all(|record| record.source == "web"));
}

#[test]
fn every_cut_of_a_batch_keeps_what_was_whole_before_it() {
    let events: Vec<_> = ["a", "b", "c"].map(event).to_vec();
    let body = format!("{{\"sentAt\":\"x\",\"batch\":[{}],\"writeKey\":\"key\"}}", events.join(","));
    let start = body.find('[').unwrap() + 1;
    for cut in start + events[0].len()..body.len() {
        let whole = (cut - start + 1) / (events[0].len() + 1);
        let (accepted, records) = BATCH.send(&body[..cut]).unwrap();
        assert_eq!(accepted.events, whole.min(3), "{}", &body[..cut]);
        // Nothing of what is no event is lost but separators and the envelope's own.
        let kept: usize = records
            .iter()
            .filter(|record| !record.is_event)
            .filter_map(|record| member(&record.value, "raw"))
            .map(|raw| raw.len())
            .sum();
        let rest = if whole < 3 { (cut - start).saturating_sub(whole * (events[0].len() + 1)) } else { 0 };
        assert!(kept + 1 >= rest, "{kept} of {rest} in {}", &body[..cut]);
    }
}
