//! Goal: the index is a cache and the ledger can be made again: damage to either costs no event and doubles none.
//! Fault: the index deleted, a byte flipped in each of its files, the ledger deleted, both deleted, a byte flipped in the
//! middle of the ledger.
//! Oracle: every event of before is sent once more, and the output does not change by a byte; then new events come out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::disk::copy;
use tests::load::{self, Load};
use tests::{Scene, Turnstile, http, output, wait};

/// Enough to seal a run, so that there are index files to damage.
const EVENTS: u32 = 80_000;
const OPEN_DIGESTS_MAX: u32 = 65_536;
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn a_lost_index_is_made_again_from_the_ledger() {
    let scene = Scene::begin();
    let (first, data) = filled(&scene);
    let mut server = damaged(&scene, &data, |data| remove(data, &["index"]));
    server.start();
    same_again_then_new(&scene, &server, &first, 1);
}

#[test]
fn a_damaged_index_is_noticed_and_made_again_from_the_ledger() {
    let scene = Scene::begin();
    let (first, data) = filled(&scene);
    let mut server = damaged(&scene, &data, |data| {
        let runs = files(&data.join("index"), "sst");
        assert!(!runs.is_empty(), "no run was sealed, so nothing is damaged");
        flip_middle_of(&runs);
    });
    server.start();
    same_again_then_new(&scene, &server, &first, 1);
    assert!(server.printed().contains("index was thrown away"), "the log does not say so");
}

#[test]
fn a_lost_ledger_is_made_again_from_the_output() {
    let scene = Scene::begin();
    let (first, data) = filled(&scene);
    for (n, lost) in [&["ledger"][..], &["ledger", "index"]].into_iter().enumerate() {
        let mut server = damaged(&scene, &data, |data| remove(data, lost));
        server.start();
        same_again_then_new(&scene, &server, &first, n as u64 + 1);
    }
}

#[test]
fn a_damaged_ledger_stops_the_drain_by_name_until_it_is_rebuilt() {
    let scene = Scene::begin();
    let (first, data) = filled(&scene);
    let mut server = damaged(&scene, &data, |data| flip_middle_of(&files(&data.join("ledger"), "ledger")));
    let bytes = output::bytes(&server.deduped());
    server.start();
    // Events are still taken: the buffer keeps them until somebody has looked.
    first.again("while-damaged").run(&server);
    let not_ready = wait::until("readiness names the ledger", LIMIT, || {
        let answer = http::get(server.admin, "/readyz").ok()?;
        (answer.status == 503 && answer.text().contains("ledger")).then(|| answer.text())
    });
    assert!(not_ready.contains("rebuild"), "it should say what to do: {not_ready}");
    assert!(server.stop().success());
    assert_eq!(output::bytes(&server.deduped()), bytes, "nothing may come out that was not decided");

    let said = server.command(&["rebuild", "--from", "output"]);
    scene.say(said.trim());
    server.start();
    same_again_then_new(&scene, &server, &first, 1);
}

/// A data folder through which a load has gone, with its server stopped.
fn filled(scene: &Scene) -> (Load, PathBuf) {
    let mut server = server(scene, scene.folder().join("filled"));
    server.start();
    let load = Load::new(scene, 0, EVENTS / 2, Duration::from_secs(2)).option("--events-per-request", 100);
    load.run(&server);
    let verdict = load::verify(scene, &server, std::slice::from_ref(&load), 0.0);
    assert!(verdict.events > u64::from(OPEN_DIGESTS_MAX), "too few events to seal a run: {verdict}");
    assert!(server.stop().success());
    (load, server.data().to_owned())
}

fn damaged(scene: &Scene, data: &Path, damage: impl FnOnce(&Path)) -> Turnstile {
    let copied = scene.folder().join("data");
    if copied.exists() {
        fs::remove_dir_all(&copied).expect("the copy before");
    }
    copy(data, &copied);
    damage(&copied);
    server(scene, copied)
}

fn server(scene: &Scene, data: PathBuf) -> Turnstile {
    Turnstile::with_data(scene, data)
        .set("TURNSTILE_BUFFER_SEGMENT_BYTES", 4 << 20)
        .set("TURNSTILE_DEDUP_OPEN_DIGESTS_MAX", OPEN_DIGESTS_MAX)
}

fn same_again_then_new(scene: &Scene, server: &Turnstile, first: &Load, n: u64) {
    server.drained();
    let bytes = output::bytes(&server.deduped());
    first.again(&format!("again-{n}")).run(server);
    server.drained();
    assert_eq!(output::bytes(&server.deduped()), bytes, "events that were out came out again");
    let new = Load::new(scene, n, 10_000, Duration::from_secs(1)).option("--events-per-request", 20);
    new.run(server);
    let verdict = load::verify(scene, server, &[first.clone(), new], 0.0);
    scene.say(format_args!("{n}: {verdict}"));
}

fn remove(data: &Path, folders: &[&str]) {
    for folder in folders {
        fs::remove_dir_all(data.join(folder)).expect("a folder of the data");
    }
}

fn flip_middle_of(files: &[PathBuf]) {
    for file in files {
        let mut bytes = fs::read(file).expect("a file to damage");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(file, bytes).expect("the damaged file");
    }
}

/// Files below a folder whose names end so.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|end| end == extension) {
            found.push(path);
        }
    }
    found
}
