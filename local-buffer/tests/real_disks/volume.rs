//! Small volumes of real file systems.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{MIB, say};

/// A mounted file system of its own; unmounted when dropped.
pub(crate) struct Volume {
    pub(crate) name: &'static str,
    folder: TempDir,
}

impl Volume {
    /// ext4 on a loop device.
    pub(crate) fn ext4(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("image");
        File::create(&image).and_then(|image| image.set_len(bytes)).expect("a sparse file");
        let made = Command::new(mkfs()).args(["-q", "-F", "-m", "0"]).arg(&image).status();
        match made {
            Ok(status) => assert!(status.success(), "mkfs.ext4: {status}"),
            Err(error) => return unavailable(&format!("mkfs.ext4: {error}")),
        }
        Self::mount("ext4", folder, &["-o", "loop"], &image)
    }

    /// tmpfs.
    pub(crate) fn tmpfs(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={bytes}");
        Self::mount("tmpfs", folder, &["-t", "tmpfs", "-o", &size], Path::new("local-buffer-tests"))
    }

    /// One of each.
    pub(crate) fn each(bytes: u64) -> impl Iterator<Item = Self> {
        [Self::ext4, Self::tmpfs].into_iter().filter_map(move |make| make(bytes))
    }

    fn mount(name: &'static str, folder: TempDir, options: &[&str], device: &Path) -> Option<Self> {
        let at = folder.path().join("volume");
        fs::create_dir(&at).expect("a mount point");
        let output = Command::new("mount").args(options).arg(device).arg(&at).output().expect("the mount command");
        if !output.status.success() {
            return unavailable(&format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        Some(Self { name, folder })
    }

    /// A folder for a buffer on it; not there yet.
    pub(crate) fn buffer(&self) -> PathBuf {
        self.path().join("buffer")
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    /// Bytes that may still be written.
    pub(crate) fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("a mounted volume");
        stat.f_bavail * stat.f_frsize
    }

    /// Fills all but so many bytes; what cannot be had to the last byte is tried in ever smaller pieces.
    pub(crate) fn ballast(&self, name: &str, leave_bytes: u64) -> PathBuf {
        let path = self.path().join(name);
        let mut file = File::create(&path).expect("an inode");
        let block = vec![1; MIB as usize];
        let mut step = block.len();
        while step > 0 && self.free_bytes() > leave_bytes {
            let bytes = step.min((self.free_bytes() - leave_bytes) as usize);
            if file.write_all(&block[..bytes]).and_then(|()| file.sync_data()).is_err() {
                step /= 2;
            }
        }
        path
    }

    /// Unmounts and mounts again, so that nothing is left in the page cache. Only ext4 survives that.
    pub(crate) fn remount(&self) {
        run(Command::new("umount").arg(self.path()));
        run(Command::new("mount").args(["-o", "loop"]).arg(self.folder.path().join("image")).arg(self.path()));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazy: a failed test may have left files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Debian keeps it where only root's search path looks.
fn mkfs() -> &'static str {
    if Path::new("/sbin/mkfs.ext4").exists() { "/sbin/mkfs.ext4" } else { "mkfs.ext4" }
}

fn run(command: &mut Command) {
    let status = command.status().expect("the command");
    assert!(status.success(), "{command:?}: {status}");
}

fn unavailable(reason: &str) -> Option<Volume> {
    assert!(std::env::var_os("TESTS_CHAOS").is_none(), "the long form needs the disk: {reason}");
    let is_root = rustix::process::geteuid().is_root();
    say(&format!(
        "SKIPPED, no such disk here (it takes root; this is {}root): {reason}",
        if is_root { "" } else { "not " }
    ));
    None
}
