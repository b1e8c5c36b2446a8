//! Small disks that can be filled, and copies of folders.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Scene;

/// A file system of a given size in memory, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one. `None`, and a loud word, where this user may not mount.
    ///
    /// # Panics
    /// Where root cannot mount one either.
    pub fn mount(scene: &Scene, path: &Path, bytes: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            scene.say("SKIPPED: mounting a small disk needs root");
            return None;
        }
        fs::create_dir_all(path).expect("a mount point");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "turnstile-tests"])
            .arg(path)
            .status()
            .expect("the mount command");
        assert!(status.success(), "mounting a tmpfs on {}: {status}", path.display());
        Some(Self { path: path.to_owned() })
    }

    /// Fills all but about `leave_bytes`; space comes back when the returned file is removed.
    ///
    /// # Panics
    /// Where the disk is smaller than that.
    pub fn ballast(&self, leave_bytes: u64) -> PathBuf {
        let path = self.path.join("ballast");
        let free = self.free_bytes();
        assert!(free > leave_bytes, "only {free} bytes are free");
        let mut file = File::create(&path).expect("the ballast file");
        let block = vec![0; 1 << 20];
        let mut left = free - leave_bytes;
        while left > 0 {
            let bytes = left.min(block.len() as u64);
            file.write_all(&block[..bytes as usize]).expect("room for the ballast");
            left -= bytes;
        }
        path
    }

    /// Free bytes.
    ///
    /// # Panics
    /// Where the disk is gone.
    pub fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.path).expect("the small disk");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy: a server that a failed scenario left behind may still hold files open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Copies a folder with all in it; `to` must not exist.
///
/// # Panics
/// Where that fails.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "copying {}: {status}", from.display());
}
