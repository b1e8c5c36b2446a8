//! All access to files goes through here: a trait, so that tests can put a faulty or forgetful disk in its place, and
//! the real disk behind it.

use std::any::Any;
use std::fs::{self, File as StdFile, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{Advice, OFlags};

use crate::format::BLOCK_BYTES;

mod holder;

pub use holder::{Holder, InUse, WritePath};

/// What stands for a byte that the disk cannot read: a block of them is neither current nor blank.
pub(crate) const UNREADABLE: u8 = 0xff;

/// Whether a read failed because of the bytes that were to be read: that is damage to them, and to no others.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read, through the page cache, without reading ahead.
    Read,
    /// To read and write through the page cache; the file must exist.
    Write,
    /// To write past the page cache, each write durable when it returns; the file must exist.
    Direct,
    /// Like `Write`, but the file must not exist.
    Create,
    /// To make a file and write whole blocks to it past the page cache, durable after a sync; the file must not exist.
    CreateDirect,
}

impl Access {
    /// Whether writes go past the page cache.
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::CreateDirect)
    }

    /// Whether the file must not exist.
    pub(crate) fn creates(self) -> bool {
        matches!(self, Self::Create | Self::CreateDirect)
    }
}

/// A directory and the files in it. Names are relative to it.
pub(crate) trait Storage: Send + Sync {
    /// Makes a directory and those above it, durably; one that exists is fine, but its name may not be durable yet.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// Names and sizes of the files of a directory.
    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>>;
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>>;
    /// Gives a file another name; durable only after `sync_dir`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; durable only after `sync_dir`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Locks a file until the guard is dropped; `None` if somebody else has it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Who has locked a file, found out without touching the lock.
    fn in_use(&self, name: &str) -> InUse;
    /// How the user of the directory writes the files of a folder, or would write one like `sample`.
    fn write_path(&self, user: &InUse, folder: &str, sample: Option<&str>) -> WritePath;
}

/// An open file.
pub(crate) trait File: Send + Sync {
    /// Reads until the buffer is full or the file ends; gives the count.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all pieces behind each other.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes all writes durable.
    fn sync(&self) -> io::Result<()>;
    /// Whether a write is durable when it returns.
    fn writes_through(&self) -> bool;
    /// Makes the next reads come from the disk and not from the page cache, as far as the system can.
    fn forget_cached(&self) -> io::Result<()>;
}

/// Writes, and returns when it is durable.
pub(crate) fn write_durable(file: &dyn File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    file.write_at(pieces, offset)?;
    if file.writes_through() { Ok(()) } else { file.sync() }
}

/// A directory of a real file system.
pub(crate) struct Disk {
    root: PathBuf,
    /// Files that are only read keep their access times, if the system lets us.
    traceless: bool,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, traceless: false }
    }

    /// The same for a visitor.
    pub(crate) fn traceless(root: PathBuf) -> Self {
        Self { root, traceless: true }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl Storage for Disk {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        // Names lie in the directory above. A process that was killed may have made any of them and synced none.
        let path = path.canonicalize()?;
        let device = path.metadata()?.dev();
        for above in path.ancestors().skip(1) {
            let synced = StdFile::open(above).and_then(|above| {
                // A mount point is not a name of this file system.
                if above.metadata()?.dev() == device { above.sync_all().map(|()| true) } else { Ok(false) }
            });
            match synced {
                Ok(true) => {}
                Ok(false) => break,
                // Whoever may not read it has not made a name in it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
                Err(error) => return Err(error),
            }
            if !name.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                names.push((name, meta.len()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read).create_new(access.creates());
        match access {
            Access::Direct => _ = options.custom_flags((OFlags::DIRECT | OFlags::DSYNC).bits() as i32),
            Access::CreateDirect => _ = options.custom_flags(OFlags::DIRECT.bits() as i32),
            Access::Read | Access::Write | Access::Create => {}
        }
        let quiet = self.traceless && access == Access::Read;
        // Only the owner of a file may ask for that.
        let quietly = || options.clone().custom_flags(OFlags::NOATIME.bits() as i32).open(self.path(name));
        let file = match quiet.then(quietly) {
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Some(Ok(file)) => file,
            _ => options.open(self.path(name))?,
        };
        if access == Access::Read {
            // Reading ahead of what is durable would fill the page cache with blocks that are about to be written.
            rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
        }
        Ok(Box::new(DiskFile { file, direct: access.is_direct(), writes_through: access == Access::Direct }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        StdFile::open(self.path(dir))?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn in_use(&self, name: &str) -> InUse {
        holder::in_use(&self.path(name))
    }

    fn write_path(&self, user: &InUse, folder: &str, sample: Option<&str>) -> WritePath {
        holder::write_path(user, &self.path(folder), sample.map(|name| self.path(name)).as_deref())
    }
}

struct DiskFile {
    file: StdFile,
    direct: bool,
    writes_through: bool,
}

impl File for DiskFile {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < to.len() {
            match self.file.read_at(&mut to[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let write = |pieces: &[IoSlice<'_>], offset| rustix::io::pwritev(&self.file, pieces, offset);
        write_whole(pieces, offset, self.direct, write)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn writes_through(&self) -> bool {
        self.writes_through
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

/// Writes all pieces, with as many calls as that takes; `direct` ones start at a block.
fn write_whole(
    pieces: &[IoSlice<'_>],
    offset: u64,
    direct: bool,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut done = 0;
    // The common case is one call that writes all.
    while done < bytes {
        let result = if done == 0 {
            write(pieces, offset)
        } else {
            let (piece, inside) = piece_at(pieces, done);
            write(&[IoSlice::new(&pieces[piece][inside..])], offset + done as u64)
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            // After a short direct write the rest must start at a block again.
            Ok(count) if direct && done + count < bytes => {
                let next = (done + count) / BLOCK_BYTES * BLOCK_BYTES;
                if next <= done {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                done = next;
            }
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The piece, and the place in it, where byte `at` of all pieces stands.
fn piece_at(pieces: &[IoSlice<'_>], mut at: usize) -> (usize, usize) {
    for (number, piece) in pieces.iter().enumerate() {
        if at < piece.len() {
            return (number, at);
        }
        at -= piece.len();
    }
    (pieces.len(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_of_many_pieces_is_found_in_its_piece() {
        let pieces = [IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"de")];
        assert_eq!(piece_at(&pieces, 0), (0, 0));
        assert_eq!(piece_at(&pieces, 2), (0, 2));
        assert_eq!(piece_at(&pieces, 3), (2, 0));
        assert_eq!(piece_at(&pieces, 4), (2, 1));
    }

    #[test]
    fn a_write_is_whole_however_short_the_calls_that_make_it_are() {
        let content: Vec<u8> = (0..5 * BLOCK_BYTES).map(|at| (at / 7) as u8).collect();
        let pieces: Vec<_> = content.chunks(2 * BLOCK_BYTES).map(IoSlice::new).collect();
        for (direct, short) in [(false, 1), (false, 4097), (true, BLOCK_BYTES), (true, BLOCK_BYTES + 512), (true, 9000)]
        {
            let (mut file, mut calls) = (vec![0; content.len()], 0);
            let write = |pieces: &[IoSlice<'_>], offset: u64| {
                calls += 1;
                if calls % 3 == 0 {
                    return Err(rustix::io::Errno::INTR);
                }
                assert!(!direct || offset.is_multiple_of(BLOCK_BYTES as u64), "unaligned");
                let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).take(short).collect();
                file[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            };
            write_whole(&pieces, 0, direct, write).unwrap();
            assert!(file == content && calls > 2, "direct {direct}, {short} bytes a call");
        }
        let refuse =
            |result: rustix::io::Result<usize>| write_whole(&pieces, 0, true, |_, _| result).unwrap_err().kind();
        assert_eq!(refuse(Ok(0)), io::ErrorKind::WriteZero);
        assert_eq!(refuse(Ok(512)), io::ErrorKind::WriteZero);
        assert_eq!(refuse(Err(rustix::io::Errno::NOSPC)), io::ErrorKind::StorageFull);
    }

    #[test]
    fn folders_above_are_made_and_what_is_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().join("a/b/c"));
        for _ in 0..2 {
            disk.create_dir("").unwrap();
            disk.create_dir("segments").unwrap();
        }
        assert!(dir.path().join("a/b/c/segments").is_dir());
    }

    #[test]
    fn a_lock_is_held_until_its_guard_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_path_buf());
        let guard = disk.lock("lock").unwrap();
        assert!(guard.is_some());
        assert!(disk.lock("lock").unwrap().is_none());
        drop(guard);
        assert!(disk.lock("lock").unwrap().is_some());
    }
}
