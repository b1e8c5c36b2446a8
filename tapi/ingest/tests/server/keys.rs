//! Write keys: where they are looked for, and which are let in.

use ingest::config::SourceConfig;

use crate::client::{AUTH, event};
use crate::harness::{Harness, settings};

/// `Authorization: Basic` with the user `admin` and a password.
const LOGIN: &str = "Authorization: Basic YWRtaW46c2VjcmV0\r\n";

fn sources() -> Vec<SourceConfig> {
    let source = |id: &str, keys: &[&str]| SourceConfig {
        id: id.into(),
        write_keys: keys.iter().map(|key| (*key).into()).collect(),
        ..SourceConfig::default()
    };
    vec![source("web", &["KEY", "NEXT"]), source("app", &["APP"])]
}

/// `{"writeKey":KEY}` in the event.
fn event_with_key(key: &str) -> Vec<u8> {
    event("m").replacen('{', &format!(r#"{{"writeKey":"{key}","#), 1).into_bytes()
}

#[test]
fn every_place_of_a_key() {
    let mut harness = Harness::with(|config| config.sources = sources());
    let plain = event("m").into_bytes();
    for (line, headers, body, source) in [
        ("POST /v1/track", AUTH, plain.clone(), "web"),
        ("POST /v1/track", "Authorization: Basic S0VZ\r\n", plain.clone(), "web"),
        ("POST /v1/track", "authorization: basic QVBQOng=\r\n", plain.clone(), "app"),
        ("POST /v1/track?writeKey=%4bEY", "", plain.clone(), "web"),
        ("POST /v1/track", "", event_with_key("APP"), "app"),
        ("POST /v1/track", "Authorization: Bearer token\r\n", event_with_key("NEXT"), "web"),
        ("POST /v1/track?writeKey=APP", "Authorization: Bearer token\r\n", plain.clone(), "app"),
        ("POST /v1/track", "Authorization: Bearer t\r\nAuthorization: Basic S0VZOg==\r\n", plain.clone(), "web"),
        ("POST /v1/track", AUTH, event_with_key("APP"), "web"),
        // `admin:secret`, the login of the site, which a browser adds to every request.
        ("POST /v1/track", LOGIN, event_with_key("APP"), "app"),
        ("POST /v1/track?writeKey=APP", LOGIN, event_with_key("KEY"), "app"),
        // ` KEY :`, and keys that name no source before one that does.
        ("POST /v1/track", "Authorization: Basic IEtFWSA6\r\n", plain.clone(), "web"),
        ("POST /v1/track?writeKey=%20APP+", "", plain.clone(), "app"),
        ("POST /v1/track", "", event_with_key(" APP\\n"), "app"),
        ("POST /v1/track", "Authorization: Basic V1JPTkc6\r\n", event_with_key("APP"), "app"),
        ("POST /v1/track?writeKey=WRONG", AUTH, event_with_key("APP"), "web"),
        ("POST /v1/track?writeKey=APP", "Authorization: Basic V1JPTkc6\r\n", plain.clone(), "app"),
    ] {
        harness.ask(line, headers, &body).assert_stored();
        assert_eq!(harness.stored()[0].source, source, "{line} {headers}");
    }
}

#[test]
fn a_missing_or_unknown_key_is_a_401_and_the_connection_lives() {
    let mut harness = Harness::with(|config| config.sources = sources());
    let mut client = harness.client();
    let body = event("m");
    let answer = client.request("POST /v1/track", "", body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (401, "missing_write_key"));
    let answer = client.request("POST /v1/track?writeKey=WRONG", "", body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (401, "unknown_write_key"));
    let answer = client.request("POST /v1/track", LOGIN, body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (401, "missing_write_key"), "a site's login is no key");
    client.request("POST /v1/track", AUTH, body.as_bytes()).assert_stored();
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn an_unknown_key_of_the_query_is_refused_before_the_body() {
    let mut harness = Harness::with(|config| config.sources = sources());
    let basic = "Authorization: Basic V1JPTkc6\r\n";
    let expecting = |target: &str, headers: &str| {
        let mut client = harness.client();
        let length = "Expect: 100-continue\r\nContent-Length: 1000\r\n";
        client.send(format!("POST {target} HTTP/1.1\r\nHost: x\r\n{headers}{length}\r\n").as_bytes());
        client.answer()
    };
    for headers in ["", basic] {
        let answer = expecting("/v1/track?writeKey=WRONG", headers);
        assert_eq!((answer.status, &*answer.code()), (401, "unknown_write_key"));
    }
    // The body may still say who it is.
    for (target, headers) in [("/v1/track", basic), ("/v1/track", ""), ("/v1/track?writeKey=WRONG", AUTH)] {
        assert_eq!(expecting(target, headers).status, 100, "{target} {headers}");
    }
    // A body that came all the same is neither read nor stored, and the connection lives.
    let mut client = harness.client();
    let answer = client.request("POST /v1/track?writeKey=WRONG", "", &event_with_key("APP"));
    assert_eq!((answer.status, &*answer.code()), (401, "unknown_write_key"));
    let answer = client.request("POST /v1/track?writeKey=WRONG", "", b"{");
    assert_eq!((answer.status, &*answer.code()), (401, "unknown_write_key"));
    client.request("POST /v1/track", AUTH, event("m").as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["m"]);
}

#[test]
fn a_refused_event_is_kept_without_its_key() {
    let mut harness = Harness::with(|config| config.sources = sources());
    let good = String::from_utf8(event_with_key("KEY")).unwrap();
    let bad = good.replace("\"track\"", "\"trick\"");
    let beyond = bad.replace("KEY", "NEXT");
    let body = format!("{{\"writeKey\":\"APP\",\"batch\":[{bad},{}{beyond}]}}", format!("{good},").repeat(2499));
    harness.ask("POST /v1/batch", "", body.as_bytes()).assert_stored();
    let stored = harness.stored();
    let raws: Vec<_> = stored.iter().filter(|stored| !stored.is_event).map(|stored| &stored.value["raw"]).collect();
    assert_eq!(raws.len(), 2);
    for raw in raws {
        let raw = raw.as_str().unwrap();
        assert!(raw.contains("\"writeKey\":\"***") && !raw.contains("KEY\"") && !raw.contains("NEXT"), "{raw}");
    }
    assert!(stored.iter().all(|stored| stored.source == "app"));
}

#[test]
fn keys_change_while_the_server_runs() {
    let mut harness = Harness::with(|config| config.sources = sources());
    let mut client = harness.client();
    client.request("POST /v1/track", AUTH, event("before").as_bytes()).assert_stored();
    let mut config = settings();
    config.sources = sources();
    config.sources[0].write_keys.remove(0);
    ingest::reload(&harness.live, Ok(config));
    // The threads hear of it in their own time.
    let refused = (0..10_000).find_map(|_| {
        let answer = client.request("POST /v1/track", AUTH, event("between").as_bytes());
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.expect("the old key is refused at last").code(), "unknown_write_key");
    client.request("POST /v1/track?writeKey=NEXT", "", event("after").as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids().last().unwrap(), "after");
}
