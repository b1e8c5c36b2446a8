//! What the fuzz targets of `fuzz/` run, and a test here with the same corpus: bytes that anybody may have put on the
//! disk, to everything that reads them. Never a panic, never a loop without end, never a record that nobody appended.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::OnceLock;

use crate::driven::{Driven, small_bounds};
use crate::format::{BLOCK_BYTES, BlockSeed, DATA_START, put, u32_at, u64_at};
use crate::id::{InstanceId, RecordId};
use crate::scan::{Extent, Item, Scan};
use crate::sim::{SimDisk, State};
use crate::slot::{FloorSlot, MetaSlot, SegmentHeader, Slot};
use crate::storage::File;
use crate::{Batch, OpenError};

const INSTANCE: InstanceId = InstanceId::from_bytes(*b"sixteen bytes id");
const GENERATION: u64 = 0x0102_0304_0506_0708;

/// A buffer with records in two segments, and what was appended to it.
fn base() -> &'static (State, BTreeMap<u64, Vec<u8>>) {
    static BASE: OnceLock<(State, BTreeMap<u64, Vec<u8>>)> = OnceLock::new();
    BASE.get_or_init(|| {
        let disk = SimDisk::new(true);
        let slot = MetaSlot { instance: INSTANCE, created_ms: 0 }.encode();
        disk.tamper("meta", |bytes| *bytes = [slot, slot].concat());
        let opened = Driven::open(&disk.storage(), small_bounds(5, 4));
        let (mut driven, appender, mut reader, _) = opened.expect("an empty disk opens");
        let mut records = BTreeMap::new();
        for (number, bytes) in [40, 200, 5000, 300, 60, 0, 3000, 900].into_iter().enumerate() {
            let record = vec![number as u8 + 1; bytes];
            driven.make_spare();
            let pending = appender.append(&record).expect("there is room");
            driven.write_group();
            records.insert(pending.first().get(), record);
        }
        reader.read(&mut Batch::new(), 1, 1).expect("it can be read");
        reader.acknowledge(RecordId::from_u64(1)).expect("it was delivered");
        driven.close().expect("it closes");
        (disk.copy().state(), records)
    })
}

/// Takes bytes off the front of the fuzzer's.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<usize> {
        self.take(2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    }
}

/// Changes the files of a buffer as the bytes say, opens it, drains it, goes on, and opens it again.
///
/// The first byte chooses an empty folder or a buffer. Then come changes, each of: a file, a kind, a place, a count, and
/// as many bytes. A kind may also make the checksum there hold again, as only a program could have written it.
pub fn recovery(bytes: &[u8]) {
    let mut source = Source(bytes);
    let empty = source.u8().is_none_or(|byte| byte % 4 == 0);
    let (state, records) = base();
    let disk = if empty { SimDisk::new(true) } else { SimDisk::of(state.clone(), true) };
    let mut forged = false;
    while let Some(()) = change(&disk, &mut source, &mut forged) {}
    for _ in 0..2 {
        match Driven::open(&disk.storage(), small_bounds(5, 4)) {
            Ok((driven, appender, reader, _)) => drain(driven, &appender, reader, (!forged).then_some(records)),
            Err(OpenError::NewerVersion { .. }) if forged => return,
            Err(error) => panic!("it does not open: {error}"),
        }
    }
}

fn change(disk: &SimDisk, source: &mut Source<'_>, forged: &mut bool) -> Option<()> {
    const NAMES: [&str; 6] = [
        "meta",
        "floor",
        "segments/0000000000.seg",
        "segments/0000000001.seg",
        "segments/0000000002.seg",
        "segments/x",
    ];
    let name = NAMES[usize::from(source.u8()?) % NAMES.len()];
    let kind = source.u8()? % 8;
    let at = source.u16()?;
    let count = usize::from(source.u8()?);
    let new = source.take(count.min(source.0.len()))?;
    match kind {
        0 => disk.delete(name),
        1 => disk.tamper(name, |bytes| bytes.resize(at, 0)),
        2 => {
            let from = disk.content(NAMES[at % NAMES.len()]);
            disk.tamper(name, |bytes| *bytes = from);
        }
        _ => disk.tamper(name, |bytes| {
            let at = if kind == 3 { at } else { at / 8 * 8 % 128 + at / 1024 * BLOCK_BYTES };
            if bytes.len() < at + new.len() {
                bytes.resize(at + new.len(), 0);
            }
            put(bytes, at, new);
            let block = at / BLOCK_BYTES * BLOCK_BYTES;
            *forged |= kind > 3;
            match (kind, bytes.get_mut(block..block + BLOCK_BYTES)) {
                (4 | 5, Some(block)) => seal_slot(block, name),
                (6, Some(block)) => seal_block(block),
                (7, Some(_)) => seal_record(bytes, block + 32),
                _ => {}
            }
        }),
    }
    Some(())
}

fn seal_slot(block: &mut [u8], name: &str) {
    let (magic, sum_at): (&[u8; 8], usize) = match name {
        "meta" => (b"TURNBUF\0", 40),
        "floor" => (b"TURNFLR\0", 56),
        _ => (b"TURNSEG\0", 104),
    };
    put(block, 0, magic);
    let sum = crc32c::crc32c(&block[..sum_at]);
    put(block, sum_at, &sum.to_le_bytes());
}

fn seal_block(block: &mut [u8]) {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&INSTANCE.to_bytes()), &block[4..32]);
    put(block, 0, &sum.to_le_bytes());
}

/// The first record of a block, if it does not go beyond it.
fn seal_record(bytes: &mut [u8], at: usize) {
    let length = u32_at(bytes, at + 4) as usize;
    let Some(payload) = bytes.get(at + 20..).and_then(|rest| rest.get(..length)) else { return };
    let generation = u64_at(bytes, at / BLOCK_BYTES * BLOCK_BYTES + 8);
    let sum = crc32c::crc32c(&[&INSTANCE.to_bytes()[..], &generation.to_le_bytes(), &bytes[at + 4..at + 20]].concat());
    let sum = crc32c::crc32c_append(sum, &crc32c::crc32c(payload).to_le_bytes());
    put(bytes, at, &sum.to_le_bytes());
}

fn drain(
    mut driven: Driven,
    appender: &crate::Appender,
    mut reader: crate::Reader,
    records: Option<&BTreeMap<u64, Vec<u8>>>,
) {
    let (mut batch, mut last) = (Batch::new(), None);
    while reader.read(&mut batch, 100, 1 << 20).expect("it can be read") > 0 {
        for (id, bytes) in batch.iter() {
            assert!(last.is_none_or(|last| last < id), "{id} after {last:?}");
            last = Some(id);
            let known = |records: &BTreeMap<_, Vec<u8>>| records.get(&id.get()).is_some_and(|known| known == bytes);
            assert!(bytes == b"after" || records.is_none_or(known), "record {id} is invented");
        }
    }
    driven.make_spare();
    if let Ok(pending) = appender.append(b"after") {
        driven.write_group();
        let count = reader.read(&mut batch, 100, 1 << 20).expect("it can be read");
        // Only a program could have written what is forged, so it may say anything.
        let first = pending.first();
        assert!(records.is_none() || last.is_none_or(|last| last < first) && count == 1, "{first} after {last:?}");
    }
    driven.close().expect("it closes");
}

/// A file of some bytes.
struct Bytes(Vec<u8>);

impl File for Bytes {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = self.0.get(offset as usize..).unwrap_or(&[]);
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn writes_through(&self) -> bool {
        false
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the bytes as the blocks of a segment, and as each slot; what is found lies behind what was found before.
pub fn decode(bytes: &[u8]) {
    let limit = DATA_START as usize + bytes.len();
    for extent in [Extent::Unknown(limit), Extent::Exact(limit)] {
        let file = Bytes([&[0; DATA_START as usize], bytes].concat());
        let mut scan =
            Scan::new(Box::new(file), GENERATION, BlockSeed::of(INSTANCE), DATA_START as usize, RecordId::ZERO);
        loop {
            let before = scan.at();
            match scan.next(extent).expect("it can be read") {
                Item::End => break,
                Item::Record(found) => assert!(found.payload_at > before && found.end <= limit),
                Item::Damaged { from, to } => assert!(from < to && to <= limit.next_multiple_of(BLOCK_BYTES)),
                Item::GroupEnd => {}
            }
            assert!(scan.at() > before, "it does not move on");
        }
    }
    if let Slot::Good(slot) = SegmentHeader::decode(bytes) {
        assert_eq!(SegmentHeader::decode(&slot.encode()), Slot::Good(slot));
    }
    if let Slot::Good(slot) = FloorSlot::decode(bytes) {
        assert_eq!(FloorSlot::decode(&slot.encode()), Slot::Good(slot));
    }
    if let Slot::Good(slot) = MetaSlot::decode(bytes) {
        assert_eq!(MetaSlot::decode(&slot.encode()), Slot::Good(slot));
    }
}

#[cfg(test)]
#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_on_the_disk_make_an_opening_panic_or_invent_a_record() {
        corpus::each("buffer_recovery", 2_000, recovery);
    }

    #[test]
    fn no_bytes_of_a_segment_or_slot_make_a_decoder_panic() {
        corpus::each("buffer_decode", 5_000, decode);
    }
}
