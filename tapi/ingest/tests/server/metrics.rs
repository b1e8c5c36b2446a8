//! The figures say what happened.

use crate::client::{AUTH, batch, event};
use crate::harness::Harness;

#[track_caller]
fn assert_rows(text: &str, rows: &[&str]) {
    for row in rows {
        assert!(text.lines().any(|line| line == *row), "no {row} in\n{text}");
    }
}

#[test]
fn requests_events_and_refusals_are_counted() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    client.request("POST /v1/track", AUTH, event("a").as_bytes()).assert_stored();
    client.request("POST /v1/batch", AUTH, batch(&["b", "c"]).as_bytes()).assert_stored();
    let bad = batch(&["d", "e"]).replacen("track", "tract", 1);
    client.request("POST /v1/batch", AUTH, bad.as_bytes()).assert_stored();
    client.request("POST /v1/batch", AUTH, b"{");
    let timeless = event("f").replacen('{', r#"{"timestamp":"soon","#, 1);
    client.request("POST /v1/track", AUTH, timeless.as_bytes()).assert_stored();
    client.request("POST /nowhere", AUTH, b"");
    client.request("OPTIONS /v1/t", "Origin: https://a.example\r\n", b"");
    let text = harness.admin().metrics();
    assert_rows(
        &text,
        &[
            r#"tapi_requests_total{endpoint="track",status="200"} 2"#,
            r#"tapi_requests_total{endpoint="batch",status="200"} 2"#,
            r#"tapi_requests_total{endpoint="batch",status="400"} 1"#,
            r#"tapi_requests_total{endpoint="other",status="404"} 1"#,
            r#"tapi_requests_total{endpoint="preflight",status="204"} 1"#,
            r#"tapi_requests_refused_total{code="invalid_json"} 1"#,
            r#"tapi_requests_refused_total{code="not_found"} 1"#,
            r#"tapi_events_rejected_total{code="invalid_type"} 1"#,
            r#"tapi_events_rejected_total{code="invalid_json"} 1"#,
            "tapi_events_total 5",
            r#"tapi_events_time_unreadable_total{source="KEY… (3 bytes)"} 1"#,
            "tapi_connections 1",
            "tapi_store_duration_seconds_count 4",
            "local_buffer_backlog_records 7",
            "local_buffer_appended_records_total 7",
            "local_buffer_failed 0",
        ],
    );
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(harness.stored().len(), 7);
    assert_rows(&harness.admin().metrics(), &["local_buffer_backlog_records 0"]);
}

#[test]
fn the_status_page_has_the_figures() {
    let harness = Harness::new();
    harness.ask("POST /v1/track", AUTH, event("a").as_bytes()).assert_stored();
    let admin = harness.admin();
    let sections = admin.status();
    let value = |name: &str| {
        let rows = sections.iter().flat_map(|section| &section.rows);
        rows.clone().find(|(row, _)| row == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!((&*value("events stored"), &*value("records to drain")), ("1", "1"));
    assert!(value("sources").contains("any write key"));
    assert_eq!(admin.not_ready(), [""; 0]);
}
