//! Goal: each step from the buffer to the output may be the last one, also for somebody who reads the output.
//! Fault: the states that a crash leaves between output, ledger, index and floor, put together from copies of one data
//! folder before and after the same events went through. Kills hit these moments rarely; here each is certain.
//! Oracle: after a start every event is out exactly once, what a reader had seen is still there byte for byte, and all
//! events sent once more change nothing.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use tests::disk::copy;
use tests::http::{self, BASIC_AUTH};
use tests::{Scene, Turnstile, output};

const BATCHES: usize = 4;
const BATCH: usize = 50;
const SEGMENT_BYTES: u32 = 1 << 20;

/// What lies where, from the copy before the events went through or the one after.
struct Crash {
    name: &'static str,
    after: &'static [&'static str],
    /// Bytes cut off the newest file of a folder: its last write was torn.
    torn: Option<(&'static str, u64)>,
    /// A folder that is gone.
    lost: Option<&'static str>,
}

const CRASHES: [Crash; 8] = [
    Crash { name: "before the output", after: &[], torn: None, lost: None },
    Crash { name: "inside the output", after: &["deduped"], torn: Some(("deduped", 40)), lost: None },
    Crash { name: "between output and ledger", after: &["deduped"], torn: None, lost: None },
    Crash { name: "inside the ledger", after: &["deduped", "ledger"], torn: Some(("ledger", 7)), lost: None },
    Crash { name: "between ledger and index", after: &["deduped", "ledger"], torn: None, lost: None },
    Crash { name: "between index and floor", after: &["deduped", "ledger", "index"], torn: None, lost: None },
    Crash { name: "index ahead of its ledger", after: &["deduped", "index"], torn: None, lost: None },
    Crash { name: "index gone", after: &["deduped", "ledger"], torn: None, lost: Some("index") },
];

#[test]
fn a_crash_between_any_two_steps_neither_loses_nor_doubles() {
    let scene = Scene::begin();
    let (before, after) = copies(&scene);
    for crash in &CRASHES {
        let data = scene.folder().join("crash");
        assemble(&data, &before, &after, crash);
        let seen = complete_lines(&data);
        let mut server = server(&scene, data.clone());
        server.start();
        server.drained();
        every_event_once(crash, &server);
        for (file, bytes) in seen {
            let now = fs::read(&file).expect("the output file");
            assert!(now.starts_with(&bytes), "{}: {} no longer begins with what was read", crash.name, file.display());
        }
        let bytes = output::bytes(&server.deduped());
        for phase in ["a", "b"] {
            post(&server, phase);
        }
        server.drained();
        assert_eq!(output::bytes(&server.deduped()), bytes, "{}: repeated events came out again", crash.name);
        every_event_once(crash, &server);
        assert!(server.stop().success());
        fs::remove_dir_all(&data).expect("the crashed copy");
    }
    scene.say(format_args!("{} crash states, {} events each, all out once", CRASHES.len(), 2 * BATCHES * BATCH));
}

/// The data folder with half of the events acknowledged and not drained, and the same after they have been.
fn copies(scene: &Scene) -> (PathBuf, PathBuf) {
    let (before, after) = (scene.folder().join("before"), scene.folder().join("after"));
    let mut server = server(scene, scene.folder().join("data"));
    server.start();
    post(&server, "a");
    server.drained();
    assert!(server.stop().success());

    // A file in the place of the output's folder holds the drain back, whoever runs this.
    let aside = scene.folder().join("aside");
    fs::rename(server.deduped(), &aside).expect("the output folder");
    fs::write(server.deduped(), "").expect("a file in its place");
    server.start();
    post(&server, "b");
    server.kill();
    fs::remove_file(server.deduped()).expect("the file in its place");
    fs::rename(&aside, server.deduped()).expect("the output folder");
    copy(server.data(), &before);

    server.start();
    server.drained();
    assert!(server.stop().success());
    copy(server.data(), &after);
    assert!(output::bytes(&after.join("deduped")) > output::bytes(&before.join("deduped")), "nothing was held back");
    (before, after)
}

fn server(scene: &Scene, data: PathBuf) -> Turnstile {
    Turnstile::with_data(scene, data).set("TURNSTILE_BUFFER_SEGMENT_BYTES", SEGMENT_BYTES)
}

fn assemble(data: &Path, before: &Path, after: &Path, crash: &Crash) {
    copy(before, data);
    for folder in crash.after {
        fs::remove_dir_all(data.join(folder)).expect("the folder before");
        copy(&after.join(folder), &data.join(folder));
    }
    if let Some((folder, bytes)) = crash.torn {
        let newest = newest_file(&data.join(folder));
        let length = fs::metadata(&newest).expect("its newest file").len();
        let file = OpenOptions::new().write(true).open(newest).expect("its newest file");
        file.set_len(length - bytes).expect("a shorter file");
    }
    if let Some(folder) = crash.lost {
        fs::remove_dir_all(data.join(folder)).expect("the folder");
    }
}

/// What a reader of the output may have read: every file up to its last line's end.
fn complete_lines(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |file: PathBuf| {
        let mut bytes = fs::read(&file).expect("an output file");
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
        (file, bytes)
    };
    output::files(&data.join("deduped")).into_iter().map(read).collect()
}

fn every_event_once(crash: &Crash, server: &Turnstile) {
    let out: BTreeSet<String> = output::events_by_id(&server.deduped()).into_keys().collect();
    let expected: BTreeSet<String> =
        ["a", "b"].iter().flat_map(|phase| (0..BATCHES * BATCH).map(move |n| id(phase, n))).collect();
    let missing: Vec<_> = expected.difference(&out).take(10).collect();
    assert!(missing.is_empty(), "{}: {missing:?} and perhaps more did not come out", crash.name);
    assert_eq!(out.len(), expected.len(), "{}", crash.name);
}

fn post(server: &Turnstile, phase: &str) {
    for batch in 0..BATCHES {
        let event =
            |n| format!("{{\"type\":\"track\",\"event\":\"e\",\"userId\":\"u\",\"messageId\":\"{}\"}}", id(phase, n));
        let events: Vec<String> = (batch * BATCH..(batch + 1) * BATCH).map(event).collect();
        let body = format!("{{\"batch\":[{}]}}", events.join(","));
        let answer = http::post(server.ingest, "/v1/batch", BASIC_AUTH, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn id(phase: &str, n: usize) -> String {
    format!("{phase}-{n}")
}

fn newest_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.is_file()).max().expect("a file")
}
