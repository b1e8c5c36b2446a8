//! Asks the processor to bring a cache line near before it is needed: a batch's misses then wait together, not in turn.

/// Starts loading the line that `value` begins on. Does nothing where the processor has no such instruction.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(unsafe_code, reason = "the instruction has no safe wrapper in std")]
        // SAFETY: prefetching reads nothing into the program and cannot fault; the address is that of a live reference.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
