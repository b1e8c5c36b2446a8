//! Bodies that are gzip, or nearly.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};

use flate2::bufread::{DeflateDecoder, GzDecoder};
use flate2::write::GzEncoder;
use flate2::{Compression, Crc, GzBuilder};
use wire::limits::REQUEST_BYTES_MAX;

use crate::inflate::Inflater;
use crate::reject::Reject;

/// The flag of a header that has a checksum of its own. We pass over it, others look at it.
const FLAG_HEADER_CRC: u8 = 1 << 1;

thread_local! {
    static INFLATER: RefCell<Inflater> = RefCell::new(Inflater::new());
}

/// The first byte says what the others are: a body as it stands, deflate data that gets a frame whose checksum holds, or a
/// plain body that is packed in some members.
pub fn gzip(bytes: &[u8]) {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let body = match choice % 3 {
        0 => rest.to_vec(),
        1 => framed(rest),
        _ => packed(choice, rest),
    };
    let plain = check(&body);
    assert!(choice % 3 != 2 || plain == Ok(rest.to_vec()), "what was packed comes out");
}

/// Undoes a body and compares that with what others make of it.
fn check(body: &[u8]) -> Result<Vec<u8>, Reject> {
    let ours = INFLATER.with_borrow_mut(|inflater| {
        let first = inflater.gunzip(body).map(<[u8]>::to_vec);
        // What is left of one body changes nothing of the next.
        assert_eq!(inflater.gunzip(body), first.as_deref().map_err(|reject| *reject));
        first
    });
    match (&ours, theirs(body)) {
        (Ok(ours), Theirs::Plain(theirs)) => assert!(*ours == theirs, "another body"),
        (Ok(_), Theirs::Broken { has_header_crc }) => assert!(has_header_crc, "only we take it"),
        (Ok(_), Theirs::TooLong) => panic!("beyond the bound"),
        (Err(Reject::BadGzip), Theirs::Plain(_)) => panic!("only we refuse it"),
        (Err(_), _) => {}
    }
    ours
}

enum Theirs {
    Plain(Vec<u8>),
    TooLong,
    Broken { has_header_crc: bool },
}

/// A body as the other library reads it, member by member, with the zeros behind it that some writers put there.
fn theirs(body: &[u8]) -> Theirs {
    let (mut plain, mut rest, mut has_header_crc) = (Vec::new(), body, false);
    loop {
        has_header_crc |= rest.get(3).is_some_and(|flags| flags & FLAG_HEADER_CRC != 0);
        let mut member = GzDecoder::new(rest);
        let left = (REQUEST_BYTES_MAX + 1 - plain.len()) as u64;
        if member.by_ref().take(left).read_to_end(&mut plain).is_err() {
            return Theirs::Broken { has_header_crc };
        }
        if plain.len() > REQUEST_BYTES_MAX {
            return Theirs::TooLong;
        }
        rest = member.into_inner();
        if rest.iter().all(|byte| *byte == 0) {
            return Theirs::Plain(plain);
        }
    }
}

/// Deflate data, one member for each that ends, in frames whose checksums hold.
fn framed(data: &[u8]) -> Vec<u8> {
    let (mut body, mut rest) = (Vec::new(), data);
    while !rest.is_empty() {
        let (mut plain, mut inflater) = (Vec::new(), DeflateDecoder::new(rest));
        let is_whole = inflater.by_ref().take(REQUEST_BYTES_MAX as u64 + 1).read_to_end(&mut plain).is_ok();
        let behind = inflater.into_inner();
        let mut sum = Crc::new();
        sum.update(&plain);
        body.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
        body.extend_from_slice(&rest[..rest.len() - behind.len()]);
        body.extend_from_slice(&sum.sum().to_le_bytes());
        body.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        if !is_whole || behind.len() == rest.len() {
            break;
        }
        rest = behind;
    }
    body
}

/// A plain body in some members, with some of the fields that a header may have.
fn packed(choice: u8, plain: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let member_bytes = (plain.len() / usize::from(choice / 16 + 1)).max(1);
    let members = plain.chunks(member_bytes).chain(plain.is_empty().then_some(plain));
    for (index, member) in members.enumerate() {
        let mut header = GzBuilder::new();
        if choice & 4 != 0 {
            header = header.filename("name").extra(vec![index as u8; 3]);
        }
        if choice & 8 != 0 {
            header = header.comment("comment");
        }
        let mut encoder: GzEncoder<_> = header.write(&mut body, Compression::new(u32::from(choice / 3 % 10)));
        encoder.write_all(member).expect("memory takes it");
        encoder.finish().expect("memory takes it");
    }
    body.extend_from_slice(&[0; 3][..usize::from(choice % 4)]);
    body
}
