//! Bodies in every framing that SDKs use, and some that they do not.

use wire::limits::REQUEST_BYTES_MAX;

use crate::client::{AUTH, batch, chunked, event, gzip};
use crate::harness::Harness;

const CHUNKED: &str = "Authorization: Basic S0VZOg==\r\nTransfer-Encoding: chunked\r\n";

fn head(headers: &str) -> Vec<u8> {
    format!("POST /v1/batch HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
}

/// A batch of about so many bytes, and its ids.
fn large_batch(bytes: usize) -> (String, Vec<String>) {
    let padding = "p".repeat(900);
    let ids: Vec<String> = (0..bytes / 1000).map(|n| format!("m-{n}")).collect();
    let event = |id: &String| {
        format!(r#"{{"type":"track","event":"e","userId":"u","messageId":"{id}","properties":{{"p":"{padding}"}}}}"#)
    };
    let events: Vec<_> = ids.iter().map(event).collect();
    (format!(r#"{{"batch":[{}]}}"#, events.join(",")), ids)
}

#[test]
fn gzip_on_every_kind_of_path_whatever_the_content_type() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let headers = format!("{AUTH}Content-Encoding: gzip\r\nContent-Type: application/x-www-form-urlencoded\r\n");
    client.request("POST /v1/batch", &headers, &gzip(batch(&["a", "b"]).as_bytes())).assert_stored();
    client.request("POST /v1/t", &headers, &gzip(event("c").as_bytes())).assert_stored();
    let members = [gzip(&batch(&["d"]).as_bytes()[..20]), gzip(&batch(&["d"]).as_bytes()[20..])].concat();
    client.request("POST /v1/batch", &headers, &members).assert_stored();
    let upper = format!("{AUTH}Content-Encoding: GZIP\r\n");
    client.request("POST /v1/batch", &upper, &gzip(batch(&["e"]).as_bytes())).assert_stored();
    let identity = format!("{AUTH}Content-Encoding: identity\r\n");
    client.request("POST /v1/batch", &identity, batch(&["f"]).as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn two_bytes_tell_gzip_whatever_the_header_says() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for (index, header) in
        ["", "Content-Encoding: utf-8\r\n", "Content-Encoding: application/json\r\n"].iter().enumerate()
    {
        let id = format!("packed-{index}");
        client.request("POST /v1/batch", &format!("{AUTH}{header}"), &gzip(batch(&[&id]).as_bytes())).assert_stored();
        let id = format!("plain-{index}");
        client.request("POST /v1/batch", &format!("{AUTH}{header}"), batch(&[&id]).as_bytes()).assert_stored();
    }
    let headers = format!("{AUTH}Content-Encoding: gzip\r\n");
    client.request("POST /v1/t", &headers, format!("\u{feff}{}", event("unpacked")).as_bytes()).assert_stored();
    let ids = harness.stored_ids();
    assert_eq!(ids, ["packed-0", "plain-0", "packed-1", "plain-1", "packed-2", "plain-2", "unpacked"]);
}

#[test]
fn bad_encodings_are_a_400_and_the_connection_lives() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = gzip(batch(&["a"]).as_bytes());
    let headers = format!("{AUTH}Content-Encoding: gzip\r\n");
    for bad in [b"not gzip".to_vec(), body[..body.len() - 1].to_vec(), b"\x78\x9c\x03\x00".to_vec(), Vec::new()] {
        let answer = client.request("POST /v1/batch", &headers, &bad);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.code(), "invalid_gzip");
    }
    let answer = client.request("POST /v1/batch", &format!("{AUTH}Content-Encoding: br\r\n"), &body);
    assert_eq!((answer.status, &*answer.code()), (400, "unsupported_encoding"));
    client.request("POST /v1/batch", &headers, &body).assert_stored();
    assert_eq!(harness.event_ids(), ["a"]);
}

#[test]
fn chunks_of_every_size() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = batch(&["a", "b"]);
    for bytes in [1, 2, 7, 64, body.len()] {
        client.send(&[head(CHUNKED), chunked(body.as_bytes(), bytes)].concat());
        client.answer().assert_stored();
        assert_eq!(harness.stored_ids(), ["a", "b"], "{bytes}");
    }
}

#[test]
fn gzip_in_chunks_that_arrive_in_odd_pieces() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let headers = format!("{CHUNKED}Content-Encoding: gzip\r\n");
    let message = [head(&headers), chunked(&gzip(batch(&["a", "b"]).as_bytes()), 10)].concat();
    for at in 1..message.len() {
        let (first, second) = message.split_at(at);
        client.send(first);
        client.send(second);
        client.answer().assert_stored();
    }
    assert_eq!(harness.stored_ids().len(), 2 * (message.len() - 1));
}

#[test]
fn head_and_body_in_two_writes() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = event("m");
    for cut in [0, 1, body.len() / 2, body.len()] {
        let head = format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n", body.len());
        client.send(&[head.as_bytes(), &body.as_bytes()[..cut]].concat());
        client.send(&body.as_bytes()[cut..]);
        client.answer().assert_stored();
    }
    assert_eq!(harness.stored().len(), 4);
}

#[test]
fn the_largest_body_is_stored_and_one_byte_more_is_not() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let (mut body, ids) = large_batch(REQUEST_BYTES_MAX - 40_000);
    body += &" ".repeat(REQUEST_BYTES_MAX - body.len());
    client.request("POST /v1/batch", AUTH, body.as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ids);
    client.send(&[head(CHUNKED), chunked(body.as_bytes(), 50_000)].concat());
    client.answer().assert_stored();
    assert_eq!(harness.stored_ids(), ids);

    body.push(' ');
    let answer = client.request("POST /v1/batch", AUTH, body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (400, "payload_too_large"));
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(harness.stored(), []);
}

#[test]
fn a_client_that_sends_far_too_much_can_read_why_it_is_refused() {
    let mut harness = Harness::new();
    let piece = vec![b' '; 64 * 1024];
    for headers in [format!("{AUTH}Content-Length: 6000000\r\n"), CHUNKED.to_owned()] {
        let mut client = harness.client();
        client.send(&head(&headers));
        let mut sent = 0;
        while sent + piece.len() < 6_000_000 {
            if headers == CHUNKED {
                client.send(format!("{:x}\r\n", piece.len()).as_bytes());
            }
            client.send(&piece);
            if headers == CHUNKED {
                client.send(b"\r\n");
            }
            sent += piece.len();
        }
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.code()), (400, "payload_too_large"), "{headers}");
        assert_eq!(answer.header("connection"), "close");
        client.finish_sending();
        assert!(client.is_closed());
    }
    assert_eq!(harness.stored(), []);
}

#[test]
fn a_client_that_never_stops_sending_is_cut_off() {
    let harness = Harness::new();
    let mut client = harness.client();
    client.send(&head(&format!("{AUTH}Content-Length: 1000000000\r\n")));
    let piece = vec![b' '; 1 << 20];
    let taken = (0..200).take_while(|_| client.try_send(&piece)).count();
    // What the server throws away, and what the two kernels hold.
    assert!(taken < 100, "{taken} MiB");
}

#[test]
fn a_bomb_is_refused_and_the_connection_lives() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let headers = format!("{AUTH}Content-Encoding: gzip\r\n");
    let bomb = gzip(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < REQUEST_BYTES_MAX);
    let answer = client.request("POST /v1/batch", &headers, &bomb);
    assert_eq!((answer.status, &*answer.code()), (400, "payload_too_large"));
    client.request("POST /v1/batch", &headers, &gzip(batch(&["a"]).as_bytes())).assert_stored();
    assert_eq!(harness.event_ids(), ["a"]);
}

#[test]
fn expect_100_continue() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = batch(&["a"]);
    let expect = |length: usize| head(&format!("{AUTH}Content-Length: {length}\r\nExpect: 100-continue\r\n"));
    client.send(&expect(body.len()));
    assert_eq!(client.answer().status, 100);
    client.send(body.as_bytes());
    client.answer().assert_stored();
    assert_eq!(harness.stored_ids(), ["a"]);
    // A body that will not be read is not asked for.
    client.send(&expect(REQUEST_BYTES_MAX + 1));
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("connection")), (400, "close"));
}

#[test]
fn an_empty_or_broken_body_is_a_400_and_the_connection_lives() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for (body, code) in [
        (&b""[..], "empty_body"),
        (b"{", "invalid_json"),
        (b"nonsense", "invalid_json"),
        (b"{}", "missing_batch"),
        (br#"{"batch":[]}"#, "empty_batch"),
    ] {
        let answer = client.request("POST /v1/batch", AUTH, body);
        assert_eq!((answer.status, &*answer.code()), (400, code));
        let json = answer.json();
        assert!(json["success"] == false && json["message"].is_string() && json["error"].is_string(), "{json}");
    }
    client.request("POST /v1/batch", AUTH, batch(&["a"]).as_bytes()).assert_stored();
    let stored = harness.stored();
    // What was refused is kept before the event, and answered with a 400 all the same.
    let kept: Vec<_> =
        stored.iter().filter(|stored| !stored.is_event).map(|stored| stored.value["raw"].clone()).collect();
    assert_eq!(kept, ["{", "nonsense", "{}"]);
    assert_eq!(stored.last().map(|stored| &*stored.id), Some("a"));
}

#[test]
fn a_broken_chunk_is_a_400_or_the_end() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    client.send(&[head(CHUNKED), b"zz\r\nxx\r\n".to_vec()].concat());
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.code()), (400, "bad_request"));
    assert_eq!(harness.stored(), []);
}

#[test]
fn events_that_outgrow_one_append_are_stored_all_the_same() {
    // The common context goes into each event, so that a megabyte becomes several.
    let mut harness = Harness::new();
    let context = "c".repeat(20_000);
    let ids: Vec<String> = (0..300).map(|n| format!("m-{n}")).collect();
    let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
    let body = format!(r#"{{"context":{{"c":"{context}"}},"batch":[{}]}}"#, events.join(","));
    harness.ask("POST /v1/batch", AUTH, body.as_bytes()).assert_stored();
    let stored = harness.stored();
    assert!(stored.iter().map(|stored| stored.value.to_string().len()).sum::<usize>() > 5 << 20);
    assert_eq!(stored.into_iter().map(|stored| stored.id).collect::<Vec<_>>(), ids);
}
