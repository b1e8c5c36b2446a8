//! A disk in memory that behaves as the kernel and the hardware may, for tests.
//!
//! - A write is seen by every reader at once, and is safe only after a sync of its file. Until then each of its sectors
//!   may be on the disk or not, whatever the order of the writes.
//! - A name that was made, changed or removed is safe only after a sync of its folder; until then each such change may
//!   be lost by itself. A rename within a folder is one change, between folders two.
//! - A sync that fails leaves its writes *clean*: readers still see them, and no later sync writes them. When the page
//!   cache forgets them they are gone.
//! - A write through a `Direct` file is safe when it returns, and may be cut or fail in its middle. One through a
//!   `CreateDirect` file is safe after a sync, as any other: the disk has a cache of its own.
//!
//! The power can be cut, and a fault put, at any call; [`crash`] says what a cut may leave.

mod crash;
mod file;
mod state;

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use crash::{Odometer, dice};
pub(crate) use state::{NameChange, State};

use crate::sim::file::SimFile;
use crate::storage::{Access, File, InUse, Storage, WritePath};

/// Sector of the simulated disk: what is written whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;
/// The system's number for an input/output error.
pub(crate) const EIO: i32 = 5;
/// The system's number for a full disk.
pub(crate) const ENOSPC: i32 = 28;

/// Hears of each call that changes the disk, with everything in doubt that a cut in its middle puts in doubt, and the
/// kind of the call that has failed by then.
pub(crate) type Recorder = Box<dyn FnMut(State, Option<&'static str>) + Send>;

/// A fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The error's number.
    pub(crate) code: i32,
    /// How much of a write, or of what a sync should write, reaches the disk all the same, of 255.
    pub(crate) reached: u8,
}

#[derive(Default)]
struct Disk {
    state: State,
    power_off: bool,
    /// Calls that change the disk until it goes off.
    cut_after: Option<u64>,
    /// All calls so far.
    calls: u64,
    /// The call that fails.
    fault: Option<(u64, Fault)>,
    /// What kind of call it was, once it came.
    failed: Option<&'static str>,
    fail_syncs: u64,
    capacity: Option<u64>,
    /// Direct writes that were safe when they returned, in order.
    writes: Vec<SimWrite>,
    recorder: Option<Recorder>,
}

/// A direct write: to which file, as it was named when it was opened, where, and what.
pub(crate) struct SimWrite {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    disk: Arc<Mutex<Disk>>,
    locked: Arc<AtomicBool>,
    direct: bool,
}

impl SimDisk {
    /// An empty disk; `direct` says whether it takes writes past the page cache.
    pub(crate) fn new(direct: bool) -> Self {
        Self { direct, ..Self::default() }
    }

    /// A disk in this state.
    pub(crate) fn of(state: State, direct: bool) -> Self {
        let disk = Disk { state, ..Disk::default() };
        Self { disk: Arc::new(Mutex::new(disk)), locked: Arc::default(), direct }
    }

    /// This disk as a queue takes it.
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Turns the power off after this many more changing calls; the last one is cut in the middle.
    pub(crate) fn cut_after(&self, calls: u64) {
        lock(&self.disk).cut_after = Some(calls);
    }

    /// Lets the call after this many more fail.
    pub(crate) fn fail_after(&self, calls: u64, fault: Fault) {
        let mut disk = lock(&self.disk);
        disk.fault = Some((disk.calls + calls, fault));
    }

    /// Nothing that was planned will happen, and there is room.
    pub(crate) fn calm(&self) {
        let mut disk = lock(&self.disk);
        (disk.cut_after, disk.fault, disk.fail_syncs, disk.capacity) = (None, None, 0, None);
    }

    /// Makes the next syncs, and direct writes, fail.
    pub(crate) fn fail_syncs(&self, count: u64) {
        lock(&self.disk).fail_syncs = count;
    }

    /// Bounds the bytes of all files.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.disk).capacity = bytes;
    }

    /// Tells `recorder` of every changing call from now on.
    pub(crate) fn record(&self, recorder: Option<Recorder>) {
        lock(&self.disk).recorder = recorder;
    }

    /// The kind of the call that failed.
    pub(crate) fn failed(&self) -> Option<&'static str> {
        lock(&self.disk).failed
    }

    pub(crate) fn is_off(&self) -> bool {
        lock(&self.disk).power_off
    }

    pub(crate) fn power_off(&self) {
        lock(&self.disk).power_off = true;
    }

    pub(crate) fn take_writes(&self) -> Vec<SimWrite> {
        std::mem::take(&mut lock(&self.disk).writes)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.disk).state.names.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        lock(&self.disk).state.file(name).map(|file| file.seen.to_vec()).unwrap_or_default()
    }

    /// Changes a file, or makes it, behind everybody's back.
    pub(crate) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        lock(&self.disk).state.tamper(name, change);
    }

    /// Makes bytes of a file unreadable until they are written again.
    pub(crate) fn spoil(&self, name: &str, bytes: std::ops::Range<usize>) {
        lock(&self.disk).state.spoil(name, bytes);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut disk = lock(&self.disk);
        disk.state.names.remove(name);
        disk.state.durable_names.remove(name);
    }

    /// What programs and the kernel have now.
    pub(crate) fn state(&self) -> State {
        lock(&self.disk).state.clone()
    }

    /// What programs see now, all of it safe, on another disk.
    pub(crate) fn copy(&self) -> Self {
        Self::of(self.state().all_safe(), self.direct)
    }

    /// The disk after the process died: what the kernel has stays, safe or not.
    pub(crate) fn kill(&self) -> Self {
        let copy = Self::new(self.direct);
        let mut disk = lock(&self.disk);
        *lock(&copy.disk) = Disk {
            state: disk.state.clone(),
            capacity: disk.capacity,
            recorder: disk.recorder.take(),
            calls: disk.calls,
            fault: disk.fault.take(),
            failed: disk.failed,
            ..Disk::default()
        };
        copy
    }

    /// The disk after the power came back: of what was in doubt nothing, all, or what the dice say is there.
    pub(crate) fn reboot(&self, seed: u64) -> Self {
        let mut dice = dice(seed);
        let way = dice(4);
        let mut choose = |sides: usize| match way {
            0 => 0,
            1 => sides - 1,
            _ => dice(sides),
        };
        Self::of(self.state().after_cut(&mut choose), self.direct)
    }
}

impl Disk {
    /// Counts a call; fails it if it is the one, or if the power is off.
    fn enter(&mut self, kind: &'static str) -> io::Result<Option<Fault>> {
        if self.power_off {
            return Err(io::Error::other("the power is off"));
        }
        let number = self.calls;
        self.calls += 1;
        let due = self.fault.take_if(|(at, _)| *at == number);
        Ok(due.map(|(_, fault)| {
            self.failed = Some(kind);
            fault
        }))
    }

    /// The same for a call that can only fail as a whole.
    fn enter_whole(&mut self, kind: &'static str) -> io::Result<()> {
        match self.enter(kind)? {
            Some(fault) => Err(io::Error::from_raw_os_error(fault.code)),
            None => Ok(()),
        }
    }

    /// Counts a call that changes the disk, and tells the recorder what it puts in doubt. `Ok(true)` means that it is
    /// the one in whose middle the power goes.
    fn change(&mut self, doubt: impl FnOnce(&mut State)) -> bool {
        if let Some(recorder) = &mut self.recorder {
            let mut state = self.state.clone();
            doubt(&mut state);
            recorder(state, self.failed);
        }
        match &mut self.cut_after {
            None => false,
            Some(0) => {
                self.power_off = true;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn room_for(&self, more: usize) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if (self.state.bytes() + more) as u64 > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    /// A change of names, which is in doubt until its folder is synced.
    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        let cut = self.change(|state| state.changes.push(change.clone()));
        change.apply(&mut self.state.names);
        self.state.changes.push(change);
        if cut { Err(off()) } else { Ok(()) }
    }
}

/// Always a mutex of the standard library: to loom a call to the disk is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn off() -> io::Error {
    io::Error::other("the power went off")
}

impl Storage for SimDisk {
    fn create_dir(&self, _: &str) -> io::Result<()> {
        lock(&self.disk).enter_whole("create_dir")
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("list")?;
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let state = &disk.state;
        let inside = |(name, file): (&String, &usize)| {
            let rest = name.strip_prefix(&prefix)?;
            (!rest.contains('/')).then(|| (rest.to_string(), state.files[*file].seen.len() as u64))
        };
        Ok(state.names.iter().filter_map(inside).collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("open")?;
        let (direct, through) = (access.is_direct(), access == Access::Direct);
        if direct && !self.direct {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if access.creates() {
            if disk.state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = disk.state.new_file();
            disk.change_name(NameChange::Link { name: name.to_string(), file })?;
        }
        let file = *disk.state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile { name: name.to_string(), disk: Arc::clone(&self.disk), file, direct, through }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("rename")?;
        let file = *disk.state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let (from, to) = (from.to_string(), to.to_string());
        if state::folder(&from) == state::folder(&to) {
            return disk.change_name(NameChange::Rename { from, to, file });
        }
        disk.change_name(NameChange::Link { name: to, file })?;
        disk.change_name(NameChange::Unlink { name: from, file })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("remove")?;
        let file = *disk.state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        disk.change_name(NameChange::Unlink { name: name.to_string(), file })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("sync_dir")?;
        if disk.change(|_| ()) {
            return Err(off());
        }
        disk.state.sync_folder(dir);
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        lock(&self.disk).enter_whole("lock")?;
        if self.locked.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        Ok(Some(Box::new(Guard(Arc::clone(&self.locked)))))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        // As on many a file system, this promises more than there is.
        lock(&self.disk).enter_whole("free_bytes").map(|()| u64::MAX)
    }

    fn in_use(&self, _: &str) -> InUse {
        if self.locked.load(Ordering::SeqCst) { InUse::Unknown } else { InUse::No }
    }

    fn write_path(&self, _: &InUse, _: &str, _: Option<&str>) -> WritePath {
        if self.direct { WritePath::DirectPossible } else { WritePath::PageCacheOnly }
    }
}
