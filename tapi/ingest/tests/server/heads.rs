//! Heads that leave a doubt are a 400 and the end of the connection: what follows them never runs as a request.

use crate::client::{AUTH, Client, chunked, event};
use crate::harness::Harness;

/// Lines of a head in place of the usual ones; each shape is sent as it stands, then a request that must not be run.
const BAD_FIELDS: &[&str] = &[
    // What says how long the body is.
    "Content-Length : 5",
    "Content-Length\t: 5",
    " Content-Length: 5",
    "\tContent-Length: 5",
    "Content-Length: 5\r\n ",
    "Content-Length:\r\n 5",
    "Content-Length: 5, 5",
    "Content-Length: 5,5",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 0\r\nContent-Length: 5",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5.0",
    "Content-Length: 5 6",
    "Content-Length: 5e0",
    "Content-Length: five",
    "Content-Length: \"5\"",
    "Content-Length:",
    "Content-Length: 99999999999999999999",
    "Content-Length: 18446744073709551621",
    "Content-Length: \u{665}",
    "Content-Length: 5;",
    "Content-Length: 5\0",
    "Content-Length",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: chunked\r\n ",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunked x",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \u{c}chunked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer-Encoding: chun\0ked",
    "Transfer-Encoding:",
    "Transfer-Encoding",
    "Transfer_Encoding\u{a0}: chunked",
    "Transfer-\u{fffd}Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\nContent-Length: 5",
    "X: y\n\rContent-Length: 5",
    "X: y\r\rContent-Length: 5",
    // Whom it is for.
    "Host: other",
    "Host: x",
    "host: x",
    "Host : other",
    // Lines that are none.
    "X",
    "X y",
    ": y",
    " : y",
    "X : y",
    "X\t: y",
    "X y: z",
    " X: y",
    "\tX: y",
    "X: y\r\n z",
    "X: y\r\n\tz",
    "X: y\r\n ",
    "X: y\0",
    "X: \u{1}",
    "X: \u{7f}",
    "X: \u{8}",
    "X: y\rz",
    "X\r: y",
    "(X): y",
    "X,Y: z",
    "X;Y: z",
    "X/Y: z",
    "X=Y: z",
    "X@Y: z",
    "[X]: y",
    "{X}: y",
    "\"X\": y",
    "X\\Y: z",
    "\u{e9}: y",
    "X\0: y",
];

/// First lines, with the `Host` that makes everything else about them good.
const BAD_STARTS: &[&str] = &[
    "POST /v1/track",
    "POST /v1/track ",
    "POST  /v1/track HTTP/1.1",
    "POST /v1/track  HTTP/1.1",
    "POST\t/v1/track HTTP/1.1",
    "POST /v1/track\tHTTP/1.1",
    " POST /v1/track HTTP/1.1",
    "\tPOST /v1/track HTTP/1.1",
    "POST /v1/track HTTP/1.1 ",
    "POST /v1/track HTTP/1.1 x",
    "POST /v1/track x HTTP/1.1",
    "POST /v1/track HTTP/1.2",
    "POST /v1/track HTTP/0.9",
    "POST /v1/track HTTP/2.0",
    "POST /v1/track HTTP/2",
    "POST /v1/track HTTP/1.10",
    "POST /v1/track HTTP/01.1",
    "POST /v1/track HTTP/1.1\0",
    "POST /v1/track http/1.1",
    "POST /v1/track HTTPS/1.1",
    "POST /v1/track ICY",
    "POST v1/track HTTP/1.1",
    "POST ?a HTTP/1.1",
    "POST  HTTP/1.1",
    "POST HTTP/1.1",
    "POST /v1/track#a HTTP/1.1",
    "POST /v1/tr\0ack HTTP/1.1",
    "POST /v1/tr\u{7f}ack#  HTTP/1.1",
    "POST /v1/track<x> HTTP/1.1",
    "POST ftp://x/v1/track HTTP/1.1",
    "POST http:///v1/track HTTP/1.1",
    "POST http:x HTTP/1.1",
    "CONNECT x:443 HTTP/1.1",
    "P(ST /v1/track HTTP/1.1",
    "POST:/v1/track HTTP/1.1",
    "{\"batch\":[]}",
    "\u{16}\u{3}\u{1}\u{2}\0\u{1}",
    "PRI * HTTP/2.0\r\n\r\nSM",
];

/// `Host` lines, or none.
const BAD_HOSTS: &[&str] = &[
    "",
    "Host: a b\r\n",
    "Host: a,b\r\n",
    "Host: a/b\r\n",
    "Host: a?b\r\n",
    "Host: a#b\r\n",
    "Host: user@a\r\n",
    "Host: http://a\r\n",
    "Host: a:b\r\n",
    "Host: a:80:80\r\n",
    "Host: a:80x\r\n",
    "Host: [::1\r\n",
    "Host: ::1\r\n",
    "Host: []\r\n",
    "Host: [::1]x\r\n",
    "Host: a\\b\r\n",
    "Host: \"a\"\r\n",
    "Host: <a>\r\n",
    "Host: a\r\nHost: a\r\n",
    "Host:\r\nHost:\r\n",
];

const GOOD_HOSTS: &[&str] =
    &["Host:", "Host: a", "Host: a.example:8080", "Host: 192.0.2.1", "Host: [::1]:80", "Host: a_b"];

/// A request that would be stored; it stands where a body would hide it.
fn smuggled() -> String {
    let body = event("smuggled");
    format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[track_caller]
fn assert_refused(client: &mut Client, shape: &str, code: &str) {
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.code()), (400, code), "{shape:?}");
    assert_eq!(answer.header("connection"), "close", "{shape:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{shape:?}");
    client.finish_sending();
    assert!(client.is_closed(), "{shape:?}");
}

#[test]
fn a_head_that_leaves_a_doubt_is_refused_and_nothing_behind_it_runs() {
    let mut harness = Harness::new();
    let fields =
        BAD_FIELDS.iter().map(|fields| format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{AUTH}{fields}\r\n\r\n"));
    let starts = BAD_STARTS.iter().map(|start| format!("{start}\r\nHost: x\r\n{AUTH}Content-Length: 5\r\n\r\n"));
    let hosts = BAD_HOSTS.iter().map(|host| format!("POST /v1/track HTTP/1.1\r\n{host}{AUTH}\r\n"));
    let others = [
        "POST /v1/track HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
        "POST /v1/track HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\r\n\r\nPOST /v1/track HTTP/1.1\r\nHost: x\r\n\r\n",
        "\nPOST /v1/track HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /v1/track HTTP/1.1\nHost: x\n\n",
        "POST /v1/track HTTP/1.1\r\nHost: x\r\n\n",
        "POST /v1/track HTTP/1.1\r\nHost: x\n\r\n",
    ];
    let shapes: Vec<String> = fields.chain(starts).chain(hosts).chain(others.map(str::to_owned)).collect();
    assert!(shapes.len() >= 150, "{}", shapes.len());
    for shape in &shapes {
        // At once, so that nothing of it is left when it is refused.
        let mut client = harness.client();
        client.send(format!("{shape}{}", smuggled()).as_bytes());
        assert_refused(&mut client, shape, "bad_request");
    }
    // Behind a good request, byte by byte, and with the origin that its page needs.
    let body = event("good");
    let good = format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len());
    for shape in [BAD_FIELDS[0], BAD_FIELDS[26]] {
        let head = format!("POST /v1/track HTTP/1.1\r\nHost: x\r\nOrigin: https://shop.example\r\n{shape}\r\n\r\n");
        let mut client = harness.client();
        for byte in format!("{good}{head}").into_bytes() {
            client.send(&[byte]);
        }
        client.answer().assert_stored();
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, "https://shop.example"));
        assert!(client.is_closed());
    }
    assert_eq!(harness.stored_ids(), ["good", "good"]);
    let metrics = harness.admin().metrics();
    let refused = shapes.len() + 2;
    for row in [
        format!("tapi_requests_refused_total{{code=\"bad_request\"}} {refused}"),
        format!("tapi_requests_total{{endpoint=\"other\",status=\"400\"}} {refused}"),
    ] {
        assert!(metrics.lines().any(|line| line == row), "no {row} in\n{metrics}");
    }
    assert!(!metrics.contains("reason=\"protocol\""), "the library had something to say\n{metrics}");
}

#[test]
fn heads_as_clients_write_them_are_good() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    let body = event("m");
    let length = body.len();
    let mut count = 0;
    let others = [
        "Host: x\r\nX:",
        "Host: x\r\nX: \u{e9}\t\u{fffd}",
        "hOST:x",
        "Host: \tx \t",
        "X-1_2.3!#$%&'*+^`|~: a\r\nHost: x",
    ];
    for fields in GOOD_HOSTS.iter().chain(&others) {
        for start in [
            "POST /v1/track HTTP/1.1",
            "POST /v1/track?a=%20&b={c}&d=|^ HTTP/1.1",
            "POST http://a.example:80/v1/track HTTP/1.1",
            "\r\nPOST /v1/track HTTP/1.1",
        ] {
            client.send(format!("{start}\r\n{fields}\r\n{AUTH}Content-Length: {length}\r\n\r\n{body}").as_bytes());
            let answer = client.answer();
            assert_eq!(answer.status, 200, "{start} {fields} {answer:?}");
            count += 1;
        }
    }
    client.send(
        format!("POST /v1/track HTTP/1.0\r\nConnection: keep-alive\r\n{AUTH}Content-Length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
    client.answer().assert_stored();
    // Some clients end a body with an empty line, long before the next request.
    client.send(b"\r\n");
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 204);
    assert_eq!(harness.stored().len(), count + 1);
}

#[test]
fn a_head_above_its_bounds_is_refused_by_name() {
    let harness = Harness::new();
    let long = "x".repeat(17 * 1024);
    for head in [
        format!("POST /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("POST /v1/track HTTP/1.1\r\nHost: x\r\nCookie: {long}\r\n\r\n"),
        format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100)),
        // Without an end too, and so is one that grows slowly.
        format!("POST /v1/track HTTP/1.1\r\nHost: x\r\nCookie: {long}"),
    ] {
        let mut client = harness.client();
        client.send(head.as_bytes());
        assert_refused(&mut client, &head[..40], "head_too_large");
    }
}

#[test]
fn a_body_of_odd_chunks_is_refused_and_nothing_behind_it_runs() {
    let mut harness = Harness::new();
    let body = event("m");
    let good = String::from_utf8(chunked(body.as_bytes(), 20)).unwrap();
    let head = format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n");
    for (from, to) in [
        ("14\r\n", "14 \r\n"),
        ("14\r\n", " 14\r\n"),
        ("14\r\n", "14\n"),
        ("14\r\n", "14\r"),
        ("14\r\n", "0x14\r\n"),
        ("14\r\n", "+14\r\n"),
        ("14\r\n", "000000014\r\n"),
        ("14\r\n", "ffffffffffffffff14\r\n"),
        ("14\r\n", "14;a\nb\r\n"),
        ("14\r\n", "14 ;a\r\n"),
        ("14\r\n", "13\r\n"),
        ("14\r\n", "15\r\n"),
        ("14\r\n", "\r\n14\r\n"),
        ("14\r\n", "14,14\r\n"),
        ("\r\n0\r\n\r\n", "\r\n0\r\n \r\n\r\n"),
        ("\r\n0\r\n\r\n", "\r\n0\r\nX : y\r\n\r\n"),
        ("\r\n0\r\n\r\n", "\r\n0\r\nContent-Length\r\n\r\n"),
        ("\r\n0\r\n\r\n", "\r\n0\r\n\n"),
        ("\r\n0\r\n\r\n", "\n0\r\n\r\n"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from:?}");
        let mut client = harness.client();
        client.send(format!("{head}{bad}{}", smuggled()).as_bytes());
        assert_refused(&mut client, to, "bad_request");
    }
    assert_eq!(harness.stored(), []);
    let mut client = harness.client();
    let fine = good.replacen("14\r\n", "14;a=\"b\"\r\n", 1).replace("\r\n0\r\n\r\n", "\r\n0\r\nX: y\r\n\r\n");
    client.send(format!("{head}{fine}{}", smuggled()).as_bytes());
    client.answer().assert_stored();
    client.answer().assert_stored();
    assert_eq!(harness.stored_ids(), ["m", "smuggled"]);
}

#[test]
fn several_content_encodings_are_refused_and_the_connection_lives() {
    let mut harness = Harness::new();
    let mut client = harness.client();
    for lines in
        ["Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", "Content-Encoding: gzip\r\nContent-Encoding: br\r\n"]
    {
        let answer = client.request("POST /v1/track", &format!("{AUTH}{lines}"), event("m").as_bytes());
        assert_eq!((answer.status, &*answer.code()), (400, "unsupported_encoding"), "{lines}");
    }
    client.request("POST /v1/track", AUTH, event("m").as_bytes()).assert_stored();
    assert_eq!(harness.stored().len(), 1);
}

#[test]
fn whatever_passes_is_read_by_the_library_too() {
    const EDITS: &[u8] = b"\r\n\t \0\x0b\x7f\x80\xff:;,/?#%[]{}\"'\\@=+-_.05aAzZ";
    let harness = Harness::new();
    let head = format!("POST /v1/track HTTP/1.1\r\nHost: x\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n");
    let shapes = [smuggled() + &smuggled(), head + "5\r\nhello\r\n0\r\nX: y\r\n\r\n" + &smuggled()];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..3_000 {
        let mut bytes = shapes[round % 2].clone().into_bytes();
        for _ in 0..=random(2) {
            // Mostly in the first head.
            let at = random(if round % 5 == 0 { bytes.len() } else { 150 });
            let edit = EDITS[random(EDITS.len())];
            match random(3) {
                0 => bytes[at] = edit,
                1 => bytes.insert(at, edit),
                _ => drop(bytes.remove(at)),
            }
        }
        let mut client = harness.client();
        client.send(&bytes);
        client.finish_sending();
        client.drain();
    }
    let metrics = harness.admin().metrics();
    assert!(!metrics.contains("reason=\"protocol\""), "the library had something to say\n{metrics}");
}
