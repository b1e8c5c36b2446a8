//! gzip, undone into a reused buffer, with the bound applied while inflating: a gigabyte of zeros costs one mebibyte.
//!
//! The frame is read here and not by the library, because several members in a row are one body, and the library's
//! reusable state knows only what lies inside a member.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use wire::limits::REQUEST_BYTES_MAX;

use crate::reject::Reject;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Bytes of the buffer to begin with: most bodies of an SDK fit.
const OUT_BYTES_MIN: usize = 64 * 1024;

/// The inflater of one thread.
pub(crate) struct Inflater {
    state: Decompress,
    /// At most one byte more than the bound, by which a body that is too long is known.
    out: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { state: Decompress::new(false), out: Vec::new() }
    }

    /// The plain body; it lies here until the next call.
    pub(crate) fn gunzip(&mut self, body: &[u8]) -> Result<&[u8], Reject> {
        self.out.clear();
        if self.out.capacity() == 0 {
            self.out.reserve_exact(OUT_BYTES_MIN);
        }
        let mut rest = body;
        loop {
            rest = self.member(rest)?;
            // Some writers pad with zeros.
            if rest.iter().all(|byte| *byte == 0) {
                return Ok(&self.out);
            }
        }
    }

    /// Inflates one member and returns what follows it.
    fn member<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reject> {
        let mut rest = after_header(bytes).ok_or(Reject::BadGzip)?;
        let start = self.out.len();
        self.state.reset(false);
        loop {
            self.make_room();
            let (in_before, out_before) = (self.state.total_in(), self.out.len());
            let status = self.state.decompress_vec(rest, &mut self.out, FlushDecompress::None);
            let status = status.map_err(|_| Reject::BadGzip)?;
            let taken = (self.state.total_in() - in_before) as usize;
            rest = &rest[taken..];
            if self.out.len() > REQUEST_BYTES_MAX {
                return Err(Reject::BodyTooLarge);
            }
            match status {
                Status::StreamEnd => break,
                // Neither ate nor gave although there was room: the body is cut short.
                _ if taken == 0 && self.out.len() == out_before => return Err(Reject::BadGzip),
                _ => {}
            }
        }
        let (trailer, rest) = rest.split_first_chunk::<8>().ok_or(Reject::BadGzip)?;
        let plain = &self.out[start..];
        let mut crc = Crc::new();
        crc.update(plain);
        let expected = (u64::from(plain.len() as u32) << 32) | u64::from(crc.sum());
        if u64::from_le_bytes(*trailer) == expected { Ok(rest) } else { Err(Reject::BadGzip) }
    }

    fn make_room(&mut self) {
        let (length, capacity) = (self.out.len(), self.out.capacity());
        if length == capacity {
            let wanted = (capacity * 2).min(REQUEST_BYTES_MAX + 1);
            self.out.reserve_exact(wanted - length);
        }
    }
}

/// What follows the header of a member.
fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    let (fixed, mut rest) = bytes.split_first_chunk::<10>()?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else { return None };
    if flags & FLAGS_RESERVED != 0 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, tail) = rest.split_first_chunk()?;
        rest = tail.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for _ in 0..(flags & (FLAG_NAME | FLAG_COMMENT)).count_ones() {
        rest = &rest[memchr::memchr(0, rest)? + 1..];
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bodies_come_out_as_they_were() {
        let mut inflater = Inflater::new();
        let long: Vec<u8> =
            (0..REQUEST_BYTES_MAX as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for plain in [&b""[..], b"{}", &long[..OUT_BYTES_MIN], &long[..=OUT_BYTES_MIN], &long] {
            assert_eq!(inflater.gunzip(&gzip(plain)).unwrap(), plain);
        }
    }

    #[test]
    fn members_in_a_row_are_one_body() {
        let body = [gzip(b"{\"a\""), gzip(b""), gzip(b":1}"), vec![0; 7]].concat();
        assert_eq!(Inflater::new().gunzip(&body).unwrap(), b"{\"a\":1}");
    }

    #[test]
    fn every_field_of_a_header_is_skipped() {
        let builder = GzBuilder::new().filename("name").comment("comment").extra([1, 2, 3].to_vec());
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(b"{}").unwrap();
        assert_eq!(Inflater::new().gunzip(&encoder.finish().unwrap()).unwrap(), b"{}");
    }

    #[test]
    fn every_truncation_and_flipped_byte_is_bad() {
        let plain = br#"{"batch":[{"type":"track"},{"type":"track"}]}"#;
        let good = gzip(plain);
        let mut inflater = Inflater::new();
        for end in 0..good.len() {
            assert_eq!(inflater.gunzip(&good[..end]), Err(Reject::BadGzip), "{end}");
        }
        // Bytes 4 to 9 of the header are time, level and system: nothing depends on them.
        for index in (0..4).chain(10..good.len()) {
            let mut bad = good.clone();
            bad[index] ^= 0x20;
            // The last byte of the data has bits that mean nothing.
            let padding = index == good.len() - 9;
            assert!(inflater.gunzip(&bad).map_or(true, |out| padding && out == plain), "{index}");
        }
        assert_eq!(inflater.gunzip(b"{\"plain\":1}"), Err(Reject::BadGzip));
        assert_eq!(inflater.gunzip(&[good.clone(), b"x".to_vec()].concat()), Err(Reject::BadGzip));
        assert!(inflater.gunzip(&good).is_ok());
    }

    #[test]
    fn a_bomb_costs_the_bound() {
        let mut inflater = Inflater::new();
        assert_eq!(inflater.gunzip(&gzip(&vec![0; REQUEST_BYTES_MAX + 1])), Err(Reject::BodyTooLarge));
        assert!(inflater.gunzip(&gzip(&vec![0; REQUEST_BYTES_MAX])).is_ok());
        // A gigabyte in a megabyte: 1,024 members of a mebibyte.
        let bomb = gzip(&vec![0; REQUEST_BYTES_MAX]).repeat(1024);
        assert_eq!(inflater.gunzip(&bomb), Err(Reject::BodyTooLarge));
        assert!(inflater.out.capacity() <= REQUEST_BYTES_MAX + 1, "{}", inflater.out.capacity());
    }
}
