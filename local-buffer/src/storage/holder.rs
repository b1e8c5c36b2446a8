//! Who has a buffer open, and how it writes, as far as the system tells without the lock being touched.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// A process that has a buffer open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// What it calls itself, at most 15 bytes, if that can be read.
    pub program: Option<String>,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.program {
            Some(program) => write!(formatter, "{program}, pid {}", self.pid),
            None => write!(formatter, "pid {}", self.pid),
        }
    }
}

/// Whether a process has a buffer open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InUse {
    /// None that can be seen from here: a process in another container may be invisible.
    No,
    /// This one.
    By(Holder),
    /// Somebody, or the system does not tell.
    Unknown,
}

/// How records are, or would be, written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WritePath {
    /// The process that has the buffer open writes past the page cache.
    Direct,
    /// The process that has the buffer open writes through the page cache.
    PageCache,
    /// Nobody is seen to have it open; the file system can be written past the page cache.
    DirectPossible,
    /// Nobody is seen to have it open; the file system can be written through the page cache only.
    PageCacheOnly,
    /// It could not be found out.
    Unknown,
}

/// Who holds a `flock` on a file.
pub(super) fn in_use(path: &Path) -> InUse {
    // Without the file nobody can have locked it.
    let Ok(meta) = fs::metadata(path) else { return InUse::No };
    let Ok(table) = fs::read_to_string("/proc/locks") else { return InUse::Unknown };
    let found = table.lines().filter_map(parse).find(|lock| {
        // Some file systems show another device to those who ask for it than to the table of locks.
        let device = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        lock.inode == meta.ino() && (lock.device == device || has_open(lock.pid, path))
    });
    found.map_or(InUse::No, |lock| {
        let program = fs::read_to_string(format!("/proc/{}/comm", lock.pid)).ok();
        InUse::By(Holder { pid: lock.pid, program: program.map(|name| name.trim_end().to_owned()) })
    })
}

/// How records are written: as the open files of the process say, or else as a file lets itself be opened.
pub(super) fn write_path(user: &InUse, segments: &Path, sample: Option<&Path>) -> WritePath {
    if let InUse::By(holder) = user {
        return written_by(holder.pid, segments).unwrap_or(WritePath::Unknown);
    }
    let Some(sample) = sample else { return WritePath::Unknown };
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    match rustix::fs::open(sample, flags, rustix::fs::Mode::empty()) {
        Ok(_) => WritePath::DirectPossible,
        Err(rustix::io::Errno::INVAL) => WritePath::PageCacheOnly,
        Err(_) => WritePath::Unknown,
    }
}

fn written_by(pid: u32, segments: &Path) -> Option<WritePath> {
    let segments = fs::canonicalize(segments).ok()?;
    let mut found = None;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        if !fs::read_link(entry.path()).is_ok_and(|file| file.parent() == Some(&segments)) {
            continue;
        }
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy())).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = OFlags::from_bits_retain(u32::from_str_radix(flags.trim(), 8).ok()?);
        if flags.contains(OFlags::DIRECT) {
            return Some(WritePath::Direct);
        }
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            found = Some(WritePath::PageCache);
        }
    }
    found
}

struct Flock {
    pid: u32,
    device: (u32, u32),
    inode: u64,
}

/// A lock that is held, of a line as `1: FLOCK  ADVISORY  WRITE 4121 fe:00:131 0 EOF`.
fn parse(line: &str) -> Option<Flock> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let pid = words.nth(2)?.parse().ok()?;
    let mut place = words.next()?.split(':');
    let major = u32::from_str_radix(place.next()?, 16).ok()?;
    let minor = u32::from_str_radix(place.next()?, 16).ok()?;
    Some(Flock { pid, device: (major, minor), inode: place.next()?.parse().ok()? })
}

fn has_open(pid: u32, path: &Path) -> bool {
    let (Ok(path), Ok(open)) = (fs::canonicalize(path), fs::read_dir(format!("/proc/{pid}/fd"))) else { return false };
    open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|file| file == path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Access, Disk, Storage as _};

    #[test]
    fn a_line_of_the_systems_table_is_read_and_waiters_and_other_locks_are_passed_over() {
        let lock = parse("7: FLOCK  ADVISORY  WRITE 4121 fe:00:131 0 EOF").unwrap();
        assert_eq!((lock.pid, lock.device, lock.inode), (4121, (0xfe, 0), 131));
        assert!(parse("7: -> FLOCK  ADVISORY  WRITE 4121 fe:00:131 0 EOF").is_none());
        assert!(parse("7: POSIX  ADVISORY  WRITE 4121 fe:00:131 0 EOF").is_none());
        assert!(parse("").is_none());
    }

    #[test]
    fn who_holds_the_lock_is_named_while_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_path_buf());
        assert_eq!(disk.in_use("lock"), InUse::No);
        let guard = disk.lock("lock").unwrap();
        let InUse::By(holder) = disk.in_use("lock") else { panic!("{:?}", disk.in_use("lock")) };
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.program.is_some());
        drop(guard);
        assert_eq!(disk.in_use("lock"), InUse::No);
    }

    #[test]
    fn the_flags_of_open_files_say_how_they_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_path_buf());
        let user = InUse::By(Holder { pid: std::process::id(), program: None });
        assert_eq!(disk.write_path(&user, "", None), WritePath::Unknown);
        let _open = disk.open("x", Access::Create).unwrap();
        assert_eq!(disk.write_path(&user, "", None), WritePath::PageCache);
        if let Ok(_direct) = disk.open("x", Access::Direct) {
            assert_eq!(disk.write_path(&user, "", None), WritePath::Direct);
            assert_eq!(disk.write_path(&InUse::No, "", Some("x")), WritePath::DirectPossible);
        }
    }
}
