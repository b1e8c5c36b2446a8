//! `verify` against outputs with one thing wrong: the exit code, the kind and the name.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use loadtest::ledger;
use loadtest::retry::Outcome;
use loadtest::workload::{Shape, Workload};

use crate::program::{Ended, loadtest};
use crate::scene::Scene;

const ACKNOWLEDGED: (Outcome, u8) = (Outcome::Acknowledged, 1);
const UNANSWERED: (Outcome, u8) = (Outcome::Unanswered, 1);

#[track_caller]
pub(crate) fn passes(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("passed"), "{}", ended.stdout);
}

/// Exit code 1, and under the heading of `kind` nothing but these names.
#[track_caller]
pub(crate) fn fails(ended: &Ended, kind: &str, names: &[&str]) {
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    let mut lines = ended.stdout.lines().skip_while(|line| !line.starts_with(kind));
    let heading = lines.next().unwrap_or_else(|| panic!("no {kind} in\n{}", ended.stdout));
    assert_eq!(heading.split_whitespace().last(), Some(names.len().to_string().as_str()), "{}", ended.stdout);
    let mut names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    let named: Vec<_> = lines.take_while(|line| line.starts_with("   ")).map(str::trim).collect();
    assert_eq!(named, names, "{}", ended.stdout);
    assert!(ended.stdout.contains("FAILED"), "{}", ended.stdout);
}

/// No other kind of problem is shown.
#[track_caller]
pub(crate) fn alone(ended: &Ended, kind: &str) {
    for other in ["missing", "doubled", "unwanted", "changed", "foreign", "malformed", "torn"] {
        let is_shown = ended.stdout.lines().any(|line| line.starts_with(other));
        assert_eq!(is_shown, other == kind, "{other} in\n{}", ended.stdout);
    }
}

#[test]
fn a_correct_output_passes_in_any_order() {
    let mut scene = Scene::acknowledged();
    scene.lines.reverse();
    passes(&scene.verify());
}

#[test]
fn batches_pass_with_the_envelopes_context_merged() {
    let workload = Workload { shape: Shape::Batch, events_per_request: 30, ..Workload::new(8) };
    let mut scene = Scene::new(workload, &[ACKNOWLEDGED; 20]);
    passes(&scene.verify());

    scene.lines[7] = scene.lines[7].replace(r#""library":{"name":"turnstile-loadtest","version":"1"},"#, "");
    let name = format!("{} (context)", scene.id(7));
    let ended = scene.verify();
    fails(&ended, "changed", &[&name]);
    alone(&ended, "changed");
}

#[test]
fn a_missing_event_is_named() {
    let mut scene = Scene::acknowledged();
    let id = scene.id(13);
    scene.lines.remove(13);
    let ended = scene.verify();
    fails(&ended, "missing", &[&id]);
    alone(&ended, "missing");
}

#[test]
fn twenty_of_many_missing_events_are_named_and_all_are_counted() {
    let mut scene = Scene::acknowledged();
    let count = scene.lines.len() - 1;
    scene.lines.truncate(1);
    let ended = scene.verify();
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains(&format!("and {} more", count - 20)), "{}", ended.stdout);
}

#[test]
fn a_doubled_event_is_named() {
    let mut scene = Scene::acknowledged();
    let line = scene.lines[5].clone();
    scene.lines.push(line);
    let ended = scene.verify();
    fails(&ended, "doubled", &[&scene.id(5)]);
    alone(&ended, "doubled");
}

#[test]
fn foreign_events_are_named() {
    let mut scene = Scene::acknowledged();
    let never_sent = scene.events.id(100);
    let repeating_slot = (0..100).find(|&slot| scene.events.plan().event(slot) != slot).expect("a duplicate");
    let not_an_event = scene.events.id(repeating_slot);
    let other_seed = "lt-00000000000000ff-000000000003";
    for id in [&never_sent, &not_an_event, other_seed, "somebody-elses"] {
        let line = scene.lines[0].replace(&scene.id(0), id);
        scene.lines.push(line);
    }
    scene.lines.push(r#"{"type":"track"}"#.to_owned());
    let ended = scene.verify_with(&["ledger"], &["--strict"]);
    fails(&ended, "foreign", &[&never_sent, &not_an_event, other_seed, "somebody-elses", "(no messageId)"]);
    alone(&ended, "foreign");
    // What shows this run's source, or no source at all, is judged in any case; another run's event is not.
    let ended = scene.verify();
    fails(&ended, "foreign", &[&never_sent, &not_an_event, "somebody-elses", "(no messageId)"]);
    assert!(ended.stdout.contains("\nnot judged   1 of other runs, 0 of other sources"), "{}", ended.stdout);
}

#[test]
fn what_others_sent_to_the_output_is_counted_and_not_judged() {
    let mut scene = Scene::acknowledged();
    let source = format!(r#""source":"{}""#, scene.workload.source);
    for index in [0, 1] {
        let line = scene.lines[index].replace(&scene.id(index), "somebody-elses");
        scene.lines.push(line.replace(&source, r#""source":"shop""#));
    }
    let ended = scene.verify();
    passes(&ended);
    assert!(ended.stdout.contains("\nnot judged   0 of other runs, 2 of other sources"), "{}", ended.stdout);
    fails(&scene.verify_with(&["ledger"], &["--strict"]), "foreign", &["somebody-elses", "somebody-elses"]);
    // An event of this run that shows another source was changed on its way.
    scene.lines[5] = scene.lines[5].replace(&source, r#""source":"shop""#);
    fails(&scene.verify(), "changed", &[&format!("{} (source)", scene.id(5))]);
}

#[test]
fn swapped_bodies_are_named() {
    let mut scene = Scene::acknowledged();
    let (a, b) = (scene.id(2), scene.id(60));
    scene.lines[2] = scene.lines[2].replace(&a, &b);
    scene.lines[60] = scene.lines[60].replace(&b, &a);
    let ended = scene.verify();
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains(&format!("{a} (")) && ended.stdout.contains(&format!("{b} (")), "{}", ended.stdout);
    alone(&ended, "changed");
}

#[test]
fn every_changed_or_lost_or_added_member_is_seen() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 8] = [
        ("userId", |line| line.replace("\"userId\":\"user-", "\"userId\":\"user_")),
        ("integrations", |line| line.replace(",\"integrations\":{\"All\":true}", "")),
        ("source", |line| line.replace("\"source\":\"loadtest\"", "\"source\":\"other\"")),
        ("receivedAt", |line| line.replace("\"receivedAt\":\"2026-11-01T00:00:01.000Z\",", "")),
        ("originalTimestamp", |line| {
            line.replace("\"originalTimestamp\":\"2026-01", "\"originalTimestamp\":\"2026-02")
        }),
        ("writeKey", |line| line.replacen('{', "{\"writeKey\":\"secret\",", 1)),
        ("type", |line| line.replacen('{', "{\"type\":\"track\",", 1)),
        ("context", |line| line.replace("\"locale\":\"en-GB\"", "\"locale\":\"en-US\"")),
    ];
    for (member, change) in changes {
        let mut scene = Scene::acknowledged();
        scene.lines[31] = change(&scene.lines[31]);
        let name = format!("{} ({member})", scene.id(31));
        let ended = scene.verify();
        fails(&ended, "changed", &[&name]);
        alone(&ended, "changed");
    }
}

#[test]
fn a_torn_last_line_is_placed() {
    let mut scene = Scene::acknowledged();
    scene.tail = "{\"messageId\":\"lt-".to_owned();
    let ended = scene.verify();
    let start = fs::metadata(scene.path("output/2.ndjson")).expect("written").len() - scene.tail.len() as u64;
    let place = format!("{} at byte {start}", scene.path("output/2.ndjson").display());
    fails(&ended, "torn", &[&place]);
    alone(&ended, "torn");
}

#[test]
fn a_malformed_line_is_placed() {
    let mut scene = Scene::acknowledged();
    scene.lines.insert(0, "{\"a\":1".to_owned());
    let ended = scene.verify();
    fails(&ended, "malformed", &[&format!("{} at byte 0", scene.path("output/1.ndjson").display())]);
    alone(&ended, "malformed");
}

#[test]
fn an_unanswered_event_may_be_there_once_or_not() {
    let mut outcomes = [ACKNOWLEDGED; 100];
    outcomes[40] = UNANSWERED;
    let workload = Workload { duplicates: 0.0, ..Workload::new(3) };
    let mut scene = Scene::new(workload, &outcomes);
    let bound = ["--unanswered-max", "0.01"];
    passes(&scene.verify_with(&["ledger"], &bound));
    let line = scene.lines.remove(40);
    passes(&scene.verify_with(&["ledger"], &bound));
    scene.lines.extend([line.clone(), line]);
    let ended = scene.verify_with(&["ledger"], &bound);
    fails(&ended, "doubled", &[&scene.events.id(40)]);
}

#[test]
fn too_many_unanswered_requests_prove_too_little() {
    let mut outcomes = [ACKNOWLEDGED; 100];
    outcomes[40] = UNANSWERED;
    outcomes[41] = (Outcome::NeverSent, 0);
    let mut scene = Scene::new(Workload { duplicates: 0.0, ..Workload::new(3) }, &outcomes);
    passes(&scene.verify_with(&["ledger"], &["--unanswered-max", "0.02"]));
    let ended = scene.verify_with(&["ledger"], &["--unanswered-max", "0.019"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("2.000 % of the requests have no answer"), "{}", ended.stdout);

    scene = Scene::new(scene.workload.clone(), &[UNANSWERED]);
    let ended = scene.verify_with(&["ledger"], &["--unanswered-max", "1"]);
    assert_eq!(ended.code, 1, "nothing acknowledged");
    assert!(ended.stdout.contains("nothing is proven"), "{}", ended.stdout);
}

#[test]
fn a_refused_event_must_not_be_there() {
    let mut outcomes = [ACKNOWLEDGED; 10];
    outcomes[4] = (Outcome::Refused, 0);
    let mut scene = Scene::new(Workload { duplicates: 0.0, ..Workload::new(3) }, &outcomes);
    passes(&scene.verify());
    scene.lines.push(scene.line(4));
    let ended = scene.verify();
    fails(&ended, "unwanted", &[&scene.events.id(4)]);
    alone(&ended, "unwanted");
}

#[test]
fn events_without_a_message_id_are_found_by_their_marker_once_to_as_often_as_sent() {
    let workload = Workload { without_message_id: 1.0, ..Workload::new(4) };
    let mut outcomes = [ACKNOWLEDGED; 50];
    outcomes[9] = (Outcome::Acknowledged, 3);
    let mut scene = Scene::new(workload, &outcomes);
    assert_eq!(scene.lines.len(), 50, "such events are not sent as duplicates");
    passes(&scene.verify());
    let line = scene.lines[9].clone();
    scene.lines.extend([line.clone(), line.clone()]);
    passes(&scene.verify());
    scene.lines.push(line.clone());
    let ended = scene.verify();
    fails(&ended, "doubled", &[&scene.events.id(9)]);
    scene.lines.retain(|other| *other != line);
    let ended = scene.verify();
    fails(&ended, "missing", &[&scene.events.id(9)]);
    alone(&ended, "missing");

    scene.lines.push(line.replace("0f1e2d3c-0000-4000-8000-000000000000", &scene.events.id(9)));
    let ended = scene.verify();
    fails(&ended, "changed", &[&format!("{} (messageId)", scene.events.id(9))]);
}

#[test]
fn one_seed_sent_twice_comes_out_once() {
    let scene = Scene::acknowledged();
    let mut later = [ACKNOWLEDGED; 100];
    later[3] = UNANSWERED;
    scene.add_ledger("again", &later);
    passes(&scene.verify_with(&["ledger", "again"], &[]));
    passes(&scene.verify_with(&["ledger"], &[]));

    let other = Scene::new(Workload { event_bytes: 1000, ..scene.workload.clone() }, &[ACKNOWLEDGED]);
    let other = other.path("ledger").display().to_string();
    let ended = scene.verify_with(&["ledger"], &["--ledger", &other]);
    assert_eq!((ended.code, ended.stderr.contains("same seed")), (2, true), "{}", ended.stderr);
}

#[test]
fn two_runs_into_one_output_are_foreign_to_each_other_in_a_strict_comparison_unless_both_are_named() {
    let mut scene = Scene::acknowledged();
    let other = Scene::new(Workload::new(77), &[ACKNOWLEDGED; 5]);
    scene.lines.extend(other.lines.iter().cloned());
    let ids: Vec<_> = (0..other.lines.len()).map(|index| other.id(index)).collect();
    let ended = scene.verify_with(&["ledger"], &["--strict"]);
    fails(&ended, "foreign", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    passes(&scene.verify());
    passes(&scene.verify_with(&["ledger"], &["--ledger", &other.path("ledger").display().to_string()]));
}

#[test]
fn a_ledger_cut_by_a_kill_allows_more_but_not_everything() {
    let mut scene = Scene::new(Workload { duplicates: 0.0, ..Workload::new(3) }, &[ACKNOWLEDGED; 100]);
    let file = ledger::path(&scene.path("ledger"), 0);
    let bytes = fs::read(&file).expect("reads");
    fs::write(&file, &bytes[..bytes.len() - 30]).expect("cuts");
    let bound = ["--unanswered-max", "1"];
    let ended = scene.verify_with(&["ledger"], &bound);
    assert_eq!(ended.code, 1, "no acknowledgement is left: {}", ended.stdout);
    assert!(ended.stdout.contains("without an end"), "{}", ended.stdout);
    let line = scene.lines[0].clone();
    scene.lines.push(line);
    fails(&scene.verify_with(&["ledger"], &bound), "doubled", &[&scene.events.id(0)]);
}

#[test]
fn it_waits_for_the_backlog_before_it_looks() {
    let mut scene = Scene::acknowledged();
    let last = scene.lines.pop().expect("a line");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let admin = format!("http://{address}");
    let late = scene.path("output/3.ndjson");
    let server = std::thread::spawn(move || {
        // The last event comes out only after verify has asked, and the backlog is empty only after that.
        for backlog in [2, 1] {
            answer(&listener, backlog);
        }
        fs::write(late, last + "\n").expect("writes");
        while answer(&listener, 0) {}
    });
    let ended = scene.verify_with(&["ledger"], &["--admin", &admin, "--settle", "100ms"]);
    passes(&ended);
    assert!(!ended.stderr.contains("nothing answers"), "{}", ended.stderr);
    stop_answers(&address);
    server.join().expect("the server ended well");
}

#[test]
fn the_backlogs_of_all_servers_count() {
    let scene = Scene::acknowledged();
    let admins = [0, 3, 4].map(|backlog| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let admin = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || while answer(&listener, backlog) {});
        admin
    });
    let mut more: Vec<_> = admins.iter().flat_map(|admin| ["--admin", admin]).collect();
    more.extend(["--timeout", "200ms"]);
    let ended = scene.verify_with(&["ledger"], &more);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("not done in time (backlog 7 records"), "{}", ended.stdout);
}

#[test]
fn a_backlog_that_stays_fails_in_time() {
    let scene = Scene::acknowledged();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || while answer(&listener, 7) {});
    let ended = scene.verify_with(&["ledger"], &["--admin", &admin, "--timeout", "200ms"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("not done in time (backlog 7 records"), "{}", ended.stdout);
}

/// Answers one request for metrics; false when it was something else.
pub(crate) fn answer(listener: &TcpListener, backlog: u64) -> bool {
    let (mut stream, _) = listener.accept().expect("accepts");
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("clones"));
    reader.read_line(&mut line).expect("reads");
    let is_metrics = line.starts_with("GET /metrics ");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).expect("reads");
    }
    // Who asked for the end does not wait for an answer.
    let written = write!(stream, "HTTP/1.0 200 OK\r\n\r\nlocal_buffer_backlog_records {backlog}\n");
    assert!(written.is_ok() || !is_metrics);
    is_metrics
}

/// Any other request ends who answers.
pub(crate) fn stop_answers(address: &SocketAddr) {
    TcpStream::connect(address).expect("connects").write_all(b"END\n\n").expect("writes");
}

#[test]
fn an_unknown_backlog_is_said() {
    let ended = Scene::acknowledged().verify();
    passes(&ended);
    assert!(ended.stderr.contains("nothing answers at"), "{}", ended.stderr);
}

#[test]
fn bad_usage_is_exit_code_2_with_a_way_out() {
    let scene = Scene::acknowledged();
    let ledger = scene.path("ledger").display().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["verify", "--ledger", &ledger, "--output", "kafka://127.0.0.1:19092"], "must be kafka://HOST:PORT/TOPIC"),
        (&["verify", "--ledger", &ledger, "--output", "/nowhere/at/all"], "--output /nowhere/at/all"),
        (&["verify", "--ledger", "/nowhere/at/all", "--output", &ledger], "is this the --ledger of a run"),
        (&["verify", "--output", &ledger], "--ledger"),
        (&["compare", &ledger, &ledger], "report.json"),
    ];
    for (arguments, words) in cases {
        let ended = loadtest(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn the_verdict_is_there_for_programs() {
    let mut scene = Scene::acknowledged();
    scene.lines.pop();
    let file = scene.path("verdict.json");
    scene.verify_with(&["ledger"], &["--json", &file.display().to_string()]);
    let verdict: serde_json::Value = serde_json::from_slice(&fs::read(file).expect("reads")).expect("JSON");
    assert_eq!(verdict["passed"], false);
    assert_eq!(verdict["findings"]["missing"]["count"], 1);
    assert_eq!(verdict["requests"]["acknowledged"], 100);
}
