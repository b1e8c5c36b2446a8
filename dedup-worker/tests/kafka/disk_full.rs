//! Fault: the disk of the indexes is full, from before a run is due on.
//!
//! Each try to seal writes the whole run before it fails, so a lane at work must not try behind every batch.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::brokers::LANES;
use super::events::of_lane;
use super::scene::Scene;

const LIMIT: Duration = Duration::from_secs(50);
const DISK_BYTES: usize = 64 << 20;
/// Identities of a lane at which a run is due; the least that the settings take.
const SEALED_AT: usize = 65_536;
/// What comes in behind that.
const MORE: usize = 20_000;
const FAILURES: &str = "dedup_store_maintenance_failures_total";
const BATCHES: &str = "dedup_batches_total";

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let options = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(path.to_owned()))
    }

    /// Takes the last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        let mut bytes = DISK_BYTES;
        while bytes > 0 {
            if file.write(&vec![1; bytes]).is_err() {
                bytes /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_makes_no_batch_write_a_run_and_costs_no_event() {
    let scene = Scene::new();
    let Some(disk) = SmallDisk::mount(&scene.folder().join("one")) else {
        println!("not tried: mounting a small disk needs root");
        return;
    };
    let mut output = scene.output();
    let sealed_at = SEALED_AT.to_string();
    let settings = [("DEDUP_INDEX_OPEN_DIGESTS_MAX", &*sealed_at), ("DEDUP_BATCH_RECORDS_MAX", "250")];
    let worker = scene.run_with("one", &settings);
    worker.wait_for_metric("dedup_lanes_running", |running| running == u64::from(LANES));
    disk.fill();
    let numbers: Vec<u64> = of_lane(0, 0).take(SEALED_AT + MORE).collect();
    scene.primary.produce(numbers[..SEALED_AT].iter().copied());
    output.wait_for(SEALED_AT, LIMIT);
    worker.wait_for_log("housekeeping of the index failed");
    let (failures, batches, begun) = (worker.metric(FAILURES), worker.metric(BATCHES), Instant::now());
    scene.primary.produce(numbers[SEALED_AT..].iter().copied());
    output.wait_for(SEALED_AT + MORE, LIMIT);
    let least = batches + MORE as u64 / 250;
    worker.wait_for_metric(BATCHES, |batches| batches >= least);
    let (failures, seconds) = (worker.metric(FAILURES) - failures, begun.elapsed().as_secs());
    println!("{failures} tries to seal failed in {seconds} s, in which {} batches and more were committed", MORE / 250);
    assert!(failures <= seconds + 3, "once a second, and what is told is a second old");
    disk.free();
    worker.wait_for_log("housekeeping of the index works again");
    worker.wait_for_metric("dedup_runs", |runs| runs > 0);
    output.assert_each_once_of(numbers.into_iter());
    worker.stop();
}
