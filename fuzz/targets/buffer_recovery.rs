//! See `local_buffer::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| local_buffer::fuzzing::recovery(bytes));
