//! The file of daily quotas.

use zlib_rs::crc32::crc32;

use crate::quotas::file::{decode, encode};

/// What is read is written and read again as the same; the bytes as they are, and as a file whose checksum holds.
pub fn quotas(bytes: &[u8]) {
    check(bytes);
    let mut sealed = [b"TURNQUOT\x01\0\0\0", bytes].concat();
    let sum = crc32(0, &sealed);
    sealed.extend_from_slice(&sum.to_le_bytes());
    check(&sealed);
}

fn check(bytes: &[u8]) {
    if let Some(counts) = decode(bytes) {
        assert_eq!(decode(&encode(&counts)), Some(counts));
    }
}
