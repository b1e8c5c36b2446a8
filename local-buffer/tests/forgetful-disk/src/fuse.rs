//! The disk as the kernel asks for it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use crate::content::Content;
use crate::disk::{Disk, Power, State};
use crate::tree::{Node, Tree};

/// Names and attributes are asked for each time.
const TTL: Duration = Duration::ZERO;
const BLOCK_BYTES: u64 = 4096;
/// A sync that takes its time, or hangs, must not hold up others.
const THREADS: usize = 8;

/// A mount of a disk; unmounted when dropped.
pub struct Mounted {
    session: Option<BackgroundSession>,
    path: PathBuf,
}

/// Why a disk cannot be mounted here: this machine or user may not.
#[derive(Debug)]
pub struct Unavailable(io::Error);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FUSE is not to be had ({}): it takes /dev/fuse, and root or fusermount3", self.0)
    }
}

impl Disk {
    /// Mounts the disk on a folder.
    pub fn mount(&self, path: &Path) -> Result<Mounted, Unavailable> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful-disk".to_owned())];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(self.clone(), path, &config).map_err(Unavailable)?;
        Ok(Mounted { session: Some(session), path: path.to_owned() })
    }

    fn attributes(state: &State, number: u64) -> Result<FileAttr, Errno> {
        let (kind, size) = match state.tree.node(number).ok_or(Errno::ENOENT)? {
            Node::File(content) => (FileType::RegularFile, content.seen().len() as u64),
            Node::Folder { .. } => (FileType::Directory, 0),
        };
        let time = UNIX_EPOCH;
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK_BYTES as u32,
            flags: 0,
        })
    }

    fn entry(&self, folder: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let state = self.state();
        state.alive()?;
        Self::attributes(&state, state.tree.find(folder.0, name).ok_or(Errno::ENOENT)?)
    }

    /// Changes names; they change also when the power goes meanwhile, and may then be there afterwards or not.
    fn rename_in<T>(&self, change: impl FnOnce(&mut Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.state();
        let power = state.change()?;
        let done = change(&mut state.tree)?;
        if power == Power::GoesNow { Err(Errno::EIO) } else { Ok(done) }
    }

    fn make(&self, folder: INodeNo, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        let number = self.rename_in(|tree| {
            if tree.find(folder.0, name).is_some() {
                return Err(Errno::EEXIST);
            }
            Ok(tree.add(folder.0, name, node))
        })?;
        Self::attributes(&self.state(), number)
    }

    fn write_file(&self, number: INodeNo, offset: u64, bytes: &[u8], flags: OpenFlags) -> Result<u32, Errno> {
        let through = flags.0 & libc::O_DSYNC != 0;
        let mut state = self.state();
        let power = state.change()?;
        let size = state.tree.file_mut(number.0).ok_or(Errno::ENOENT)?.seen().len() as u64;
        state.room_for((offset + bytes.len() as u64).saturating_sub(size))?;
        let counts = &mut state.counts;
        let count = bytes.len() as u64;
        match (flags.0 & libc::O_DIRECT != 0, through) {
            (true, true) => {
                counts.direct_writes += 1;
                counts.direct_bytes += count;
            }
            (true, false) => counts.unsynced_direct_bytes += count,
            (false, _) => {
                counts.cached_writes += 1;
                counts.cached_bytes += count;
            }
        }
        let synced = through && power == Power::On;
        state.tree.file_mut(number.0).ok_or(Errno::ENOENT)?.write(offset as usize, bytes, synced);
        if power == Power::GoesNow { Err(Errno::EIO) } else { Ok(bytes.len() as u32) }
    }

    fn sync(&self, what: impl FnOnce(&mut State)) -> Result<(), Errno> {
        let (mut state, power) = self.sync_turn()?;
        if power == Power::GoesNow {
            return Err(Errno::EIO);
        }
        what(&mut state);
        Ok(())
    }
}

impl Filesystem for Disk {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Buffered writes wait in the page cache. A kernel without that sends them at once: also a disk, a milder one.
        let _ = config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE);
        Ok(())
    }

    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.entry(folder, name) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let state = self.state();
        match state.alive().and_then(|()| Self::attributes(&state, number.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = (|| {
            let mut state = self.state();
            state.alive()?;
            if let Some(bytes) = size {
                let power = state.change()?;
                let old = state.tree.file_mut(number.0).ok_or(Errno::ENOENT)?.seen().len() as u64;
                state.room_for(bytes.saturating_sub(old))?;
                state.tree.file_mut(number.0).ok_or(Errno::ENOENT)?.resize(bytes as usize);
                if power == Power::GoesNow {
                    return Err(Errno::EIO);
                }
            }
            Self::attributes(&state, number.0)
        })();
        match changed {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(&self, _: &Request, folder: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        match self.make(folder, name, Node::folder()) {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(folder, name, Node::File(Content::default())) {
            Ok(attributes) => reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.rename_in(|tree| {
            tree.find(folder.0, name).ok_or(Errno::ENOENT)?;
            tree.remove(folder.0, name);
            Ok(())
        });
        empty(reply, removed);
    }

    fn rmdir(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.rename_in(|tree| {
            let number = tree.find(folder.0, name).ok_or(Errno::ENOENT)?;
            if tree.names(number).is_none_or(|names| !names.is_empty()) {
                return Err(Errno::ENOTEMPTY);
            }
            tree.remove(folder.0, name);
            Ok(())
        });
        empty(reply, removed);
    }

    fn rename(
        &self,
        _: &Request,
        folder: INodeNo,
        name: &OsStr,
        to_folder: INodeNo,
        to_name: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = self.rename_in(|tree| tree.rename((folder.0, name), (to_folder.0, to_name)).ok_or(Errno::ENOENT));
        empty(reply, renamed);
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let state = self.state();
        match state.alive() {
            Ok(()) if state.refuses_direct && flags.0 & libc::O_DIRECT != 0 => reply.error(Errno::EINVAL),
            // What the kernel has cached of a file stays good: only it changes the file.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.state();
        let bytes = state.alive().and_then(|()| match state.tree.node(number.0) {
            Some(Node::File(content)) => {
                let from = content.seen().get(offset as usize..).unwrap_or(&[]);
                Ok(&from[..from.len().min(size as usize)])
            }
            _ => Err(Errno::ENOENT),
        });
        match bytes {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_file(number, offset, bytes, flags) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let synced = self.sync(|state| {
            state.counts.syncs += 1;
            if let Some(content) = state.tree.file_mut(number.0) {
                content.sync();
            }
        });
        empty(reply, synced);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let synced = self.sync(|state| {
            state.counts.folder_syncs += 1;
            state.tree.sync_folder(number.0);
        });
        empty(reply, synced);
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.state();
        let names = state.alive().and_then(|()| state.tree.names(number.0).ok_or(Errno::ENOTDIR));
        let names = match names {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        for (index, (name, number)) in names.iter().enumerate().skip(offset as usize) {
            let kind = match state.tree.node(*number) {
                Some(Node::Folder { .. }) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(*number), index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (free, all) = self.room();
        let (free, all) = (free / BLOCK_BYTES, all / BLOCK_BYTES);
        reply.statfs(all, free, free, 1 << 20, 1 << 20, BLOCK_BYTES as u32, 255, BLOCK_BYTES as u32);
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Mounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts. Files that are still open keep it from that.
    pub fn unmount(mut self) -> io::Result<()> {
        self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}
