//! What the buffer's troubles look like from outside.

use crate::client::{AUTH, batch, event};
use crate::harness::Harness;

#[test]
fn a_full_buffer_is_a_503_and_takes_events_again_when_it_is_drained() {
    let mut harness = Harness::with(|config| {
        config.buffer.segment_bytes = 256 << 10;
        config.buffer.bytes_max = 512 << 10;
    });
    let mut client = harness.client();
    let padding = "p".repeat(20_000);
    let body = event("m").replacen('{', &format!(r#"{{"properties":{{"p":"{padding}"}},"#), 1);
    let mut stored = 0;
    let refused = loop {
        let answer = client.request("POST /v1/track", AUTH, body.as_bytes());
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1000, "half a mebibyte has a bound");
    };
    assert_eq!((refused.status, &*refused.code()), (503, "buffer_full"));
    assert_eq!(refused.header("retry-after"), "5");
    assert!(harness.admin().not_ready().iter().any(|reason| reason.contains("full")));

    assert_eq!(harness.stored().len(), stored);
    // Files are made free behind the floor in the buffer's own time.
    let again = (0..100_000).any(|_| client.request("POST /v1/track", AUTH, body.as_bytes()).status == 200);
    assert!(again);
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn requests_wait_while_the_disk_is_behind() {
    let mut harness = Harness::with(|config| {
        config.threads = 1;
        config.buffer.pending_bytes_max = local_buffer::PENDING_BYTES_MIN;
    });
    let padding = "p".repeat(10_000);
    let mut clients: Vec<_> = (0..64).map(|_| harness.client()).collect();
    for round in 0..4 {
        for (index, client) in clients.iter_mut().enumerate() {
            let ids: Vec<String> = (0..8).map(|n| format!("{round}-{index}-{n}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let body = batch(&ids).replace(r#""userId":"u""#, &format!(r#""userId":"u","p":"{padding}""#));
            let head = format!("POST /v1/b HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n", body.len());
            client.send(&[head.as_bytes(), body.as_bytes()].concat());
        }
        for client in &mut clients {
            client.answer().assert_stored();
        }
    }
    let mut ids = harness.stored_ids();
    assert_eq!(ids.len(), 4 * 64 * 8);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4 * 64 * 8, "nothing twice");
    let metrics = harness.admin().metrics();
    assert!(!metrics.contains("local_buffer_refused_total{reason=\"busy\"} 0\n"), "the disk was never behind");
    assert!(metrics.contains("\ntapi_body_in_flight_bytes 0\n"), "{metrics}");
}
