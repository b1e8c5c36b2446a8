//! Stopping: what was begun is finished, and nothing waits for what was not.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ingest::{Live, Metrics};
use service::Shutdown;

use crate::client::{AUTH, event};
use crate::harness::{Harness, settings};

#[test]
fn a_stop_answers_what_was_begun_and_closes_the_rest() {
    let mut harness = Harness::new();
    let (mut idle, mut half) = (harness.client(), harness.client());
    idle.request("POST /v1/track", AUTH, event("idle").as_bytes()).assert_stored();
    let body = event("half");
    let head = format!(
        "POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    half.send(head.as_bytes());
    assert_eq!(half.answer().status, 100, "its body is being read");

    let start = Instant::now();
    harness.shutdown.trigger();
    assert!(idle.is_closed());
    half.send(body.as_bytes());
    let answer = half.answer();
    answer.assert_stored();
    assert_eq!(answer.header("connection"), "close");
    harness.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(harness.stored_ids(), ["idle", "half"]);
}

#[test]
fn connections_in_the_queue_are_answered_too() {
    let mut harness = Harness::new();
    let body = event("m");
    let message = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut clients: Vec<_> = (0..100).map(|_| harness.client()).collect();
    for client in &mut clients {
        client.send(message.as_bytes());
    }
    harness.shutdown.trigger();
    for client in &mut clients {
        client.answer().assert_stored();
    }
    harness.join().unwrap();
    assert_eq!(harness.stored().len(), 100);
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_does_nothing() {
    let mut harness = Harness::with(|config| config.limits.shutdown_timeout_ms = 400);
    let mut half = harness.client();
    half.send(
        format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(half.answer().status, 100);
    let start = Instant::now();
    harness.shutdown.trigger();
    harness.join().unwrap();
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(half.is_closed());
}

#[test]
fn a_thread_that_ends_by_itself_ends_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let config = settings();
    let (queue, _) = config.buffer.open(dir.path()).unwrap();
    let (_address, mut listeners) = ingest::listen(([127, 0, 0, 1], 0).into(), 2).unwrap();
    // Nothing can be awaited of a file.
    let no_socket = TcpListener::from(OwnedFd::from(tempfile::tempfile().unwrap()));
    no_socket.set_nonblocking(true).unwrap();
    listeners.push(no_socket);
    let ((_reload, live), metrics, stop) =
        (Live::channel(&config).unwrap(), Metrics::new(queue.monitor()), Shutdown::new());
    let served = ingest::serve(listeners, &config.limits, &live, &queue.appender(), &metrics, &stop);
    assert_eq!(served.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(stop.is_triggered());
    queue.close().unwrap();
}
