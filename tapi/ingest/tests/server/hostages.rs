//! Memory and connections that a client without a key cannot keep from the others.

use wire::limits::REQUEST_BYTES_MAX;

use crate::client::{AUTH, Client, batch, event};
use crate::harness::Harness;

/// A connection whose body has begun: the server has asked for it, and `bytes` of it are sent.
fn begun(harness: &Harness, length: usize, bytes: usize) -> Client {
    let mut client = harness.client();
    let expect = "Expect: 100-continue\r\n";
    client.send(
        format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{AUTH}{expect}Content-Length: {length}\r\n\r\n").as_bytes(),
    );
    assert_eq!(client.answer().status, 100);
    client.send(&vec![b' '; bytes]);
    client
}

#[test]
fn what_a_client_says_that_it_will_send_takes_no_memory() {
    let mut harness = Harness::with(|config| config.limits.body_bytes_in_flight_max = 4 << 20);
    let held: Vec<_> = (0..200).map(|_| begun(&harness, REQUEST_BYTES_MAX, 1)).collect();
    harness.await_figure("tapi_body_in_flight_bytes", |bytes| bytes > 0);
    let mut body = batch(&["whole"]);
    body += &" ".repeat(REQUEST_BYTES_MAX - body.len());
    harness.ask("POST /v1/batch", AUTH, body.as_bytes()).assert_stored();
    harness.await_figure("tapi_body_in_flight_bytes", |bytes| bytes == 200 * 4096);
    assert_eq!(harness.stored_ids(), ["whole"]);
    drop(held);
    harness.await_figure("tapi_body_in_flight_bytes", |bytes| bytes == 0);
}

#[test]
fn heads_that_never_end_have_a_bound_together() {
    let harness = Harness::with(|config| config.limits.body_bytes_in_flight_max = 1 << 20);
    let mut clients: Vec<_> = (0..300).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.send(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nX: y");
    }
    // Those that find no room are told so at once, the others hold what there is.
    harness.await_figure("tapi_requests_refused_total{code=\"overloaded\"}", |count| count == 300 - 256);
    assert_eq!(harness.figure("tapi_body_in_flight_bytes"), 1 << 20);
    drop(clients);
    harness.await_figure("tapi_body_in_flight_bytes", |bytes| bytes == 0);
}

#[test]
fn the_body_that_is_held_longest_makes_room_for_one_that_comes() {
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.limits.body_bytes_in_flight_max = 1 << 20;
    });
    let mut first = begun(&harness, 1 << 20, 300_000);
    harness.await_figure("tapi_body_in_flight_bytes", |bytes| bytes == 1 << 20);
    // As long as the first one is young, those that come are refused.
    let mut body = batch(&["second"]);
    body += &" ".repeat(200_000);
    let answers = std::iter::from_fn(|| Some(harness.ask("POST /v1/batch", AUTH, body.as_bytes())));
    let stored = answers.take(1_000_000).find(|answer| {
        assert!(answer.status == 200 || answer.code() == "overloaded", "{answer:?}");
        answer.status == 200
    });
    stored.expect("the first one makes room at last").assert_stored();
    let refused = first.answer();
    assert_eq!((refused.status, &*refused.code(), refused.header("connection")), (429, "overloaded", "close"));
    first.finish_sending();
    assert!(first.is_closed());
    harness.await_figure("tapi_connections_closed_total{reason=\"relieved\"}", |count| count == 1);
    assert_eq!(harness.stored_ids(), ["second"]);
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.limits.connections_max = 3;
    });
    let mut clients: Vec<_> = (0..3).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.request("POST /v1/track", AUTH, event("idle").as_bytes()).assert_stored();
    }
    harness.ask("POST /v1/track", AUTH, event("new").as_bytes()).assert_stored();
    let evicted = "tapi_connections_closed_total{reason=\"evicted\"}";
    harness.await_figure(evicted, |count| count == 1);
    assert_eq!(harness.figure("tapi_connections_max"), 3);
    assert_eq!(harness.admin().not_ready(), [""; 0]);
    assert_eq!(harness.stored().len(), 4);
}

#[test]
fn new_connections_wait_where_none_is_idle_and_the_server_says_so() {
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.limits.connections_max = 1;
    });
    let body = event("first");
    let mut first = begun(&harness, body.len(), 0);
    let mut second = harness.client();
    let other = event("second");
    second.send(
        format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{other}", other.len()).as_bytes(),
    );
    harness.await_figure("tapi_connections_starved_threads", |threads| threads == 1);
    assert!(harness.admin().not_ready().iter().any(|reason| reason.contains("connections")));
    assert_eq!(harness.figure("tapi_connections"), 1);
    first.send(body.as_bytes());
    assert_eq!(first.answer().status, 400, "a single event is no batch");
    // The first one is idle now.
    second.answer().assert_stored();
    assert_eq!(harness.figure("tapi_connections_starved_threads"), 0);
    assert_eq!(harness.admin().not_ready(), [""; 0]);
    assert_eq!(harness.event_ids(), ["second"]);
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let harness = Harness::with(|config| config.limits.connections_per_address_max = 2);
    let mut clients = [harness.client(), harness.client()];
    for client in &mut clients {
        client.request("POST /v1/track", AUTH, event("m").as_bytes()).assert_stored();
    }
    assert!(harness.client().is_closed());
    harness.await_figure("tapi_connections_closed_total{reason=\"address\"}", |count| count == 1);
    drop(clients);
    harness.await_figure("tapi_connections_closed_total{reason=\"client\"}", |count| count == 2);
    harness.ask("POST /v1/track", AUTH, event("m").as_bytes()).assert_stored();
}
