//! A request that comes whole takes another way through the server than one that does not, and nobody can tell.

use crate::client::{AUTH, Answer, Client, batch, event, gzip};
use crate::harness::Harness;

/// An empty line before a request is allowed, and makes it one that is not plain.
const NOT_PLAIN: &[u8] = b"\r\n";

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Without what depends on the time.
fn timeless(mut answer: Answer) -> Answer {
    let date = answer.headers.remove("date").unwrap_or_default();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date:?}");
    answer
}

#[test]
fn an_answer_is_the_same_however_its_request_came() {
    let mut harness = Harness::new();
    let origin = "Origin: https://a.example\r\n";
    let packed = gzip(batch(&["a", "b"]).as_bytes());
    let large = event("m").replacen('{', &format!(r#"{{"p":"{}","#, "p".repeat(20_000)), 1);
    let mut events = 0;
    for (line, headers, body, stored) in [
        ("POST /v1/track", AUTH.to_owned(), event("m").as_bytes(), 1),
        ("POST /v1/t?writeKey=KEY", origin.to_owned(), event("m").as_bytes(), 1),
        ("POST /v1/b", format!("{AUTH}{origin}Content-Encoding: gzip\r\n"), &packed[..], 2),
        ("POST /v1/track", format!("{AUTH}Connection: Keep-Alive\r\n"), large.as_bytes(), 1),
        ("POST http://x//v1/track", format!("{AUTH}X-Own: \u{e9}\r\n"), event("m").as_bytes(), 1),
        ("POST /v1/track", String::new(), event("m").as_bytes(), 0),
        ("POST /v1/track", AUTH.to_owned(), &b"no json"[..], 0),
        ("POST /v1/track", AUTH.to_owned(), &b""[..], 0),
        ("POST /v1/batch", format!("{AUTH}Content-Encoding: br\r\n"), &b"x"[..], 0),
        ("POST /v1/m", AUTH.to_owned(), &b"{}"[..], 0),
        ("POST /nowhere", origin.to_owned(), &b"x"[..], 0),
        ("POST /v1/pixel/track", AUTH.to_owned(), &b"x"[..], 0),
    ] {
        let bytes = request(line, &headers, body);
        let (mut plain, mut other) = (harness.client(), harness.client());
        // Twice, because the second request of a connection finds what the first has left.
        for _ in 0..2 {
            plain.send(&bytes);
            other.send(&[NOT_PLAIN, &bytes].concat());
            let (plain, other) = (timeless(plain.answer()), timeless(other.answer()));
            assert_eq!((plain.status, plain.headers, plain.body), (other.status, other.headers, other.body), "{line}");
            events += 2 * stored;
        }
    }
    assert_eq!(harness.stored().iter().filter(|stored| stored.is_event).count(), events);
}

#[test]
fn a_connection_goes_on_whatever_comes_after_a_plain_request() {
    let mut harness = Harness::new();
    let good = request("POST /v1/track", AUTH, event("m").as_bytes());
    let after_plain = |bytes: &[u8]| {
        let mut client: Client = harness.client();
        for _ in 0..3 {
            client.send(&good);
            client.answer().assert_stored();
        }
        client.send(bytes);
        client
    };
    // Two at once.
    let mut client = after_plain(&good.repeat(2));
    client.answer().assert_stored();
    client.answer().assert_stored();
    // Another method, and a plain one behind it.
    let mut client = after_plain(b"OPTIONS /v1/track HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n");
    assert_eq!(client.answer().status, 204);
    client.send(&good);
    client.answer().assert_stored();
    // A body that is asked for.
    let mut client = after_plain(&request("POST /v1/track", &format!("{AUTH}Expect: 100-continue\r\n"), b"")[..]);
    assert_eq!(client.answer().status, 400);
    // The last one.
    let last = request("POST /v1/track", &format!("{AUTH}Connection: close\r\n"), event("m").as_bytes());
    let mut client = after_plain(&last);
    client.answer().assert_stored();
    assert!(client.is_closed());
    // A head that is refused.
    let mut client = after_plain(b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello");
    assert_eq!(client.answer().code(), "bad_request");
    assert!(client.is_closed());
    // Half a request, and the other half.
    let mut client = after_plain(&good[..20]);
    client.send(&good[20..]);
    client.answer().assert_stored();
    assert_eq!(harness.stored().len(), 6 * 3 + 2 + 1 + 1 + 1);
}
