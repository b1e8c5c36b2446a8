//! A buffer at work: `tapi run` with events coming in, and nobody to drain them to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use super::stage::Stage;
use crate::binary::{Program, output, tapi};
use crate::client::{Client, event};

const LOOKS: usize = 100;

#[test]
fn a_buffer_under_load_is_looked_at_a_hundred_times_and_neither_side_notices() {
    let root = tempfile::tempdir().unwrap();
    let (config, data) = (root.path().join("tapi.toml"), root.path().join("data"));
    std::fs::write(&config, "[buffer]\nsegment_bytes = 1048576\n").unwrap();
    let program = Program::start(&config, &data);
    let buffer = |arguments: &[&str]| output(&mut tapi(&[&["buffer"], arguments].concat()));
    let dir = data.to_str().unwrap();
    let (done, posted) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let stop = Stop(&done);
        for thread in 0..4 {
            let (done, posted, address) = (&done, &posted, program.ingest);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !done.load(Ordering::Relaxed) {
                    let id = format!("m-{thread}-{}", posted.load(Ordering::Relaxed));
                    let answer = client.request("POST /v1/track?writeKey=k", "", event(&id).as_bytes());
                    assert_eq!(answer.status, 200);
                    posted.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut next_id = 0;
        for look in 0..LOOKS {
            let (code, stdout, stderr) = buffer(&["inspect", dir, "--json"]);
            assert_eq!((code, &*stderr), (0, ""), "look {look}");
            let seen: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!((&seen["in_use"], &seen["pid"]), (&json!("yes"), &json!(program.child.id())));
            assert!(["direct", "page_cache"].contains(&seen["write_path"].as_str().unwrap()), "{seen}");
            let seen_next = seen["next_id"].as_u64().unwrap();
            assert!(seen_next >= next_id, "look {look}: {seen_next} after {next_id}");
            next_id = seen_next;
            if look % 10 == 0 {
                let (code, stdout, stderr) = buffer(&["verify", dir, "--json"]);
                assert_eq!((code, &*stderr), (0, ""), "look {look}: {stdout}");
                let seen: Value = serde_json::from_str(&stdout).unwrap();
                assert_eq!(seen["damage"], json!([]));
                let (code, stdout, stderr) = buffer(&["dump", dir]);
                assert_eq!((code, &*stderr), (0, ""), "look {look}");
                assert!(stdout.lines().count() as u64 >= next_id, "every durable record is there");
            }
        }
        drop(stop);
    });
    // Everything that was answered is there when the load has ended.
    let (_, stdout, _) = buffer(&["inspect", dir, "--json"]);
    let seen: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(seen["undrained_records"].as_u64(), Some(posted.load(Ordering::Relaxed)));
}

/// Ends the load also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_would_change_a_buffer_in_use_is_refused_with_the_name_of_its_user() {
    let root = tempfile::tempdir().unwrap();
    let (config, data) = (root.path().join("tapi.toml"), root.path().join("data"));
    std::fs::write(&config, "").unwrap();
    let program = Program::start(&config, &data);
    assert_eq!(program.post("k", "m"), 200);
    let dir = data.to_str().unwrap();
    let user = format!("is in use by tapi, pid {}", program.child.id());
    for arguments in [&["repair", dir][..], &["repair", dir, "--floor", "1"], &["reinject", dir, "--all"]] {
        let (code, stdout, stderr) = output(&mut tapi(&[&["buffer"], arguments].concat()));
        assert!(code == 1 && stderr.contains(&user), "{arguments:?}: {stdout} {stderr}");
    }
    // To say what would be done is no change.
    let (code, stdout, _) = output(&mut tapi(&["buffer", "repair", dir, "--dry-run"]));
    assert!(code == 0 && stdout.contains("seal"), "{stdout}");
    assert_eq!(program.post("k", "m2"), 200);
}

#[test]
fn what_a_killed_process_leaves_is_not_in_use() {
    let stage = Stage::new(300, 0);
    let config = stage.root().join("tapi.toml");
    std::fs::write(&config, "").unwrap();
    let program = Program::start(&config, &stage.dir);
    assert_eq!(program.post("k", "m"), 200);
    drop(program);
    let (code, seen) = stage.json("inspect", &[]);
    assert_eq!((code, &seen["in_use"], &seen["undrained_records"]), (0, &json!("no"), &json!(301)));
    assert_eq!(stage.run("repair", &[]).0, 0);
    assert_eq!(stage.delivered().len(), 301);
}
