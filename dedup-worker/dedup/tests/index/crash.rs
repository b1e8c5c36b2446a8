//! A kill at each step of sealing, dropping and destroying: every row of the crash table in STORE.md.

use std::fs;

use dedup::Index;
use tempfile::TempDir;

use crate::rig::{Rig, copy_dir, open};

/// A rig with two runs, one record behind them, and what a kill would leave of it.
fn rig_and_copy() -> (Rig, TempDir) {
    let mut rig = Rig::new(3);
    rig.pass(&[1, 2, 3]);
    rig.maintain();
    rig.pass(&[4, 5, 6]);
    rig.maintain();
    rig.pass(&[7]);
    let copy = TempDir::new().unwrap();
    copy_dir(rig.dir.path(), copy.path());
    (rig, copy)
}

/// The rig goes on over `dir`: all that was committed is known, and nothing else.
fn goes_on(mut rig: Rig, dir: TempDir, replayed: usize) {
    rig.close();
    rig.dir = dir;
    assert_eq!(rig.reopen(), replayed);
    assert_eq!(rig.pass(&[1, 2, 3, 4, 5, 6, 7, 8]), "dddddddn");
    rig.index().seal().unwrap();
    assert_eq!(rig.reopen(), 0);
    assert_eq!(rig.pass(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), "ddddddddn");
}

#[test]
fn killed_before_anything_was_sealed() {
    let mut rig = Rig::new(100);
    rig.pass(&[1, 2, 3, 4, 5, 6, 7]);
    let copy = TempDir::new().unwrap();
    copy_dir(rig.dir.path(), copy.path());
    rig.options.open_digests_max = 3;
    goes_on(rig, copy, 1);
}

#[test]
fn killed_after_ingesting_and_before_anything_else() {
    let (rig, copy) = rig_and_copy();
    goes_on(rig, copy, 1);
}

#[test]
fn killed_while_writing_a_run_or_before_ingesting_it() {
    let (rig, copy) = rig_and_copy();
    let run = fs::read_dir(rig.dir.path().join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|name| name == "sst"))
        .unwrap();
    let whole = fs::read(run).unwrap();
    fs::write(copy.path().join("sealing/0000000002.sst"), &whole[..whole.len() / 2]).unwrap();
    fs::write(copy.path().join("sealing/0000000003.sst"), &whole).unwrap();
    goes_on(rig, copy, 1);
}

#[test]
fn killed_after_linking_a_run_and_before_the_manifest_names_it() {
    let (rig, copy) = rig_and_copy();
    let store = copy.path().join("store");
    let run = fs::read_dir(&store)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|name| name == "sst"))
        .unwrap();
    fs::copy(run, store.join("000500.sst")).unwrap();
    goes_on(rig, copy, 1);
}

#[test]
fn the_manifests_last_step_lost_is_a_run_to_replay() {
    let (rig, copy) = rig_and_copy();
    // The manifest as it was before the second run: cut its last record off.
    let manifest = fs::read_dir(copy.path().join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("MANIFEST"))
        .unwrap();
    let bytes = fs::read(&manifest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    fs::write(&manifest, &bytes[..end - 3]).unwrap();
    goes_on(rig, copy, 2);
}

#[test]
fn killed_while_destroying() {
    for removed in [&["doomed"][..], &["doomed", "sealing"], &["doomed", "sealing", "identity"]] {
        let (mut rig, copy) = rig_and_copy();
        rig.close();
        fs::rename(copy.path().join("store"), copy.path().join("doomed")).unwrap();
        for name in &removed[1..] {
            let path = copy.path().join(name);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        Index::destroy(copy.path()).unwrap();
        assert_eq!(fs::read_dir(copy.path()).unwrap().count(), 0);
        rig.dir = copy;
        assert_eq!(rig.reopen(), 3);
        assert_eq!(rig.pass(&[1, 2, 3, 4, 5, 6, 7, 8]), "dddddddn");
    }
}

#[test]
fn killed_while_destroying_and_opened_as_if_nothing_had_happened() {
    let (rig, copy) = rig_and_copy();
    fs::rename(copy.path().join("store"), copy.path().join("doomed")).unwrap();
    goes_on(rig, copy, 3);
}

#[test]
fn killed_while_the_identity_was_written() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("identity.new"), b"TSIX").unwrap();
    let rig = Rig::new(1);
    assert_eq!(open(dir.path(), &rig.options).unwrap().replay_from(), None);
}

/// Copies are taken after every step of a longer life; each of them opens and knows what was committed by then.
#[test]
fn killed_after_any_step() {
    let mut rig = Rig::new(5);
    for step in 0..40 {
        rig.pass(&[step, step + 1_000]);
        if step % 3 == 0 {
            rig.clock_ms += 900;
            rig.maintain();
        }
        let copy = TempDir::new().unwrap();
        copy_dir(rig.dir.path(), copy.path());
        let mut partition = open(copy.path(), &rig.options).unwrap();
        rig.log.replay(&mut partition, 0, rig.clock_ms).unwrap();
        for known in [step, step + 1_000] {
            assert!(partition.lookup(crate::rig::digest(known)).unwrap().is_some(), "step {step}");
        }
        assert_eq!(partition.lookup(crate::rig::digest(step + 2)).unwrap(), None, "step {step}");
    }
    let stats = rig.index().stats();
    assert!(stats.runs > 3 && stats.runs_dropped > 3, "{stats:?}");
}
