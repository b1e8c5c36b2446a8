//! What a browser needs: preflights, and its origin on every answer.

use ingest::config::{Mode, SourceConfig, Tier};

use crate::client::{AUTH, Answer, batch};
use crate::harness::Harness;

const ORIGIN: &str = "Origin: https://shop.example\r\n";

const EXPOSED: &str = "Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset";

#[track_caller]
fn assert_readable(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example", "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-expose-headers"), EXPOSED);
    assert_eq!(answer.header("vary"), "Origin");
}

#[test]
fn a_preflight_allows_what_it_is_asked() {
    let harness = Harness::new();
    let mut client = harness.client();
    for (path, asked) in [
        ("/v1/t", "authorization,x-retry-count"),
        ("/v1/i", "authorization"),
        ("/v1/p", "authorization"),
        ("/v1/s", "authorization"),
        ("/v1/g", "authorization"),
        ("/v1/a", "authorization"),
        ("/v1/b", "authorization,x-retry-count"),
        ("/v1/m", "content-type"),
        ("/v1/track", "anonymousid,authorization,content-type,sentat"),
        ("/v1/batch/", "anonymousid,authorization,content-type,sentat,rsa-retry-attempt"),
        ("/nowhere", "content-type"),
    ] {
        let headers =
            format!("{ORIGIN}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {asked}\r\n");
        let answer = client.request(&format!("OPTIONS {path}"), &headers, b"");
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert_eq!(answer.header("access-control-allow-credentials"), "true", "for pages that send them");
        assert_eq!(answer.header("access-control-allow-headers"), asked);
        assert_eq!(answer.header("access-control-allow-methods"), "POST, GET, HEAD, OPTIONS");
        assert_eq!(answer.header("access-control-max-age"), "7200");
        assert_eq!(answer.header("vary"), "Origin, Access-Control-Request-Headers");
    }
}

#[test]
fn every_answer_can_be_read_by_the_page() {
    let harness = Harness::with(|config| {
        let write_keys = vec!["KEY".into()];
        config.sources = vec![SourceConfig { id: "web".into(), write_keys, ..SourceConfig::default() }];
        config.tiers = vec![Tier { id: "default".into(), events_per_day: 1, mode: Mode::Enforce, ..Tier::default() }];
    });
    let mut client = harness.client();
    let headers = format!("{AUTH}{ORIGIN}");
    for (line, headers, body, status) in [
        ("POST /v1/batch", &*headers, "{", 400),
        ("POST /v1/batch", &headers, &*batch(&["a"]), 200),
        ("POST /v1/batch", &headers, &batch(&["b"]), 429),
        ("POST /v1/batch", ORIGIN, &batch(&["c"]), 401),
        ("POST /nowhere", &headers, "", 404),
        ("PUT /v1/batch", &headers, "", 405),
        ("POST /v1/m", ORIGIN, "{}", 200),
        ("GET /v1/projects/KEY/settings", ORIGIN, "", 200),
        ("GET /v1/projects/OTHER/settings", ORIGIN, "", 401),
        ("GET /sourceConfig?writeKey=KEY", ORIGIN, "", 200),
        ("GET /v1/pixel/track?userId=u", ORIGIN, "", 200),
        ("GET /health", ORIGIN, "", 200),
    ] {
        let answer = client.request(line, headers, body.as_bytes());
        assert_eq!(answer.status, status, "{line}");
        assert_readable(&answer);
    }
    let answer = client.request("POST /v1/batch", ORIGIN, &vec![b'x'; 2 << 20]);
    assert_eq!(answer.status, 400);
    assert_readable(&answer);
}

#[test]
fn a_server_sdk_gets_no_headers_that_are_for_browsers() {
    let harness = Harness::new();
    let answer = harness.ask("POST /v1/batch", AUTH, batch(&["a"]).as_bytes());
    answer.assert_stored();
    let mut names: Vec<_> = answer.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "date"]);
}
