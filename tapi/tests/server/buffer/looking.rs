//! Looking at a buffer that nobody uses: figures, records, damage, and no trace of the visit.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, SystemTime};

use local_buffer::{Batch, Queue};
use serde_json::json;

use super::stage::{Stage, append, flip, options, record, traces};
use crate::binary::{output, tapi};

#[test]
fn the_figures_are_right_for_people_and_for_programs() {
    let stage = Stage::new(3000, 2500);
    let (code, seen) = stage.json("inspect", &[]);
    assert_eq!(code, 0);
    assert_eq!(
        (&seen["floor"], &seen["next_id"], &seen["undrained_records"]),
        (&json!(2500), &json!(3000), &json!(500))
    );
    assert_eq!((&seen["in_use"], &seen["oldest_id"], &seen["format_version"]), (&json!("no"), &json!(2500), &json!(1)));
    assert_eq!(seen["quarantine"]["reasons"][0]["reason"], "larger than message.max.bytes");
    assert!(seen["undrained_bytes"].as_u64().unwrap() > 500 * 500);
    assert!(seen["oldest_age_ms"].as_u64().unwrap() < 600_000);

    let (code, text, _) = stage.run("inspect", &[]);
    assert_eq!(code, 0);
    for wanted in ["not in use", "500 records", "next id     3,000", "SEGMENT", "1 record", "1.0 MiB"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn the_records_come_out_in_order_from_wherever_one_likes() {
    let stage = Stage::new(3000, 2500);
    let ids = |arguments: &[&str]| -> Vec<u64> {
        stage.dump(arguments).iter().map(|line| line["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(&[]), (2500..3000).collect::<Vec<_>>());
    assert_eq!(ids(&["--all"]), (0..3000).collect::<Vec<_>>());
    assert_eq!(ids(&["--from", "2990"]), (2990..3000).collect::<Vec<_>>());
    assert_eq!(ids(&["--from", "100", "--limit", "3"]), [100, 101, 102]);
    let first = stage.dump(&["--limit", "1"]).remove(0);
    assert_eq!(first["event"]["event"], "m-2500");
    let rest =
        json!({"envelope": "event", "source": "web", "messageId": "m-2500", "receivedAt": "2023-11-14T22:13:20.123Z"});
    rest.as_object().unwrap().iter().for_each(|(key, value)| assert_eq!(&first[key], value));

    let aside = stage.dump(&["--quarantine"]);
    assert_eq!((aside.len(), &aside[0]["messageId"], &aside[0]["id"]), (1, &json!("m-1"), &json!(1)));
    assert_eq!((&aside[0]["whole"], &aside[0]["kind"]), (&json!(true), &json!("record")));
}

#[test]
fn a_record_that_is_no_envelope_comes_out_as_its_bytes() {
    let stage = Stage::new(1, 1);
    let (queue, _) = Queue::open(&stage.dir, options()).unwrap();
    append(&queue.appender(), b"\xff\x00what").wait(&queue.appender()).unwrap();
    queue.close().unwrap();
    let line = stage.dump(&[]).remove(0);
    assert_eq!(line["bytes"], "/wB3aGF0");
    assert!(line["error"].as_str().unwrap().starts_with("no envelope"), "{line}");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let stage = Stage::new(3000, 0);
    let mut dump = tapi(&["buffer", "dump", stage.dir.to_str().unwrap()]);
    let mut child = dump.stderr(std::process::Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::with_capacity(64, child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("\"m-0\""), "{line}");
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_visit_leaves_no_trace() {
    let stage = Stage::new(3000, 2500);
    stage.damage("m-2700");
    // Older than a day, so that a file system that notes accesses only now and then notes these.
    let old = SystemTime::now() - Duration::from_hours(48);
    for path in traces(&stage.dir).into_keys() {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_times(std::fs::FileTimes::new().set_accessed(old)).unwrap();
    }
    let before = traces(&stage.dir);
    for (command, arguments) in [
        ("inspect", &[][..]),
        ("verify", &[]),
        ("dump", &["--all"]),
        ("dump", &["--quarantine"]),
        ("repair", &["--dry-run"]),
    ] {
        stage.run(command, arguments);
        assert!(traces(&stage.dir) == before, "{command} {arguments:?} changed something");
    }
}

#[test]
fn damage_is_shown_with_its_place() {
    let stage = Stage::new(3000, 2500);
    assert_eq!(stage.json("verify", &[]).0, 0);
    let (path, at) = stage.damage("m-2700");
    let (code, seen) = stage.json("verify", &[]);
    assert_eq!((code, &seen["clean"], &seen["damage_open"]), (1, &json!(false), &json!(1)));
    let piece = &seen["damage"][0];
    let offset = piece["offset"].as_u64().unwrap();
    assert!((offset..offset + piece["bytes"].as_u64().unwrap()).contains(&(at as u64)), "{piece}");
    assert!(path.ends_with(piece["file"].as_str().unwrap()), "{piece}");
    assert_eq!((&piece["kind"], &seen["undrained_records"]), (&json!("records"), &json!(499)));
    let (code, text, stderr) = stage.run("verify", &[]);
    assert!(code == 1 && text.contains("checksum") && stderr.contains("repair"), "{text} {stderr}");
    let (code, lines, stderr) = stage.run("dump", &[]);
    assert_eq!((code, lines.lines().count()), (1, 499), "{stderr}");
    assert!(stderr.contains("passed over"), "{stderr}");
}

#[test]
fn a_directory_that_cannot_be_meant_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let run = |dir: &std::path::Path| output(&mut tapi(&["buffer", "inspect", dir.to_str().unwrap()]));
    let (code, _, stderr) = run(&root.path().join("none"));
    assert!(code == 2 && stderr.contains("there is no directory"), "{stderr}");
    let (code, _, stderr) = run(root.path());
    assert!(code == 2 && stderr.contains("holds no buffer"), "{stderr}");
    let stage = Stage::new(3, 0);
    let (code, _, stderr) = run(stage.root());
    assert!(code == 2 && stderr.contains(&format!("did you mean {}", stage.dir.display())), "{stderr}");

    // A program of tomorrow wrote it.
    let meta = stage.dir.join("meta");
    let mut bytes = std::fs::read(&meta).unwrap();
    for slot in bytes.chunks_exact_mut(4096) {
        slot[8] = 7;
        let sum = crc32c(&slot[..40]);
        slot[40..44].copy_from_slice(&sum.to_le_bytes());
    }
    std::fs::write(&meta, bytes).unwrap();
    for command in ["inspect", "verify", "dump", "repair"] {
        let (code, _, stderr) = stage.run(command, &[]);
        assert!(code == 1 && stderr.contains("meta has format version 7"), "{command}: {stderr}");
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn without_a_directory_it_is_that_of_the_settings() {
    let stage = Stage::new(3, 0);
    let mut inspect = tapi(&["buffer", "inspect", "--json"]);
    let (code, stdout, _) = output(inspect.env("TAPI_DATA", &stage.dir));
    assert!(code == 0 && stdout.contains("\"next_id\":3"), "{stdout}");
    let file = stage.root().join("tapi.toml");
    std::fs::write(&file, format!("data = {:?}\n", stage.dir)).unwrap();
    let file = file.to_str().unwrap();
    for arguments in [&["inspect", "--json", "--config", file], &["--config", file, "inspect", "--json"]] {
        let (code, stdout, stderr) = output(&mut tapi(&[&["buffer"], &arguments[..]].concat()));
        assert!(code == 0 && stdout.contains("\"next_id\":3"), "{arguments:?}: {stdout} {stderr}");
    }
    let (code, stdout, _) = output(tapi(&["buffer", "inspect", "--json"]).env("TAPI_CONFIG", file));
    assert!(code == 0 && stdout.contains("\"next_id\":3"), "{stdout}");
    let (code, _, stderr) = output(tapi(&["buffer", "inspect"]).env("TAPI_LISTEN", "x"));
    assert!(code == 2 && stderr.contains("TAPI_LISTEN"), "{stderr}");
    assert_eq!(output(&mut tapi(&["buffer"])).0, 2);
    assert_eq!(output(&mut tapi(&["buffer", "reinject", "x"])).0, 2, "one has to say which records");
}

#[test]
fn the_help_speaks_of_tapi_and_its_folders() {
    for tool in [&[][..], &["inspect"], &["verify"], &["dump"], &["repair"], &["reinject"]] {
        let (code, help, _) = output(&mut tapi(&[&["buffer"], tool, &["--help"]].concat()));
        assert_eq!(code, 0, "{tool:?}");
        assert!(help.contains("\n  tapi buffer ") && help.contains("TAPI_CONFIG"), "{tool:?}: {help}");
        assert!(!help.to_lowercase().contains("turnstile"), "{tool:?}: {help}");
    }
    let (_, help, _) = output(&mut tapi(&["buffer", "--help"]));
    let folders = ["/var/lib/tapi", "TAPI_DATA, by default ./data/tapi."];
    assert!(folders.iter().all(|folder| help.contains(folder)), "{help}");
    let (_, settings, _) = output(&mut tapi(&["check-config"]));
    assert!(settings.lines().any(|line| line.starts_with("data ") && line.contains("./data/tapi")), "{settings}");
}

/// As large as a backlog of hours with `TESTS_CHAOS`, else large enough to tell a copy of it from a window.
#[test]
fn a_large_buffer_is_verified_in_little_memory() {
    const RESIDENT_BYTES_MAX: u64 = 48 << 20;
    let total: u64 = if std::env::var_os("TESTS_CHAOS").is_some() { 1 << 30 } else { 160 << 20 };
    let root = tempfile::tempdir().unwrap();
    let options = local_buffer::Options { segment_bytes: 16 << 20, bytes_max: 2 << 30, ..options() };
    let (mut queue, _) = Queue::open(root.path(), options).unwrap();
    let (appender, bytes) = (queue.appender(), record("m", 100_000));
    for _ in 0..total / bytes.len() as u64 {
        let _ = append(&appender, &bytes);
    }
    append(&appender, &bytes).wait(&appender).unwrap();
    // The first part is drained, as in a buffer at work.
    let (mut reader, mut batch) = (queue.take_reader().unwrap(), Batch::new());
    reader.read(&mut batch, 10, usize::MAX).unwrap();
    reader.acknowledge(batch.end().unwrap()).unwrap();
    drop(reader);
    queue.close().unwrap();

    let mut child = tapi(&["buffer", "verify", root.path().to_str().unwrap(), "--json"]).spawn().unwrap();
    let (mut peak, mut looks) = (0, 0);
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kibibytes) = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()) {
            peak = peak.max(kibibytes << 10);
            looks += 1;
        }
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(seen["read_bytes"].as_u64().unwrap() >= total, "{seen}");
    assert!(looks > 3 && peak > 0 && peak < RESIDENT_BYTES_MAX, "{peak} bytes resident at most in {looks} looks");
}

#[test]
fn damage_in_the_quarantine_is_shown_too() {
    let stage = Stage::new(30, 30);
    let file = std::fs::read_dir(stage.dir.join("quarantine")).unwrap().next().unwrap().unwrap().path();
    flip(&file, 200);
    let (code, seen) = stage.json("verify", &[]);
    assert_eq!((code, &seen["damage"][0]["kind"]), (1, &json!("quarantine")));
    let line = stage.dump(&["--quarantine"]).remove(0);
    assert_eq!((&line["whole"], &line["event"]), (&json!(false), &json!(null)));
}
