//! Zeroed memory of its own, on huge pages where the system has them.
//!
//! Filters and open digests are read at random: with 4 KiB pages nearly every probe also misses the processor's table
//! of pages, and inside a virtual machine that costs as much again. Linux gives huge pages to those who ask
//! (`madvise`), and asking is only sound for memory that is ours alone.

#![expect(unsafe_code, reason = "mmap, madvise and munmap have no safe wrapper among this program's packages")]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::{io, ptr, slice};

/// Types of which all zeroes is a value, aligned to less than a page.
///
/// # Safety
/// As it says: memory of zeroes is read as values of the type.
pub(crate) unsafe trait Zeroed: Copy {}

/// A cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u64; 8]);

// SAFETY: eight integers.
unsafe impl Zeroed for Line {}
// SAFETY: one integer, as `repr(transparent)` says.
unsafe impl Zeroed for crate::fingerprint::Entry {}

/// An array of zeroed values, aligned to a page.
#[derive(Debug)]
pub(crate) struct Mapping<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: the mapping is owned by one value and has no thread-bound state; access follows the borrow rules of `Deref`.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: as above; a shared reference gives only shared values.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T: Zeroed> Mapping<T> {
    /// Maps `len` values, at least one.
    ///
    /// # Errors
    /// Where the system has no memory left.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        let len = len.max(1);
        let bytes = len.checked_mul(size_of::<T>()).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: a new private anonymous mapping at an address that the system chooses touches no existing memory.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
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
        unsafe { libc::madvise(start, bytes, libc::MADV_HUGEPAGE) };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mmap at address zero"))?;
        Ok(Self { start, len })
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping that this value alone owns.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len * size_of::<T>()) };
    }
}

impl<T> Deref for Mapping<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `len` values, page-aligned, initialised to zero, which `Zeroed` says is a value.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Mapping<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
