//! gzip, undone into a reused buffer, with every bound applied while inflating: a gigabyte of zeros costs one mebibyte, and
//! no body costs more work than its bytes are worth.
//!
//! The frame is read here and not by the library, because several members in a row are one body, and the library's
//! reusable state knows only what lies inside a member.

use wire::limits::REQUEST_BYTES_MAX;
use zlib_rs::crc32::crc32;
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::events::Framed;
use crate::reject::Reject;

const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Bytes of the buffer to begin with: most bodies of an SDK fit.
const OUT_BYTES_MIN: usize = 64 * 1024;
/// The largest window of the format, as the power of two.
const WINDOW_BITS: u8 = 15;
/// Members of one body. Writers that join pieces make a handful; an empty one takes 20 bytes of the body and far more work.
const MEMBERS_MAX: usize = 256;
/// Deflate blocks of one body, those of all members together. A block can bring its own code tables, for which a dozen
/// bytes are made into kilobytes. Writers make one for some 16,000 symbols, and two more wherever they flush: after each
/// event of the longest batch, that is 5,000.
const BLOCKS_MAX: usize = 8_192;
/// What is in the buffer beside a body.
const AROUND: usize = Framed::BEFORE + Framed::BEHIND;
/// Calls in a row that may neither eat nor give: blocks that were read ahead and hold nothing.
const STALLS_MAX: usize = 8;

/// The inflater of one thread.
pub(crate) struct Inflater {
    state: Inflate,
    /// Initialised to its end and only ever grown, so that no call pays for clearing it. Around the body it has what the
    /// parser needs there, and at most one byte more than the bound, by which a body that is too long is known.
    out: Vec<u8>,
    /// Bytes of the plain body, from [`Framed::BEFORE`] on.
    length: usize,
    /// Blocks that the body may still have.
    blocks_left: usize,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { state: Inflate::new(false, WINDOW_BITS), out: Vec::new(), length: 0, blocks_left: 0 }
    }

    /// The plain body; it lies here until the next call.
    pub(crate) fn gunzip(&mut self, body: &[u8]) -> Result<&[u8], Reject> {
        self.length = 0;
        self.blocks_left = BLOCKS_MAX;
        let mut rest = body;
        for _ in 0..MEMBERS_MAX {
            rest = self.member(rest)?;
            // Some writers pad with zeros.
            if rest.first().is_none_or(|first| *first == 0) {
                let is_padding = rest.iter().all(|byte| *byte == 0);
                let plain = &self.out[Framed::BEFORE..][..self.length];
                return if is_padding { Ok(plain) } else { Err(Reject::BadGzip) };
            }
        }
        Err(Reject::GzipInPieces)
    }

    /// The body that the last call found, for the parser to work in.
    pub(crate) fn framed(&mut self) -> Framed<'_> {
        Framed::new(&mut self.out[..AROUND + self.length])
    }

    /// Inflates one member and returns what follows it.
    fn member<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Reject> {
        let mut rest = after_header(bytes).ok_or(Reject::BadGzip)?;
        let start = self.length;
        let mut stalls = 0;
        self.state.reset(false);
        loop {
            self.make_room();
            let (in_before, out_before) = (self.state.total_in(), self.state.total_out());
            // The library pauses behind each block, so that they can be counted.
            let room = Framed::BEFORE + self.length..self.out.len() - Framed::BEHIND;
            let status = self.state.decompress(rest, &mut self.out[room], InflateFlush::Block);
            let status = status.map_err(|_| Reject::BadGzip)?;
            let taken = (self.state.total_in() - in_before) as usize;
            let given = (self.state.total_out() - out_before) as usize;
            rest = &rest[taken..];
            self.length += given;
            if self.length > REQUEST_BYTES_MAX {
                return Err(Reject::BodyTooLarge);
            }
            if status == Status::StreamEnd {
                break;
            }
            stalls = if taken == 0 && given == 0 { stalls + 1 } else { 0 };
            if stalls > STALLS_MAX {
                // The body is cut short.
                return Err(Reject::BadGzip);
            }
            self.blocks_left = self.blocks_left.checked_sub(1).ok_or(Reject::GzipInPieces)?;
        }
        let (trailer, rest) = rest.split_first_chunk::<8>().ok_or(Reject::BadGzip)?;
        let plain = &self.out[Framed::BEFORE..][start..self.length];
        let expected = (u64::from(plain.len() as u32) << 32) | u64::from(crc32(0, plain));
        if u64::from_le_bytes(*trailer) == expected { Ok(rest) } else { Err(Reject::BadGzip) }
    }

    fn make_room(&mut self) {
        let room = self.out.len().saturating_sub(AROUND);
        if self.length == room {
            let wanted = AROUND + (room * 2).clamp(OUT_BYTES_MIN, REQUEST_BYTES_MAX + 1);
            self.out.reserve_exact(wanted - self.out.len());
            self.out.resize(wanted, 0);
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
    use std::time::Duration;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn thread_time() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

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
            assert_eq!(inflater.framed().text(), plain);
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
        assert!(inflater.out.capacity() <= AROUND + REQUEST_BYTES_MAX + 1, "{}", inflater.out.capacity());
    }

    /// A member of these deflate bytes, which inflate to nothing.
    fn member_of_nothing(deflate: &[u8]) -> Vec<u8> {
        [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff][..], deflate, &[0; 8]].concat()
    }

    /// Bits from the lowest on, as deflate packs them.
    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        count: usize,
    }

    impl Bits {
        fn push(&mut self, value: u32, count: usize) {
            for bit in 0..count {
                if self.count.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                *self.bytes.last_mut().unwrap() |= ((value >> bit & 1) as u8) << (self.count % 8);
                self.count += 1;
            }
        }

        /// An empty block with tables of its own: 257 codes, of which only the end of the block has a length.
        fn push_dynamic(&mut self) {
            self.push(0b100, 3);
            self.push(0, 5);
            self.push(0, 5);
            self.push(14, 4);
            // Of the lengths of codes 0, 1 and 18 have one bit; in the order of the format 18 is third and 1 last.
            for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1] {
                self.push(u32::from(symbol == 18 || symbol == 1), 3);
            }
            // 138 and 118 zeros, a one for the end, a one for the only distance; then the end.
            self.push(1, 1);
            self.push(127, 7);
            self.push(1, 1);
            self.push(107, 7);
            self.push(0, 1);
            self.push(0, 1);
            self.push(0, 1);
        }
    }

    /// Bodies of a mebibyte that are all work and no content.
    fn all_work() -> Vec<(&'static str, Vec<u8>)> {
        let fixed_end = [3, 0];
        let (mut dynamic, mut fixed) = (Bits::default(), Bits::default());
        while dynamic.bytes.len() < REQUEST_BYTES_MAX - 200 {
            dynamic.push_dynamic();
        }
        dynamic.push(0b011, 10);
        while fixed.bytes.len() < REQUEST_BYTES_MAX - 200 {
            fixed.push(0b010, 10);
        }
        fixed.push(0b011, 10);
        let stored = [[0, 0, 0, 0xff, 0xff].repeat((REQUEST_BYTES_MAX - 200) / 5), fixed_end.to_vec()].concat();
        let empty = member_of_nothing(&fixed_end);
        vec![
            ("members", empty.repeat(REQUEST_BYTES_MAX / empty.len())),
            ("dynamic blocks", member_of_nothing(&dynamic.bytes)),
            ("fixed blocks", member_of_nothing(&fixed.bytes)),
            ("stored blocks", member_of_nothing(&stored)),
        ]
    }

    #[test]
    fn work_without_content_is_refused() {
        let mut inflater = Inflater::new();
        for (shape, body) in all_work() {
            assert!(body.len() <= REQUEST_BYTES_MAX && body.len() > REQUEST_BYTES_MAX - 1024, "{shape}");
            let begun = thread_time();
            assert_eq!(inflater.gunzip(&body), Err(Reject::GzipInPieces), "{shape}");
            let cost = thread_time().saturating_sub(begun);
            println!("{:6.1} ms  {shape}", cost.as_secs_f64() * 1e3);
            assert!(cost < Duration::from_millis(150), "{shape}: {cost:?}");
        }
        // The same in the small is gzip.
        let (mut dynamic, mut fixed) = (Bits::default(), Bits::default());
        (0..100).for_each(|_| dynamic.push_dynamic());
        dynamic.push(0b011, 10);
        (0..100).for_each(|_| fixed.push(0b010, 10));
        fixed.push(0b011, 10);
        for deflate in [dynamic.bytes, fixed.bytes] {
            assert_eq!(inflater.gunzip(&member_of_nothing(&deflate)).unwrap(), b"");
        }
    }

    #[test]
    fn as_many_members_and_flushes_as_writers_make_are_taken() {
        let mut inflater = Inflater::new();
        let members = gzip(b"{}").repeat(MEMBERS_MAX);
        assert_eq!(inflater.gunzip(&members).unwrap().len(), 2 * MEMBERS_MAX);
        assert_eq!(inflater.gunzip(&[members, gzip(b"{}")].concat()), Err(Reject::GzipInPieces));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..wire::limits::BATCH_EVENTS_MAX {
            encoder.write_all(br#"{"type":"track"},"#).unwrap();
            encoder.flush().unwrap();
        }
        assert_eq!(inflater.gunzip(&encoder.finish().unwrap()).unwrap().len(), 17 * wire::limits::BATCH_EVENTS_MAX);
    }

    #[test]
    fn a_large_body_makes_the_small_ones_after_it_no_dearer() {
        let mut inflater = Inflater::new();
        inflater.gunzip(&gzip(&vec![b' '; REQUEST_BYTES_MAX])).unwrap();
        let room = inflater.out.len();
        // What lies behind a small body is what the large one left: nobody has gone over it.
        assert_eq!(inflater.gunzip(&gzip(b"{}")).unwrap(), b"{}");
        assert_eq!(inflater.out.len(), room);
        assert_eq!(inflater.framed().text(), b"{}");
        assert!(inflater.out[3..REQUEST_BYTES_MAX].iter().all(|byte| *byte == b' '));
    }
}
