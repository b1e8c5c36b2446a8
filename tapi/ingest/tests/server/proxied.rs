//! Behind a load balancer that passes bytes on: whom its header is believed, and what follows from it.

use crate::client::{AUTH, Client, event};
use crate::harness::Harness;
use crate::tls::{Secret, connect_after, trusting};

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n";

fn believing(harness_from: &str) -> Harness {
    Harness::with(|config| config.proxy_protocol_from = vec![harness_from.into()])
}

fn message(id: &str) -> Vec<u8> {
    let body = event(id);
    format!("POST /v1/t HTTP/1.1\r\nHost: x\r\n{AUTH}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn ip(harness: &mut Harness) -> String {
    let stored = harness.stored();
    assert_eq!(stored.len(), 1);
    stored[0].value["context"]["ip"].as_str().unwrap().to_owned()
}

#[test]
fn the_headers_address_is_the_clients() {
    let mut harness = believing("127.0.0.0/8");
    let mut client = harness.client();
    client.send(&[V1, &message("a")].concat());
    client.answer().assert_stored();
    assert_eq!(ip(&mut harness), "203.0.113.9");
    // It is said once, for all requests of the connection.
    client.send(&message("b"));
    client.answer().assert_stored();
    assert_eq!(ip(&mut harness), "203.0.113.9");

    // In pieces, in the other version, and without a client.
    let mut client = harness.client();
    let v2 = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[203, 0, 113, 7, 198, 51, 100, 1, 0, 1, 1, 0xbb]].concat();
    for byte in v2 {
        client.send(&[byte]);
    }
    client.send(&message("c"));
    client.answer().assert_stored();
    assert_eq!(ip(&mut harness), "203.0.113.7");
    let mut client = harness.client();
    client.send(&[&b"PROXY UNKNOWN\r\n"[..], &message("d")].concat());
    client.answer().assert_stored();
    assert_eq!(ip(&mut harness), "127.0.0.1");
}

#[test]
fn a_header_is_believed_only_of_those_who_have_to_send_one() {
    let mut harness = believing("192.0.2.0/24");
    let mut client = harness.client();
    client.send(&[V1, &message("a")].concat());
    assert_eq!(client.answer().status, 400);
    assert!(client.closes());
    harness.ask("POST /v1/track", AUTH, event("b").as_bytes()).assert_stored();
    assert_eq!(harness.stored_ids(), ["b"]);
}

#[test]
fn who_has_to_send_one_and_does_not_is_closed_without_an_answer() {
    let harness = believing("127.0.0.1");
    let mut client = harness.client();
    client.send(&message("a"));
    assert!(client.closes());
    let row = "tapi_connections_refused_total{reason=\"proxy_header\"} 1\n";
    harness.until(|harness| harness.admin().metrics().contains(row));
}

#[test]
fn the_address_is_the_last_hop_before_forwarded_headers() {
    let mut harness = Harness::with(|config| {
        config.proxy_protocol_from = vec!["127.0.0.1".into()];
        config.client_ip_header = "x-forwarded-for".into();
        config.trusted_proxies = vec!["203.0.113.9".into()];
    });
    let mut client = Client::connect(harness.address);
    client.send(V1);
    client
        .request("POST /v1/t", &format!("{AUTH}X-Forwarded-For: 192.0.2.77\r\n"), event("a").as_bytes())
        .assert_stored();
    assert_eq!(ip(&mut harness), "192.0.2.77");
}

#[test]
fn tls_comes_behind_the_header() {
    let secret = Secret::new();
    let certificate = secret.renew();
    let mut harness = Harness::with(|config| {
        secret.apply(config);
        config.proxy_protocol_from = vec!["127.0.0.1".into()];
    });
    let mut stream = connect_after(harness.address, &trusting(&certificate, &[]), V1).unwrap();
    assert_eq!(crate::tls::post(&mut stream, "a"), 200);
    assert_eq!(ip(&mut harness), "203.0.113.9");
}

#[test]
fn the_bound_of_an_address_is_that_of_the_client_behind_the_balancer() {
    let harness = Harness::with(|config| {
        config.proxy_protocol_from = vec!["127.0.0.1".into()];
        config.limits.connections_per_address_max = 2;
    });
    let begun = |header: &str| {
        let mut client = harness.client();
        client.send(&[header.as_bytes(), &message("m")].concat());
        client
    };
    let served = |header: &str| {
        let mut client = begun(header);
        client.answer().assert_stored();
        client
    };
    let of = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 56324 443\r\n");
    let _others: Vec<_> = (1..=20).map(|host| served(&of(&format!("192.0.2.{host}")))).collect();
    let (first, _second) = (served(&of("203.0.113.9")), served(&of("203.0.113.9")));
    assert!(begun(&of("203.0.113.9")).closes());
    harness.await_figure("tapi_connections_closed_total{reason=\"address\"}", |count| count == 1);
    // Where it names nobody the connection is its own.
    let _own = (served("PROXY UNKNOWN\r\n"), served("PROXY UNKNOWN\r\n"));
    assert!(begun("PROXY UNKNOWN\r\n").closes());
    drop(first);
    harness.await_figure("tapi_connections_closed_total{reason=\"client\"}", |count| count == 1);
    let _third = served(&of("203.0.113.9"));
}
