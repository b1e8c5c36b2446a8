//! Gives librdkafka the allocator that the rest of `tapi` has.
//!
//! librdkafka allocates five times for each record, and frees a thousand and more at once when a batch was acknowledged.
//! With the C library's allocator that was a quarter of the processor time of a drain (2 cores, AMD EPYC, 2026-11-25:
//! 2.9 us a record, without it 2.5).
//!
//! mimalloc's own feature `override` would do the same to every program that is built in one call of cargo, and to none
//! of them in another one: features are unified. Names given at the link are the binary's alone.

/// All that the C library's manual asks of a program that brings its own allocator, and mimalloc's names for it.
const FUNCTIONS: [(&str, &str); 10] = [
    ("malloc", "mi_malloc"),
    ("calloc", "mi_calloc"),
    ("realloc", "mi_realloc"),
    ("free", "mi_free"),
    ("aligned_alloc", "mi_aligned_alloc"),
    ("memalign", "mi_memalign"),
    ("posix_memalign", "mi_posix_memalign"),
    ("pvalloc", "mi_pvalloc"),
    ("valloc", "mi_valloc"),
    ("malloc_usable_size", "mi_malloc_usable_size"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for (name, ours) in FUNCTIONS {
        println!("cargo::rustc-link-arg-bin=tapi=-Wl,--defsym={name}={ours}");
    }
}
