//! Connections: kept alive, slow, half closed, too many.

use std::time::{Duration, Instant};

use crate::client::{AUTH, batch, event};
use crate::harness::Harness;

#[test]
fn one_connection_serves_many_requests() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for round in 0..500 {
        client.request("POST /v1/track", AUTH, event(&format!("m-{round}")).as_bytes()).assert_stored();
    }
    assert_eq!(harness.stored().len(), 500);
}

#[test]
fn many_connections_at_once() {
    let mut harness = Harness::new();
    let mut clients: Vec<_> = (0..200).map(|_| harness.client()).collect();
    for round in 0..5 {
        for (index, client) in clients.iter_mut().enumerate() {
            let body = event(&format!("{round}-{index}"));
            let head = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n", body.len());
            client.send(&[head.as_bytes(), body.as_bytes()].concat());
        }
        for client in &mut clients {
            client.answer().assert_stored();
        }
    }
    let mut ids = harness.stored_ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = event("m");
    let good = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len());
    let lost = "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    client.send([&*good, lost, &good].concat().as_bytes());
    let statuses: Vec<_> = (0..3).map(|_| client.answer().status).collect();
    assert_eq!(statuses, [200, 404, 200]);
    assert_eq!(harness.stored().len(), 2);
}

#[test]
fn a_client_that_has_closed_its_side_gets_its_answer() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = batch(&["a"]);
    client.send(
        format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    );
    client.finish_sending();
    client.answer().assert_stored();
    assert!(client.is_closed());
    assert_eq!(harness.stored_ids(), ["a"]);
}

#[test]
fn a_client_that_leaves_in_the_middle_stores_nothing() {
    let mut harness = Harness::new();
    for _ in 0..20 {
        let mut client = harness.client();
        client.send(format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 1000\r\n\r\n").as_bytes());
        client.send(batch(&["a"]).as_bytes());
    }
    harness.ask("POST /v1/track", AUTH, event("whole").as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["whole"]);
}

#[test]
fn slow_clients_are_told_so_and_silent_ones_closed() {
    let harness = Harness::with(|config| {
        config.limits.header_read_timeout_ms = 300;
        config.limits.body_read_timeout_ms = 300;
        config.limits.idle_timeout_ms = 300;
    });
    let start = Instant::now();
    let (mut silent, mut head, mut body, mut idle) =
        (harness.client(), harness.client(), harness.client(), harness.client());
    head.send(b"POST /v1/batch HTTP/1.1\r\nOrigin: https://a.example\r\nHo");
    body.send(format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 100\r\n\r\n{{").as_bytes());
    idle.request("POST /v1/track", AUTH, event("m").as_bytes()).assert_stored();
    for client in [&mut head, &mut body] {
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.code(), answer.header("connection")), (503, "read_timeout", "close"));
        assert_eq!(answer.header("retry-after"), "1");
        client.finish_sending();
        assert!(client.is_closed());
    }
    for client in [&mut silent, &mut idle] {
        assert!(client.is_closed());
    }
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    for reason in ["silent", "head_timeout", "body_timeout", "idle"] {
        harness.await_figure(&format!("tapi_connections_closed_total{{reason=\"{reason}\"}}"), |count| count == 1);
    }
}

#[test]
fn two_servers_cannot_share_a_port() {
    let harness = Harness::new();
    let message = ingest::listen(harness.address, 2).expect_err("the port is taken").to_string();
    assert!(message.contains(&harness.address.to_string()) && message.contains("change listen"), "{message}");
}
