//! A disk in memory that forgets what was not synced, for tests.
//!
//! A write that was not synced may, after a power cut, be there, not be there, or be there in part; names that were not
//! synced may vanish. A write through a `Direct` file is synced when it returns, and may be cut while it is under way.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::lock::lock;
use crate::storage::{Access, File, InUse, Storage, WritePath};

/// Sector of the simulated disk: a write is torn at its borders.
const SECTOR_BYTES: usize = 512;

/// A file's content as programs see it, and as the disk has it.
#[derive(Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that are in `seen` and may not be in `durable`: place and bytes.
    unsynced: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, Arc<Mutex<Inode>>>,
    durable_names: BTreeMap<String, Arc<Mutex<Inode>>>,
    power_off: bool,
    /// Calls that change the disk until it goes off.
    cut_after: Option<u64>,
    fail_syncs: u64,
    capacity: Option<u64>,
    /// Direct writes, in order.
    writes: Vec<SimWrite>,
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
    state: Arc<Mutex<State>>,
    locked: Arc<AtomicBool>,
    direct: bool,
}

impl SimDisk {
    pub(crate) fn new(direct: bool) -> Self {
        Self { direct, ..Self::default() }
    }

    /// This disk as a queue takes it.
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// Turns the power off after this many more writes and syncs; the last one is cut in the middle.
    pub(crate) fn cut_after(&self, calls: u64) {
        lock(&self.state).cut_after = Some(calls);
    }

    /// Makes the next syncs, and direct writes, fail.
    pub(crate) fn fail_syncs(&self, count: u64) {
        lock(&self.state).fail_syncs = count;
    }

    /// Bounds the bytes of all files.
    pub(crate) fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.state).capacity = bytes;
    }

    pub(crate) fn is_off(&self) -> bool {
        lock(&self.state).power_off
    }

    pub(crate) fn power_off(&self) {
        lock(&self.state).power_off = true;
    }

    pub(crate) fn take_writes(&self) -> Vec<SimWrite> {
        std::mem::take(&mut lock(&self.state).writes)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.state).names.keys().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        let inode = lock(&self.state).names.get(name).cloned();
        inode.map(|inode| lock(&inode).seen.clone()).unwrap_or_default()
    }

    /// Changes a file behind everybody's back.
    pub(crate) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let inode = lock(&self.state).names.get(name).cloned().unwrap();
        let mut inode = lock(&inode);
        change(&mut inode.seen);
        inode.durable = inode.seen.clone();
        inode.unsynced.clear();
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = lock(&self.state);
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// What programs see now, on another disk: the state after a process kill.
    pub(crate) fn copy(&self) -> Self {
        self.image(|inode| inode.seen.clone(), |state| &state.names)
    }

    /// The disk after the power came back: each write that was not synced is there, not there, or there in part.
    pub(crate) fn reboot(&self, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let keep_names = random.random_bool(0.5);
        let content = |inode: &Inode| {
            let mut bytes = inode.durable.clone();
            for (at, write) in &inode.unsynced {
                for (number, sector) in write.chunks(SECTOR_BYTES).enumerate() {
                    if random.random_bool(0.5) {
                        put_at(&mut bytes, at + number * SECTOR_BYTES, sector);
                    }
                }
            }
            bytes
        };
        self.image(content, |state| if keep_names { &state.names } else { &state.durable_names })
    }

    fn image(
        &self,
        mut content: impl FnMut(&Inode) -> Vec<u8>,
        names: impl Fn(&State) -> &BTreeMap<String, Arc<Mutex<Inode>>>,
    ) -> Self {
        let state = lock(&self.state);
        let mut copy = BTreeMap::new();
        for (name, inode) in names(&state) {
            let bytes = content(&lock(inode));
            let inode = Inode { seen: bytes.clone(), durable: bytes, unsynced: Vec::new() };
            copy.insert(name.clone(), Arc::new(Mutex::new(inode)));
        }
        let state = State { names: copy.clone(), durable_names: copy, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)), locked: Arc::default(), direct: self.direct }
    }
}

impl State {
    /// Counts a call that changes the disk; `Ok(true)` means that it is the one in whose middle the power goes.
    fn change(&mut self) -> io::Result<bool> {
        if self.power_off {
            return Err(io::Error::other("the power is off"));
        }
        match &mut self.cut_after {
            None => Ok(false),
            Some(0) => {
                self.power_off = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.power_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn room_for(&self, more: usize) -> io::Result<()> {
        let used: usize = self.names.values().map(|inode| lock(inode).seen.len()).sum();
        match self.capacity {
            Some(capacity) if (used + more) as u64 > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

fn put_at(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() < at + piece.len() {
        bytes.resize(at + piece.len(), 0);
    }
    bytes[at..at + piece.len()].copy_from_slice(piece);
}

fn off() -> io::Error {
    io::Error::other("the power went off")
}

impl Storage for SimDisk {
    fn create_dir(&self, _: &str) -> io::Result<()> {
        lock(&self.state).alive()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        let state = lock(&self.state);
        state.alive()?;
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside = |(name, inode): (&String, &Arc<Mutex<Inode>>)| {
            let rest = name.strip_prefix(&prefix)?;
            (!rest.contains('/')).then(|| (rest.to_string(), lock(inode).seen.len() as u64))
        };
        Ok(state.names.iter().filter_map(inside).collect())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        let mut state = lock(&self.state);
        state.alive()?;
        if access == Access::Direct && !self.direct {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if access == Access::Create {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.insert(name.to_string(), Arc::default());
        }
        let inode = state.names.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        let direct = access == Access::Direct;
        Ok(Box::new(SimFile { name: name.to_string(), disk: self.clone(), inode, direct }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.change()? {
            return Err(off());
        }
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_string(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.change()? {
            return Err(off());
        }
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.change()? {
            return Err(off());
        }
        let inside = |name: &str| name.rsplit_once('/').map_or("", |(dir, _)| dir) == dir;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|name, _| !inside(name));
        let new = names.iter().filter(|(name, _)| inside(name));
        durable_names.extend(new.map(|(name, inode)| (name.clone(), Arc::clone(inode))));
        Ok(())
    }

    fn lock(&self, _: &str) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        struct Guard(Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        if self.locked.swap(true, Ordering::SeqCst) {
            return Ok(None);
        }
        Ok(Some(Box::new(Guard(Arc::clone(&self.locked)))))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        // As on many a file system, this promises more than there is.
        Ok(u64::MAX)
    }

    fn in_use(&self, _: &str) -> InUse {
        if self.locked.load(Ordering::SeqCst) { InUse::Unknown } else { InUse::No }
    }

    fn write_path(&self, _: &InUse, _: &str, _: Option<&str>) -> WritePath {
        if self.direct { WritePath::DirectPossible } else { WritePath::PageCacheOnly }
    }
}

struct SimFile {
    name: String,
    disk: SimDisk,
    inode: Arc<Mutex<Inode>>,
    direct: bool,
}

impl File for SimFile {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        lock(&self.disk.state).alive()?;
        let inode = lock(&self.inode);
        let from = inode.seen.get(offset as usize..).unwrap_or(&[]);
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let mut state = lock(&self.disk.state);
        let cut = state.change()?;
        let at = offset as usize;
        let grows = (at + bytes.len()).saturating_sub(lock(&self.inode).seen.len());
        if grows > 0 {
            state.room_for(grows)?;
        }
        if self.direct {
            assert!(at.is_multiple_of(4096) && bytes.len().is_multiple_of(4096), "unaligned direct write");
            let aligned = |piece: &IoSlice<'_>| piece.as_ptr().addr().is_multiple_of(SECTOR_BYTES);
            assert!(pieces.iter().all(aligned), "unaligned memory");
        }
        if self.direct {
            state.writes.push(SimWrite { name: self.name.clone(), offset, bytes: bytes.clone() });
        }
        let mut inode = lock(&self.inode);
        put_at(&mut inode.seen, at, &bytes);
        if cut || !self.direct {
            inode.unsynced.push((at, bytes));
        } else if state.fail_syncs > 0 {
            state.fail_syncs -= 1;
            inode.unsynced.push((at, bytes));
            return Err(io::Error::from_raw_os_error(5));
        } else {
            put_at(&mut inode.durable, at, &bytes);
            // What failed here earlier cannot come back over it.
            inode.unsynced.retain(|(from, write)| *from < at || at + bytes.len() < from + write.len());
        }
        if cut { Err(off()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.disk.state);
        if state.change()? {
            return Err(off());
        }
        if state.fail_syncs > 0 {
            state.fail_syncs -= 1;
            return Err(io::Error::from_raw_os_error(5));
        }
        let mut inode = lock(&self.inode);
        inode.durable = inode.seen.clone();
        inode.unsynced.clear();
        Ok(())
    }

    fn writes_through(&self) -> bool {
        self.direct
    }

    fn forget_cached(&self) -> io::Result<()> {
        lock(&self.disk.state).alive()
    }
}
