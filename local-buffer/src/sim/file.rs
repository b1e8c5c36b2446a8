//! An open file of a simulated disk.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use crate::sim::{Disk, EIO, Fault, SECTOR_BYTES, SimWrite, lock, off};
use crate::storage::File;

pub(super) struct SimFile {
    pub(super) name: String,
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) file: usize,
    /// Writes are whole blocks, from memory that starts at a sector.
    pub(super) direct: bool,
    /// They are safe when they return.
    pub(super) through: bool,
}

impl File for SimFile {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("read")?;
        let file = &disk.state.files[self.file];
        let at = offset as usize;
        if file.bad.iter().any(|bad| bad.start < at + to.len() && at < bad.end) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let from = file.seen.get(at..).unwrap_or(&[]);
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let at = offset as usize;
        if self.direct {
            assert!(at.is_multiple_of(4096) && bytes.len().is_multiple_of(4096), "unaligned direct write");
            let aligned = |piece: &IoSlice<'_>| piece.as_ptr().addr().is_multiple_of(SECTOR_BYTES);
            assert!(cfg!(miri) || pieces.iter().all(aligned), "unaligned memory");
        }
        let mut disk = lock(&self.disk);
        let mut fault = disk.enter("write")?;
        let grows = (at + bytes.len()).saturating_sub(disk.state.files[self.file].seen.len());
        if grows > 0 {
            disk.room_for(grows)?;
        }
        if self.through && fault.is_none() && disk.fail_syncs > 0 {
            disk.fail_syncs -= 1;
            fault = Some(Fault { code: EIO, reached: 255 });
        }
        let file = self.file;
        let cut = disk.change(|state| state.files[file].write(at, bytes.clone()));
        if self.through {
            disk.writes.push(SimWrite { name: self.name.clone(), offset, bytes: bytes.clone() });
        }
        let inode = &mut disk.state.files[file];
        if let Some(Fault { code, reached }) = fault {
            // A short write; of a direct one, all of it may lie in the cache of a disk that failed to empty it.
            let part = bytes.len() * reached as usize / 255;
            let part = if self.direct { part / SECTOR_BYTES * SECTOR_BYTES } else { part };
            bytes.truncate(part);
            inode.write(at, bytes);
            return Err(if cut { off() } else { io::Error::from_raw_os_error(code) });
        }
        if cut || !self.through {
            inode.write(at, bytes);
        } else {
            inode.write_through(at, &bytes);
        }
        if cut { Err(off()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let mut fault = disk.enter("sync")?;
        if fault.is_none() && disk.fail_syncs > 0 {
            disk.fail_syncs -= 1;
            fault = Some(Fault { code: EIO, reached: 0 });
        }
        if disk.change(|_| ()) {
            return Err(off());
        }
        let inode = &mut disk.state.files[self.file];
        if let Some(Fault { code, reached }) = fault {
            inode.fail_sync(reached);
            return Err(io::Error::from_raw_os_error(code));
        }
        inode.sync();
        Ok(())
    }

    fn writes_through(&self) -> bool {
        self.through
    }

    fn forget_cached(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.enter_whole("forget_cached")?;
        disk.state.files[self.file].forget();
        Ok(())
    }
}
