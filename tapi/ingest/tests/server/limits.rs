//! Limits of sources in events, and the origins they take events from.

use ingest::config::{Config, Mode, SourceConfig, Tier};

use crate::client::{AUTH, Answer, batch, event};
use crate::harness::{Harness, settings};

fn tier(events_per_second: u64, burst_events: u64, events_per_day: u64, mode: Mode) -> Tier {
    Tier { id: "default".into(), events_per_second, burst_events, events_per_day, mode }
}

fn source(id: &str, key: &str) -> SourceConfig {
    SourceConfig { id: id.into(), write_keys: vec![key.into()], ..SourceConfig::default() }
}

fn limit(config: &mut Config, tier: Tier) {
    config.sources = vec![source("web", "KEY"), source("app", "APP")];
    config.tiers = vec![tier];
}

fn told(answer: &Answer) -> [&str; 3] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"].map(|name| answer.header(name))
}

#[test]
fn a_batch_is_charged_by_its_events_and_a_source_in_debt_waits() {
    // One event an hour: nothing comes back while the test runs.
    let mut harness = Harness::with(|config| limit(config, tier(0, 0, 10, Mode::Enforce)));
    let mut client = harness.client();
    let answer = client.request("POST /v1/batch", AUTH, batch(&["a", "b", "c"]).as_bytes());
    answer.assert_stored();
    assert_eq!(told(&answer)[..2], ["10", "7"]);
    assert_ne!(answer.header("x-ratelimit-reset"), "");
    // One that is refused counts like the others of its batch.
    let bad = batch(&["d", "e"]).replacen("track", "tract", 1);
    assert_eq!(told(&client.request("POST /v1/batch", AUTH, bad.as_bytes()))[1], "5");
    let ids: Vec<String> = (0..8).map(|index| format!("more-{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = client.request("POST /v1/batch", AUTH, batch(&ids).as_bytes());
    answer.assert_stored();
    assert_eq!(told(&answer)[..2], ["10", "0"], "larger than what is left, and taken");

    let answer = client.request("POST /v1/track", AUTH, event("late").as_bytes());
    assert_eq!((answer.status, &*answer.code()), (429, "rate_limited"));
    assert_eq!(told(&answer)[..2], ["10", "0"]);
    let wait_s: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait_s));
    assert_eq!(answer.header("x-ratelimit-reset"), answer.header("retry-after"));
    // Only the body says whose it is.
    let keyed = event("late").replacen('{', r#"{"writeKey":"KEY","#, 1);
    assert_eq!(client.request("POST /v1/track", "", keyed.as_bytes()).status, 429);
    let other = client.request("POST /v1/track?writeKey=APP", "", event("other").as_bytes());
    other.assert_stored();
    assert_eq!(told(&other)[..2], ["10", "9"]);
    assert_eq!(harness.stored().len(), 3 + 2 + 8 + 1);
    let metrics = harness.admin().metrics();
    for row in [
        r#"tapi_limited_events_total{source="web"} 13"#,
        r#"tapi_limited_events_over_total{source="web"} 2"#,
        r#"tapi_limited_events_total{source="app"} 1"#,
    ] {
        assert!(metrics.lines().any(|line| line == row), "no {row} in\n{metrics}");
    }
}

#[test]
fn a_source_in_debt_is_refused_before_its_body() {
    let harness = Harness::with(|config| limit(config, tier(0, 0, 1, Mode::Enforce)));
    let mut client = harness.client();
    client.request("POST /v1/track", AUTH, event("first").as_bytes()).assert_stored();
    // The body never comes.
    let head = "POST /v1/batch HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n";
    client.send(format!("{head}{AUTH}\r\n").as_bytes());
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.code()), (429, "rate_limited"));
}

#[test]
fn every_source_of_a_batch_is_charged_for_its_own() {
    let harness = Harness::with(|config| limit(config, tier(0, 0, 3, Mode::Enforce)));
    let mut client = harness.client();
    let keyed = |id: &str, key: &str| event(id).replacen('{', &format!(r#"{{"writeKey":"{key}","#), 1);
    let mixed = |keys: &[&str]| {
        let events: Vec<_> = keys.iter().enumerate().map(|(index, key)| keyed(&format!("{index}"), key)).collect();
        format!(r#"{{"batch":[{}]}}"#, events.join(","))
    };
    client.request("POST /v1/b", "", mixed(&["KEY", "APP", "KEY", "nobody", "KEY"]).as_bytes()).assert_stored();
    let answer = client.request("POST /v1/track?writeKey=APP", "", event("app").as_bytes());
    assert_eq!(told(&answer)[..2], ["3", "1"]);
    // The whole batch is refused before any of it is charged.
    assert_eq!(client.request("POST /v1/b", "", mixed(&["APP", "KEY"]).as_bytes()).status, 429);
    let answer = client.request("POST /v1/track?writeKey=APP", "", event("app").as_bytes());
    assert_eq!(told(&answer)[..2], ["3", "0"]);
}

#[test]
fn where_a_limit_is_only_observed_all_is_taken_and_nothing_said() {
    let mut harness = Harness::with(|config| limit(config, tier(0, 0, 1, Mode::Observe)));
    let mut client = harness.client();
    for id in ["a", "b", "c"] {
        let answer = client.request("POST /v1/track", AUTH, event(id).as_bytes());
        answer.assert_stored();
        assert_eq!(told(&answer), [""; 3]);
    }
    assert_eq!(harness.stored_ids(), ["a", "b", "c"]);
    let metrics = harness.admin().metrics();
    assert!(metrics.contains("tapi_limited_events_over_total{source=\"web\"} 2\n"), "{metrics}");
}

#[test]
fn without_sources_the_tier_default_holds_for_every_key() {
    let harness = Harness::with(|config| config.tiers = vec![tier(0, 0, 1, Mode::Enforce)]);
    let mut client = harness.client();
    client.request("POST /v1/track", AUTH, event("a").as_bytes()).assert_stored();
    assert_eq!(client.request("POST /v1/track", AUTH, event("b").as_bytes()).status, 429);
    client.request("POST /v1/track?writeKey=another", "", event("c").as_bytes()).assert_stored();
}

#[test]
fn limits_change_while_the_server_runs_and_counts_stay() {
    let harness = Harness::with(|config| limit(config, tier(0, 0, 1, Mode::Enforce)));
    let mut client = harness.client();
    client.request("POST /v1/track", AUTH, event("a").as_bytes()).assert_stored();
    assert_eq!(client.request("POST /v1/track", AUTH, event("b").as_bytes()).status, 429);
    let mut config = settings();
    limit(&mut config, tier(0, 0, 1_000_000, Mode::Enforce));
    ingest::reload(&harness.live, Ok(config));
    // The threads hear of it in their own time.
    let taken = (0..10_000).find_map(|_| {
        let answer = client.request("POST /v1/track", AUTH, event("c").as_bytes());
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(told(&taken.expect("the new limit is used at last"))[..2], ["1000000", "999998"]);
}

#[test]
fn only_pages_of_listed_origins_may_post() {
    let mut harness = Harness::with(|config| {
        let origins = vec!["https://shop.example".into(), "https://*.shop.example".into()];
        config.sources = vec![SourceConfig { origins, ..source("web", "KEY") }, source("app", "APP")];
    });
    let mut client = harness.client();
    let keyed = event("m").replacen('{', r#"{"writeKey":"KEY","#, 1);
    for (origin, status) in
        [("https://shop.example", 200), ("https://a.shop.example", 200), ("https://evil.example", 400), ("null", 400)]
    {
        let headers = format!("Origin: {origin}\r\n");
        for (headers, body) in [(format!("{AUTH}{headers}"), event("m")), (headers.clone(), keyed.clone())] {
            let answer = client.request("POST /v1/t", &headers, body.as_bytes());
            assert_eq!(answer.status, status, "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), origin, "the page can read why");
            if status == 400 {
                assert_eq!(answer.code(), "origin_not_allowed");
            }
        }
        let settings = client.request("GET /v1/projects/KEY/settings", &headers, b"");
        assert_eq!(settings.status, status, "{origin}");
    }
    client.request("POST /v1/t", AUTH, event("server").as_bytes()).assert_stored();
    client
        .request("POST /v1/t?writeKey=APP", "Origin: https://evil.example\r\n", event("app").as_bytes())
        .assert_stored();
    assert_eq!(harness.stored().len(), 4 + 2);
}
