//! A disk without space: digests stay in memory, verdicts stay right, and sealing works again when space is back.

use std::fs;
use std::io::Write;
use std::process::Command;

use dedup::Remedy;
use tempfile::TempDir;

use crate::rig::Rig;

const DISK_BYTES: usize = 4 << 20;

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }

    /// Takes the last byte.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.path().join("ballast")).unwrap();
        let mut bytes = DISK_BYTES;
        while bytes > 0 {
            if file.write(&vec![1; bytes]).is_err() {
                bytes /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn sealing_waits_for_space_and_verdicts_stay_right() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not tried: mounting a small disk needs root");
        return;
    };
    let mut rig = Rig::new_in(disk.0.path(), 1_000);
    rig.options.unsealed_digests_max = 20_000;
    rig.close();
    rig.reopen();
    let mut names = (0_u64..).step_by(500).map(|first| (first..first + 500).collect::<Vec<_>>());
    let mut passed = 0;
    for _ in 0..4 {
        assert_eq!(rig.pass(&names.next().unwrap()), "n".repeat(500));
        passed += 500;
        rig.maintain();
    }
    assert_eq!(rig.index().stats().runs, 2);

    disk.fill();
    for _ in 0..10 {
        assert_eq!(rig.pass(&names.next().unwrap()), "n".repeat(500));
        passed += 500;
        let now = rig.clock_ms;
        let refused = rig.index().maintain(now);
        assert!(refused.is_ok() || refused.as_ref().unwrap_err().remedy() == Remedy::Retry, "{refused:?}");
        assert_eq!(rig.pass(&[0, 999, 1_000, passed - 500, passed - 1]), "ddddd");
    }
    let stats = rig.index().stats();
    assert!(stats.maintenance_failures >= 9 && stats.runs == 2 && stats.open_digests == 5_000, "{stats:?}");
    assert_eq!(fs::read_dir(rig.dir.path().join("sealing")).unwrap().count(), 0, "half a run takes no space");

    disk.free();
    rig.maintain();
    let stats = rig.index().stats();
    assert_eq!((stats.open_digests, stats.sealed_digests), (0, passed), "{stats:?}");
    let all: Vec<_> = (0..passed).collect();
    assert_eq!(rig.pass(&all), "d".repeat(all.len()));
    assert_eq!(rig.reopen(), 1);
    assert_eq!(rig.pass(&all), "d".repeat(all.len()));
}

/// Wherever in the writing of a run the space ends, the run is sealed or waits.
#[test]
fn at_every_amount_of_free_space_a_run_is_sealed_or_waits() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not tried: mounting a small disk needs root");
        return;
    };
    let (mut failed, mut sealed) = (0, 0);
    for free_bytes in (0..60).map(|step| step * 1024) {
        let mut rig = Rig::new_in(disk.0.path(), 100);
        assert_eq!(rig.pass(&(0..100).collect::<Vec<_>>()), "n".repeat(100));
        disk.fill();
        let ballast = fs::metadata(disk.0.path().join("ballast")).unwrap().len();
        let file = fs::OpenOptions::new().write(true).open(disk.0.path().join("ballast")).unwrap();
        file.set_len(ballast - free_bytes).unwrap();
        drop(file);
        let now = rig.clock_ms;
        match rig.index().maintain(now) {
            Ok(_) => sealed += 1,
            Err(error) => {
                assert_eq!(error.remedy(), Remedy::Retry, "{free_bytes}: {error}");
                failed += 1;
            }
        }
        assert_eq!(rig.pass(&[0, 50, 99, 100]), "dddn", "{free_bytes}");
        disk.free();
        rig.maintain();
        rig.maintain();
        let all: Vec<_> = (0..101).collect();
        assert_eq!(rig.pass(&all), "d".repeat(101), "{free_bytes}");
        rig.reopen();
        assert_eq!(rig.pass(&all), "d".repeat(101), "{free_bytes}");
        assert_eq!(rig.pass(&[101]), "n", "{free_bytes}");
    }
    println!("{failed} attempts failed, {sealed} did not");
    assert!(failed > 3 && sealed > 3, "{failed} failed, {sealed} sealed");
}
