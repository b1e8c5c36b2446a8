//! Goal: a page with an unmodified browser SDK, told nothing but a write key and this server, loses and doubles nothing.
//! Fault: another origin than the server's; a source over its limit (429); a full disk (503), then no server at all; a
//! page that ends while its SDK still holds events. Each over plain HTTP, and over TLS, where browsers speak HTTP/2.
//! Oracle: what the SDK in the page says it was handed, member by member, and the answers as the browser saw them.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::disk::SmallDisk;
use tests::output::{self, Event};
use tests::sdk::Door;
use tests::secure::Authority;
use tests::{Answered, Browser, Ending, Scene, Turnstile, http, wait};

use super::sdk_conformance::Run;

const CURRENT: &str = "@segment/analytics-next";
const OLDER: &str = "analytics-next-1.81";
const WRITE_KEY: &str = "sdk-key";
const TRACKS: usize = 20;
const SMALLEST_SEGMENT_BYTES: u64 = 256 << 10;
/// Both SDKs come back within seconds.
const LIMIT: Duration = Duration::from_secs(40);

/// Of the server: how pages reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

#[test]
fn a_page_delivers_each_event_once() {
    pages_deliver(Scheme::Http, CURRENT);
}

#[test]
fn a_page_with_the_older_sdk_delivers_each_event_once() {
    pages_deliver(Scheme::Http, OLDER);
}

#[test]
fn a_page_delivers_each_event_once_over_http_2() {
    pages_deliver(Scheme::Https, CURRENT);
}

#[test]
fn a_page_with_the_older_sdk_delivers_each_event_once_over_http_2() {
    pages_deliver(Scheme::Https, OLDER);
}

#[test]
fn a_page_over_its_limit_comes_back() {
    pages_wait_for_their_limit(Scheme::Http);
}

#[test]
fn a_page_over_its_limit_comes_back_over_http_2() {
    pages_wait_for_their_limit(Scheme::Https);
}

#[test]
fn a_page_comes_back_after_a_full_disk_and_a_restart() {
    pages_outlast_the_server(Scheme::Http);
}

#[test]
fn a_page_comes_back_after_a_full_disk_and_a_restart_over_http_2() {
    pages_outlast_the_server(Scheme::Https);
}

/// Pages that stay, and pages that end with all their events still in the SDK. The older one holds none back over plain
/// HTTP: its batches go to `https:` whatever the settings say.
fn pages_deliver(scheme: Scheme, package: &str) {
    let endings: &[Ending] =
        if (scheme, package) == (Scheme::Http, OLDER) { &[] } else { &[Ending::Left, Ending::Closed] };
    let scene = Scene::begin();
    let (mut server, door) = site(&scene, scheme, Turnstile::new(&scene));
    server.start();
    let run = Run::begin((1 + endings.len()) * TRACKS);
    let mut browser = Browser::open(&scene, package, &door, WRITE_KEY);
    let mut sent = browser.visit(TRACKS, false);
    arrived(&server, sent.len());
    for ending in endings {
        let held = browser.visit(TRACKS, true);
        assert_eq!(stored(&server), sent.len(), "the SDK holds them until the page ends");
        sent.extend(held);
        browser.end(*ending);
        arrived(&server, sent.len());
    }
    run.check(&scene, &server, &as_stored(sent));
    let answers = browser.close();
    assert_eq!(settings(&answers), 1 + endings.len(), "each page asks for its settings: {answers:#?}");
    assert!(answers.iter().all(|answer| [200, 204].contains(&answer.status)), "{answers:#?}");
    let preflights: Vec<_> = answers.iter().filter(|answer| answer.method == "OPTIONS").collect();
    assert_eq!(preflights.is_empty(), package == OLDER, "the older one sends only what needs none: {answers:#?}");
    for path in ["/v1/i", "/v1/p", "/v1/s", "/v1/g", "/v1/a", "/v1/t", "/v1/b"] {
        let posted = answers.iter().filter(|answer| answer.method == "POST" && answer.path == path).count();
        // What a page sent while it ended is answered to nobody.
        assert!(posted > 0 || path == "/v1/b", "nothing was posted to {path}: {answers:#?}");
    }
    spoke(scheme, &answers);
}

fn pages_wait_for_their_limit(scheme: Scheme) {
    let limit = r#"[{id = "default", events_per_second = 10, burst_events = 10, mode = "enforce"}]"#;
    for package in [CURRENT, OLDER] {
        let scene = Scene::begin();
        let (server, door) = site(&scene, scheme, Turnstile::new(&scene));
        let mut server = server.set("TURNSTILE_TIERS", limit);
        server.start();
        let run = Run::begin(TRACKS);
        let mut browser = Browser::open(&scene, package, &door, WRITE_KEY);
        let sent = browser.visit(TRACKS, false);
        arrived(&server, sent.len());
        run.check(&scene, &server, &as_stored(sent));
        let answers = browser.close();
        let of_status = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert!(of_status(429) > 0, "{answers:#?}");
        assert_eq!(of_status(503), 0, "{answers:#?}");
        spoke(scheme, &answers);
        scene.say(format_args!("{package}: {} answers 429", of_status(429)));
    }
}

/// Events that the server had no room for wait in a page that stays, and in the browser's storage for one that ended.
fn pages_outlast_the_server(scheme: Scheme) {
    let scene = Scene::begin();
    let mut server = Turnstile::new(&scene)
        .set("TURNSTILE_BUFFER_SEGMENT_BYTES", SMALLEST_SEGMENT_BYTES)
        .set("TURNSTILE_BUFFER_BYTES_MAX", 2 * SMALLEST_SEGMENT_BYTES);
    let Some(disk) = SmallDisk::mount(&scene, &server.deduped(), 64 << 20) else { return };
    let ballast = disk.ballast(0);
    server.start();
    fill(&server);
    server.kill();
    let (mut server, door) = site(&scene, scheme, server);
    server.start();
    let run = Run::begin(2 * TRACKS);
    let mut browser = Browser::open(&scene, CURRENT, &door, WRITE_KEY);
    let mut sent = browser.visit(TRACKS, false);
    sent.extend(browser.visit(TRACKS, false));
    browser.end(Ending::Closed);
    assert_eq!(stored(&server), 0, "there was no room");
    server.kill();
    fs::remove_file(ballast).expect("the ballast");
    server.start();
    // The page that stayed sends its own. A new one of the site finds what the closed one left behind.
    sent.extend(browser.visit(1, false));
    arrived(&server, sent.len());
    run.check(&scene, &server, &as_stored(sent));
    let answers = browser.close();
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(refused > 0, "{answers:#?}");
    spoke(scheme, &answers);
    scene.say(format_args!("{refused} answers 503"));
}

/// A server, and the door that pages know.
fn site(scene: &Scene, scheme: Scheme, server: Turnstile) -> (Turnstile, Door) {
    let address = server.ingest;
    match scheme {
        Scheme::Http => (server, Door::plain(address)),
        Scheme::Https => {
            let authority = Authority::new(scene, "authority");
            (server.with_tls(&authority), Door::tls(address, &authority))
        }
    }
}

/// Fills the buffer, whose output takes nothing, with events of another source.
fn fill(server: &Turnstile) {
    // Small ones find the room that large ones do not.
    for bytes in [8 << 10, 1] {
        let body = format!(r#"{{"userId":"u","event":"Filler","padding":"{}"}}"#, "x".repeat(bytes));
        let post = || http::post(server.ingest, "/v1/track", http::BASIC_AUTH, body.as_bytes()).expect("an answer");
        wait::until("the buffer is full", LIMIT, || (post().status == 503).then_some(()));
    }
}

/// Events of the pages that have come out.
fn stored(server: &Turnstile) -> usize {
    output::lines_with(&server.deduped(), &format!(r#""source":"{WRITE_KEY}""#))
}

/// Waits until so many have come out. One that comes out twice is seen when they are compared.
fn arrived(server: &Turnstile, events: usize) {
    let begun = Instant::now();
    wait::until("every event comes out", 2 * LIMIT, || {
        let came = stored(server);
        assert!(begun.elapsed() < LIMIT, "{came} of {events} events came out");
        (came >= events).then_some(())
    });
}

/// What the server should make of them: an SDK for pages leaves the address to the server.
fn as_stored(mut sent: Vec<Event>) -> Vec<Event> {
    for event in &mut sent {
        event.json["context"]["ip"] = Value::from("127.0.0.1");
    }
    sent
}

fn settings(answers: &[Answered]) -> usize {
    answers.iter().filter(|answer| answer.path == format!("/v1/projects/{WRITE_KEY}/settings")).count()
}

/// All of it went over the version of HTTP that this scheme means to a browser.
fn spoke(scheme: Scheme, answers: &[Answered]) {
    let protocol = match scheme {
        Scheme::Http => "http/1.1",
        Scheme::Https => "h2",
    };
    assert!(answers.iter().all(|answer| answer.protocol == protocol), "{answers:#?}");
}
