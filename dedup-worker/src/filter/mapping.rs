//! Zeroed memory of its own, on huge pages where the system has them.
//!
//! A filter of 100 MB is read at random: with 4 KiB pages nearly every probe also misses the processor's table of
//! pages. Linux gives huge pages to those who ask (`madvise`), and asking is only sound for memory that is ours alone.

#![expect(unsafe_code, reason = "mmap, madvise and munmap have no safe wrapper among this program's packages")]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::{io, ptr, slice};

/// A cache line of filter.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Block(pub(super) [u64; 8]);

/// An array of zeroed blocks, aligned to a page.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<Block>,
    blocks: usize,
}

// SAFETY: the mapping is owned by one value and has no thread-bound state; access follows the borrow rules of `Deref`.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference gives only shared blocks.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `blocks`, at least one.
    ///
    /// # Errors
    /// Where the system has no memory left.
    pub(super) fn new(blocks: usize) -> io::Result<Self> {
        let blocks = blocks.max(1);
        // SAFETY: a new private anonymous mapping at an address that the system chooses touches no existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                blocks * size_of::<Block>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made. The advice may be refused; it changes speed only.
        unsafe { libc::madvise(start, blocks * size_of::<Block>(), libc::MADV_HUGEPAGE) };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap at address zero"))?;
        Ok(Self { start, blocks })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping that this value alone owns.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.blocks * size_of::<Block>()) };
    }
}

impl Deref for Mapping {
    type Target = [Block];

    fn deref(&self) -> &[Block] {
        // SAFETY: the mapping holds `blocks` blocks, page-aligned, initialised to zero; every bit pattern is a block.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.blocks) }
    }
}

impl DerefMut for Mapping {
    fn deref_mut(&mut self) -> &mut [Block] {
        // SAFETY: as for `deref`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.blocks) }
    }
}
