//! A source that floods the server leaves room for the others.

use ingest::config::SourceConfig;

use crate::client::{AUTH, Client, batch, event};
use crate::harness::Harness;

/// More than is read in one piece.
const BEGUN_BYTES: usize = 300_000;

/// Whether another source is let in. One of 4,096 meets the flood in its slot and shares its part, so two are tried.
fn is_stored(harness: &Harness, line: &str, body: &str) -> bool {
    ["a", "b"].iter().any(|key| harness.ask(&format!("{line}?writeKey={key}"), "", body.as_bytes()).status == 200)
}

/// A request whose body has only begun; the rest is held back.
fn begin(harness: &Harness, headers: &str, length: usize) -> Client {
    let mut client = harness.client();
    let head = format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n");
    client.send(head.as_bytes());
    client.send(&vec![b' '; BEGUN_BYTES]);
    client
}

fn in_flight_bytes(harness: &Harness) -> usize {
    let metrics = harness.admin().metrics();
    let row = metrics.lines().find_map(|line| line.strip_prefix("tapi_body_in_flight_bytes ")).unwrap();
    row.parse().unwrap()
}

#[test]
fn bodies_held_back_by_one_source_leave_memory_for_others() {
    bodies_held_back_leave_memory(Vec::new());
}

#[test]
fn bodies_held_back_by_a_client_without_a_known_key_leave_memory_for_others() {
    // The body may have a key that is known, so it is read, on the account of the client's address.
    let source = |key: &str| SourceConfig { id: key.into(), write_keys: vec![key.into()], ..SourceConfig::default() };
    bodies_held_back_leave_memory(vec![source("a"), source("b")]);
}

fn bodies_held_back_leave_memory(sources: Vec<SourceConfig>) {
    const MIB: usize = 1 << 20;
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.limits.body_bytes_in_flight_max = 8 * MIB;
        config.sources = sources;
    });
    let flood: Vec<_> = (0..6).map(|_| begin(&harness, AUTH, MIB)).collect();
    assert!((0..1_000_000).any(|_| in_flight_bytes(&harness) == 6 * MIB), "all six are read from at last");
    let mut one_more = begin(&harness, AUTH, MIB);
    one_more.send(&vec![b' '; MIB - BEGUN_BYTES]);
    let refused = one_more.answer();
    assert_eq!((refused.status, &*refused.code()), (429, "source_overloaded"));
    assert_eq!(refused.header("connection"), "close");
    // Another source, with a body that comes in several pieces.
    let body = format!("{}{}", event("other"), " ".repeat(400_000));
    assert!(is_stored(&harness, "POST /v1/track", &body));
    assert_eq!(harness.stored_ids(), ["other"]);
    drop(flood);
}

#[test]
fn requests_held_back_by_one_source_leave_connections_for_others() {
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.limits.connections_max = 40;
    });
    let mut flood = Vec::new();
    let refused = loop {
        let mut client = harness.client();
        let head =
            format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{AUTH}Expect: 100-continue\r\nContent-Length: 9\r\n\r\n");
        client.send(head.as_bytes());
        // What is let in is asked for its body.
        let answer = client.answer();
        if answer.status != 100 {
            break answer;
        }
        flood.push(client);
    };
    assert_eq!((refused.status, &*refused.code(), flood.len()), (429, "source_overloaded", 30));
    assert!(is_stored(&harness, "POST /v1/batch", &batch(&["a"])));
    assert_eq!(harness.stored().len(), 1);
}
