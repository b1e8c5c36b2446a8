//! Every path, with and without its slash.

use crate::client::{AUTH, batch, event};
use crate::harness::Harness;

const BATCH: [&str; 8] =
    ["/v1/batch", "/v1/import", "/v1/b", "/b", "/batch", "/v1/batch/b", "/batch/b", "/beacon/v1/batch"];

const SINGLE: [(&str, &str); 12] = [
    ("/v1/track", "track"),
    ("/v1/identify", "identify"),
    ("/v1/page", "page"),
    ("/v1/screen", "screen"),
    ("/v1/group", "group"),
    ("/v1/alias", "alias"),
    ("/v1/t", "track"),
    ("/v1/i", "identify"),
    ("/v1/p", "page"),
    ("/v1/s", "screen"),
    ("/v1/g", "group"),
    ("/v1/a", "alias"),
];

#[test]
fn every_batch_path_stores_its_events() {
    let mut harness = Harness::new();
    for path in BATCH {
        for slash in ["", "/"] {
            let answer = harness.ask(&format!("POST {path}{slash}"), AUTH, batch(&["a", "b"]).as_bytes());
            answer.assert_stored();
            assert_eq!(harness.stored_ids(), ["a", "b"], "{path}{slash}");
        }
    }
}

#[test]
fn every_single_path_gives_its_type() {
    let mut harness = Harness::new();
    for (path, kind) in SINGLE {
        for slash in ["", "/"] {
            let body = br#"{"userId":"u","messageId":"m","event":"e","previousId":"p","groupId":"g"}"#;
            harness.ask(&format!("POST {path}{slash}"), AUTH, body).assert_stored();
            let stored = harness.stored();
            assert_eq!((stored.len(), stored[0].is_event), (1, true));
            assert_eq!((&*stored[0].source, &stored[0].value["type"]), ("KEY", &kind.into()), "{path}{slash}");
        }
    }
}

#[test]
fn the_address_is_filled_in_for_browsers_and_mobile_apps_only() {
    let mut harness = Harness::new();
    for (path, filled) in [("/v1/t", true), ("/v1/track", false)] {
        harness.ask(&format!("POST {path}"), AUTH, event("m").as_bytes()).assert_stored();
        let ip = harness.stored()[0].value["context"]["ip"].clone();
        assert_eq!(ip, if filled { "127.0.0.1".into() } else { serde_json::Value::Null }, "{path}");
    }
}

#[test]
fn the_address_behind_a_trusted_proxy_is_the_clients() {
    let mut harness = Harness::with(|config| {
        config.client_ip_header = "x-forwarded-for".into();
        config.trusted_proxies = vec!["127.0.0.0/8".into()];
    });
    let headers = format!("{AUTH}X-Forwarded-For: 203.0.113.9\r\n");
    harness.ask("POST /v1/t", &headers, event("m").as_bytes()).assert_stored();
    assert_eq!(harness.stored()[0].value["context"]["ip"], "203.0.113.9");
}

#[test]
fn telemetry_is_read_and_forgotten() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for _ in 0..2 {
        client.request("POST /v1/m", "", br#"{"series":[{"type":"Counter","metric":"x","value":1}]}"#).assert_stored();
    }
    assert_eq!(harness.stored(), []);
}

#[test]
fn an_unknown_path_is_a_404_and_the_connection_lives() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for path in ["/", "/v1", "/v1/nothing", "/v2/batch", "/v1/track/x"] {
        let answer = client.request(&format!("POST {path}"), AUTH, &vec![b'x'; 300_000]);
        assert_eq!((answer.status, &*answer.code()), (404, "not_found"), "{path}");
    }
    let answer = client.request("GET /v1/track", "", b"");
    assert_eq!((answer.status, &*answer.code(), answer.header("allow")), (405, "method_not_allowed", "POST, OPTIONS"));
    let answer = client.request("POST /v1/pixel/track", "", b"");
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
    client.request("POST /v1/track", AUTH, event("after").as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["after"]);
}

#[test]
fn a_base_address_is_taken_as_people_type_it() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for path in [
        "//v1/batch",
        "/v1//batch",
        "/v1/v1/batch",
        "/V1/batch/",
        "/v1%20/batch",
        "/v1/batch/v1/batch",
        "/segment/v1/batch",
        "/import/",
        "/b",
    ] {
        client.request(&format!("POST {path}"), AUTH, batch(&["a", "b"]).as_bytes()).assert_stored();
        assert_eq!(harness.stored_ids(), ["a", "b"], "{path}");
    }
    for path in ["/track", "//track", "/t/", "/v1/v1/t", "/v1/batch/t", "/collect/v1/track", "/track/v1/track"] {
        client.request(&format!("POST {path}"), AUTH, event("a").as_bytes()).assert_stored();
        assert_eq!(harness.stored_ids(), ["a"], "{path}");
    }
}

#[test]
fn an_address_that_the_proxy_does_not_know_is_none() {
    let mut harness = Harness::with(|config| {
        config.client_ip_header = "forwarded".into();
        config.trusted_proxies = vec!["127.0.0.0/8".into()];
    });
    for (forwarded, expected) in [
        ("for=1.1.1.1, for=\"203.0.113.9:4711\";proto=https", serde_json::json!("203.0.113.9")),
        ("for=unknown", serde_json::Value::Null),
    ] {
        let headers = format!("{AUTH}Forwarded: {forwarded}\r\n");
        harness.ask("POST /v1/t", &headers, event("m").as_bytes()).assert_stored();
        assert_eq!(harness.stored()[0].value["context"]["ip"], expected, "{forwarded}");
    }
}
