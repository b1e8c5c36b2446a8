//! `run` against a server with faults, and what `verify` says afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::report::Report;
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Ended, loadtest, nowhere};
use crate::server::{Fault, Faults, Server};

/// Runs with a ledger against a new server, and reads the report.
fn run(dir: &Path, faults: Faults, more: &[&str]) -> (Server, Report, Ended) {
    let (server, report, ended) = run_to_any_end(dir, faults, more);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    (server, report, ended)
}

/// The same, whatever comes of it.
fn run_to_any_end(dir: &Path, faults: Faults, more: &[&str]) -> (Server, Report, Ended) {
    let server = Server::start(dir, faults);
    let (url, ledger) = (server.url(), dir.join("ledger").display().to_string());
    let ended = loadtest(["run", "--target", &url, "--ledger", &ledger].iter().chain(more));
    let report = fs::read(dir.join("ledger/report.json")).expect("a report");
    (server, serde_json::from_slice(&report).expect("a report"), ended)
}

fn verify(dir: &Path, server: &Server, more: &[&str]) -> Ended {
    let ledger = dir.join("ledger").display().to_string();
    let (output, admin) = (server.output(), nowhere());
    let arguments = ["verify", "--ledger", &ledger, "--output", &output, "--admin", &admin, "--settle", "0s"];
    loadtest(arguments.iter().chain(more))
}

#[test]
fn a_mixed_run_with_duplicates_and_gzip_verifies() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = ["--shape", "mixed", "--rate", "20000", "--duration", "1s", "--duplicates", "0.2", "--gzip", "0.3"];
    let more = ["--without-message-id", "0.05", "--threads", "2", "--connections", "9"];
    let (server, report, ended) = run(dir.path(), |_| Fault::None, &[&options[..], &more[..]].concat());
    assert!(ended.stdout.contains("not verified"), "{}", ended.stdout);
    assert!(report.events_acknowledged >= 20_000 && !report.verified);
    assert_eq!(report.requests.acknowledged, report.requests.total);
    assert_eq!(report.requests.acknowledged, server.requests());

    let ended = verify(dir.path(), &server, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    assert!(ended.stdout.contains("(verified)"), "{}", ended.stdout);
    let ledger = dir.path().join("ledger").display().to_string();
    let compared = loadtest(["compare", &ledger, &ledger]);
    assert_eq!((compared.code, compared.stdout.matches(" verified").count()), (0, 2), "{}", compared.stdout);
}

#[test]
fn an_output_that_lost_an_acknowledged_event_does_not_verify() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, ..) = run(dir.path(), |_| Fault::None, &["--rate", "500", "--duration", "1s"]);
    let file = Path::new(&server.output()).join("1.ndjson");
    let text = fs::read_to_string(&file).expect("reads");
    let (first, rest) = text.split_once('\n').expect("two lines");
    fs::write(&file, rest).expect("writes");
    let ended = verify(dir.path(), &server, &[]);
    assert_eq!(ended.code, 1);
    let id = &first[first.find("lt-").expect("an id")..][..32];
    assert!(ended.stdout.contains(&format!("missing      1\n             {id}")), "{}", ended.stdout);
}

#[test]
fn one_seed_sends_the_same_bytes_again() {
    let bodies = |seed: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let options = ["--seed", seed, "--shape", "mixed", "--rate", "5000", "--duration", "200ms"];
        let (server, ..) = run(dir.path(), |_| Fault::None, &options);
        server.bodies().into_iter().collect::<BTreeSet<_>>()
    };
    let first = bodies("0xfeed");
    assert!(first.len() > 50);
    assert!(first == bodies("65261"), "the same seed in decimal");
    assert!(first.is_disjoint(&bodies("1")));
}

#[test]
fn latency_counts_the_wait_for_a_connection() {
    let dir = tempfile::tempdir().expect("a directory");
    let slow: Faults = |_| Fault::Slow(Duration::from_millis(20));
    // One connection serves 50 a second at best, and 100 fall due in one: the median waits half a second, the last a
    // whole one.
    let options = ["--rate", "100", "--duration", "1s", "--connections", "1"];
    let (_, report, _) = run(dir.path(), slow, &options);
    assert_eq!(report.requests.acknowledged, 100);
    assert!(report.latency.counts_waiting);
    assert!(report.latency.p50_ms > 400.0 && report.latency.max_ms > 900.0, "{:?}", report.latency);

    let dir = tempfile::tempdir().expect("a directory");
    let options = ["--rate", "max", "--duration", "300ms", "--connections", "1"];
    let (_, report, ended) = run(dir.path(), slow, &options);
    assert!(!report.latency.counts_waiting && report.latency.p50_ms >= 20.0, "{:?}", report.latency);
    assert!(ended.stdout.contains("waiting time is not counted"), "{}", ended.stdout);
}

#[test]
fn requests_that_could_not_be_started_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let slow: Faults = |_| Fault::Slow(Duration::from_millis(100));
    let options = ["--rate", "1000", "--duration", "200ms", "--connections", "1", "--timeout", "300ms"];
    let (_, report, ended) = run(dir.path(), slow, &options);
    assert_eq!(report.requests.total + report.requests.not_started, 200);
    assert!(report.requests.not_started > 150, "{:?}", report.requests);
    assert!(ended.stdout.contains("never started"), "{}", ended.stdout);
}

#[test]
fn a_server_that_first_refuses_and_hangs_up_gets_everything_in_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let faults: Faults = |number| match number {
        0..20 => Fault::Refuse(503),
        20..40 => Fault::Refuse(429),
        40..60 => Fault::KeepAndHangUp,
        _ => Fault::None,
    };
    let options = ["--rate", "500", "--duration", "1s", "--connections", "8", "--without-message-id", "0.2"];
    let (server, report, _) = run(dir.path(), faults, &options);
    assert_eq!(report.requests.acknowledged, 500);
    assert_eq!((report.requests.retries, server.requests()), (60, 560));
    assert_eq!((report.statuses[&503], report.statuses[&429], report.failures.broken), (20, 20, 20));
    let ended = verify(dir.path(), &server, &[]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
}

#[test]
fn without_retries_each_request_ends_as_its_first_sending_did() {
    let dir = tempfile::tempdir().expect("a directory");
    let faults: Faults = |number| match number % 10 {
        0 => Fault::Refuse(503),
        1 => Fault::Refuse(400),
        2 => Fault::KeepAndHangUp,
        _ => Fault::None,
    };
    let options = ["--rate", "1000", "--duration", "1s", "--retry-for", "0s", "--duplicates", "0"];
    let (server, report, _) = run(dir.path(), faults, &options);
    let requests = report.requests;
    let ends = (requests.acknowledged, requests.refused, requests.uncertain, requests.unanswered, requests.retries);
    assert_eq!(ends, (700, 100, 100, 100, 0));
    let ended = verify(dir.path(), &server, &[]);
    assert_eq!(ended.code, 1, "a tenth has no answer");
    assert!(ended.stdout.contains("10.000 % of the requests"), "{}", ended.stdout);
    assert_eq!(verify(dir.path(), &server, &["--unanswered-max", "0.1"]).code, 0);
}

#[test]
fn a_silent_server_is_given_up_after_the_timeout() {
    let dir = tempfile::tempdir().expect("a directory");
    let silent: Faults = |_| Fault::Slow(Duration::from_hours(1));
    let options = ["--rate", "20", "--duration", "100ms", "--timeout", "100ms", "--retry-for", "0s"];
    let (_, report, ended) = run_to_any_end(dir.path(), silent, &options);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("FAILED       no request was acknowledged"), "{}", ended.stdout);
    assert_eq!((report.requests.unanswered, report.failures.timed_out), (2, 2));
}

#[test]
fn nothing_listening_is_said_at_once() {
    let target = nowhere();
    let ended = loadtest(["run", "--target", &target]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("is it running? `make run`"), "{}", ended.stderr);
}

#[test]
fn the_environment_gives_options_and_the_command_line_goes_before_it() {
    let with = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let output = command.env("LOADTEST_RUN_RATE", "0").arg("run").args(words).output().expect("starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).contains("--rate 0"))
    };
    let target = nowhere();
    assert_eq!(with(&["--target", &target]), (Some(2), true));
    assert_eq!(with(&["--target", &target, "--rate", "1"]), (Some(1), false), "nothing listens there");
}

#[test]
fn a_run_of_which_nothing_was_acknowledged_fails_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path(), |_| Fault::Refuse(401));
    let ended = loadtest(["run", "--target", &server.url(), "--rate", "100", "--duration", "100ms"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    let why = "FAILED       every request was refused with 401: the server does not know the --write-key";
    assert!(ended.stdout.contains(why), "{}", ended.stdout);
}

#[test]
fn who_ends_a_run_early_is_not_told_of_requests_that_were_not_due() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path(), |_| Fault::None);
    let report = dir.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["run", "--target", &server.url(), "--rate", "1000", "--duration", "10m", "--json"]).arg(&report);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    while server.requests() < 100 {
        std::thread::yield_now();
    }
    let pid = Pid::from_child(&run);
    kill_process(pid, Signal::INT).expect("it runs");
    assert!(run.wait().expect("ends").success());
    let report: Report = serde_json::from_slice(&fs::read(report).expect("a report")).expect("a report");
    assert!(report.interrupted && report.requests.acknowledged >= 100);
    // All that was due by then, but for what the machine was behind with, and not ten minutes of it.
    assert!(report.requests.not_started < report.requests.total, "{:?}", report.requests);
}

/// `head` closes its end, and disks fill up: neither is a crash.
#[test]
fn an_output_that_nobody_reads_or_that_is_full_is_no_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    run(dir.path(), |_| Fault::None, &["--rate", "100", "--duration", "100ms"]);
    let ledger = dir.path().join("ledger");
    let compare = |out: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.arg("compare").args([&ledger, &ledger]).stdout(out).stderr(Stdio::piped());
        let ended = command.spawn().expect("the program starts").wait_with_output().expect("ends");
        (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(compare(writer.into()), (Some(0), String::new()));
    let full = fs::File::options().write(true).open("/dev/full").expect("a device that is full");
    let (code, said) = compare(full.into());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("loadtest: cannot write to standard output: "), "{said}");
}

#[test]
fn bad_usage_is_exit_code_2_and_names_the_option() {
    let dir = tempfile::tempdir().expect("a directory");
    let (server, ..) = run(dir.path(), |_| Fault::None, &["--rate", "10", "--duration", "100ms"]);
    let url = server.url();
    let ledger = dir.path().join("ledger").display().to_string();
    let cases: [(&[&str], &str); 9] = [
        (&["--ledger", &ledger], "holds a ledger already"),
        (&["--rate", "0"], "--rate 0"),
        (&["--rate", "fast"], "--rate"),
        (&["--connections", "0"], "--connections 0"),
        (&["--connections", "4", "--threads", "5"], "--threads 5"),
        (&["--event-bytes", "100"], "--event-bytes 100: at least"),
        (&["--gzip", "1.5"], "--gzip 1.5"),
        (&["--write-key", "a:b"], "--write-key"),
        (&["--target", "https://127.0.0.1"], "--target https://127.0.0.1"),
    ];
    for (options, words) in cases {
        let default_target = ["run", "--target", &url];
        let target = if options[0] == "--target" { &default_target[..1] } else { &default_target[..] };
        let ended = loadtest(target.iter().chain(options));
        assert_eq!(ended.code, 2, "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{options:?}: {}", ended.stderr);
    }
}
