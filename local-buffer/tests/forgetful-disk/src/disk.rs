//! The disk behind the mounts: its tree, its faults, its counters.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::Errno;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::Fate;
use crate::tree::Tree;

/// What was asked of a disk so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes through files opened with both `O_DIRECT` and `O_DSYNC`.
    pub direct_writes: u64,
    /// Their bytes.
    pub direct_bytes: u64,
    /// Bytes of writes through files opened with `O_DIRECT` alone: past the page cache, and forgotten without a sync.
    pub unsynced_direct_bytes: u64,
    /// All other writes: those that the kernel's page cache sent.
    pub cached_writes: u64,
    /// Their bytes.
    pub cached_bytes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of folders.
    pub folder_syncs: u64,
    /// Writes, and changes of names, that were refused because the disk is full.
    pub refused_full: u64,
}

/// A disk that forgets. Clones are the same disk; it outlives its mounts.
#[derive(Clone, Default)]
pub struct Disk {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Tells those who hang that something has changed.
    freed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) counts: Counts,
    pub(crate) refuses_direct: bool,
    off: bool,
    /// Changes until the power goes.
    cut_after: Option<u64>,
    changes: u64,
    capacity: Option<u64>,
    fail_syncs: u64,
    sync_time: Duration,
    hangs: bool,
    hanging: u64,
}

/// What a change that is under way shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    /// The power goes in the middle of this change.
    GoesNow,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns the power off in the middle of the change (write, sync, or change of a name) after this many more.
    pub fn cut_after(&self, changes: u64) {
        self.state().cut_after = Some(changes);
    }

    /// Turns the power off: from now on everything fails with `EIO`.
    pub fn power_off(&self) {
        self.state().off = true;
        self.shared.freed.notify_all();
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Turns the power on again after a cut. Unmount the disk first: the kernel has cached what is gone.
    pub fn restore(&self, fate: Fate, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut state = self.state();
        state.tree = state.tree.after_cut(fate, &mut random);
        (state.off, state.cut_after) = (false, None);
    }

    /// Turns the power on again, with everything that was seen still there and as durable as it was: what a process
    /// that was killed leaves.
    pub fn resume(&self) {
        let mut state = self.state();
        (state.off, state.cut_after) = (false, None);
    }

    /// Bounds the bytes of all files.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Makes the next syncs, of files and folders, fail with `EIO`.
    pub fn fail_syncs(&self, count: u64) {
        self.state().fail_syncs = count;
    }

    /// Makes each sync take this long.
    pub fn set_sync_time(&self, time: Duration) {
        self.state().sync_time = time;
    }

    /// Makes syncs wait until this is taken back: a disk that neither answers nor fails.
    pub fn set_hangs(&self, hangs: bool) {
        self.state().hangs = hangs;
        self.shared.freed.notify_all();
    }

    /// Syncs that wait for the disk to stop hanging.
    pub fn hanging(&self) -> u64 {
        self.state().hanging
    }

    /// Makes opening with `O_DIRECT` fail with `EINVAL`, as some file systems do.
    pub fn set_refuses_direct(&self, refuses: bool) {
        self.state().refuses_direct = refuses;
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Changes so far: writes, syncs and changes of names.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.state().tree.bytes()
    }

    /// Bytes that may still be written, and those of the whole disk.
    pub(crate) fn room(&self) -> (u64, u64) {
        let state = self.state();
        let capacity = state.capacity.unwrap_or(1 << 40);
        (capacity.saturating_sub(state.tree.bytes()), capacity)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time that a sync takes, then says whether it may go on.
    pub(crate) fn sync_turn(&self) -> Result<(MutexGuard<'_, State>, Power), Errno> {
        let time = self.state().sync_time;
        std::thread::sleep(time);
        let mut state = self.state();
        state.hanging += 1;
        while state.hangs && !state.off {
            state = self.shared.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.hanging -= 1;
        let power = state.change()?;
        if state.fail_syncs > 0 && power == Power::On {
            state.fail_syncs -= 1;
            return Err(Errno::EIO);
        }
        Ok((state, power))
    }
}

impl State {
    pub(crate) fn alive(&self) -> Result<(), Errno> {
        if self.off { Err(Errno::EIO) } else { Ok(()) }
    }

    /// Counts a change.
    pub(crate) fn change(&mut self) -> Result<Power, Errno> {
        self.alive()?;
        self.changes += 1;
        match &mut self.cut_after {
            None => Ok(Power::On),
            Some(0) => {
                self.off = true;
                Ok(Power::GoesNow)
            }
            Some(left) => {
                *left -= 1;
                Ok(Power::On)
            }
        }
    }

    /// Whether so many more bytes fit.
    pub(crate) fn room_for(&mut self, bytes: u64) -> Result<(), Errno> {
        if bytes > 0 && self.capacity.is_some_and(|capacity| self.tree.bytes() + bytes > capacity) {
            self.counts.refused_full += 1;
            return Err(Errno::ENOSPC);
        }
        Ok(())
    }
}
