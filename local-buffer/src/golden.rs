//! FORMAT.md and a frozen file against the code.

use std::collections::BTreeMap;

use crate::format::{BLOCK_BYTES, BlockHeader, BlockSeed, FORMAT_VERSION, RecordHeader, RecordKind};
use crate::group::{Group, Place};
use crate::id::{InstanceId, RecordId};
use crate::memory::Chunk;
use crate::quarantine;
use crate::slot::{FloorSlot, MetaSlot, SegmentHeader, SegmentState, Slot};
use crate::walk::{Blocks, Parsed, for_each_piece, record_at};

const DOCUMENT: &str = include_str!("../FORMAT.md");
/// A segment of one group, as version 1 writes it; frozen.
const FROZEN: &[u8] = include_bytes!("../golden/segment-v1.bin");
const INSTANCE: InstanceId = InstanceId::from_bytes(*b"sixteen bytes id");
const GENERATION: u64 = 0x0102_0304_0506_0708;

fn id(number: u64) -> RecordId {
    RecordId::from_u64(number)
}

/// The fields of a table: name, offset, bytes.
fn table(title: &str) -> Vec<(String, usize, usize)> {
    let section = DOCUMENT.split("\n### ").find(|section| section.starts_with(title)).expect("the section is there");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        (cells[3].to_string(), cells[1].parse().unwrap(), cells[2].parse().unwrap())
    });
    rows.collect()
}

/// Every field of the table stands where the table says, and the table leaves no gap.
fn holds(title: &str, bytes: &[u8], fields: &[(&str, &[u8])]) {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    let mut end = 0;
    for (name, offset, count) in table(title) {
        assert_eq!(offset, end, "{title}: gap before {name}");
        end = offset + count;
        if name == "checksum" {
            continue;
        }
        let wanted = if name == "reserved" { &[0; 8][..count] } else { fields[name.as_str()] };
        assert_eq!(&bytes[offset..end], wanted, "{title}: {name}");
    }
}

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        state: SegmentState::Active,
        sequence: 0x11,
        instance: INSTANCE,
        segment_bytes: 0x22,
        generation: GENERATION,
        first: id(0x33),
        previous_generation: 0x44,
        previous_end: 0x55,
        previous_end_id: id(0x66),
        written_ms: 0x77,
    }
}

fn payloads() -> [Vec<u8>; 3] {
    [b"first".to_vec(), (0..=255).cycle().take(5000).collect(), Vec::new()]
}

fn group() -> Group {
    let seed = BlockSeed::of(INSTANCE);
    let mut group = Group::new(1, seed.records(GENERATION));
    group.begin(Place { generation: GENERATION, offset: 8192 }, seed.records(GENERATION), id(7));
    group.add_chunk(Chunk::new());
    for (number, payload) in payloads().iter().enumerate() {
        group.push(id(7 + number as u64), payload, crc32c::crc32c(payload));
    }
    group.finish(seed, 1_700_000_000_000);
    group
}

#[test]
fn every_field_stands_where_its_table_says() {
    let le = |number: u64| number.to_le_bytes();
    let version = FORMAT_VERSION.to_le_bytes();
    let header = segment_header();
    holds(
        "Segment slot",
        &header.encode(),
        &[
            ("magic", b"TURNSEG\0"),
            ("version", &version),
            ("state", &2u32.to_le_bytes()),
            ("sequence", &le(0x11)),
            ("instance", &INSTANCE.to_bytes()),
            ("segment bytes", &le(0x22)),
            ("generation", &le(GENERATION)),
            ("first", &le(0x33)),
            ("previous generation", &le(0x44)),
            ("previous end", &le(0x55)),
            ("previous end id", &le(0x66)),
            ("written ms", &le(0x77)),
        ],
    );
    let floor = FloorSlot { sequence: 0x11, instance: INSTANCE, floor: id(0x22), generation: GENERATION };
    holds(
        "Floor slot",
        &floor.encode(),
        &[
            ("magic", b"TURNFLR\0"),
            ("version", &version),
            ("sequence", &le(0x11)),
            ("instance", &INSTANCE.to_bytes()),
            ("floor", &le(0x22)),
            ("generation", &le(GENERATION)),
        ],
    );
    holds(
        "Meta slot",
        &MetaSlot { instance: INSTANCE, created_ms: 0x11 }.encode(),
        &[
            ("magic", b"TURNBUF\0"),
            ("version", &version),
            ("instance", &INSTANCE.to_bytes()),
            ("created ms", &le(0x11)),
        ],
    );
    let mut block = [0xee; BLOCK_BYTES];
    let header =
        BlockHeader { first_record: 0x1122, generation: GENERATION, index: 0x33, group_start: 0x44, written_ms: 0x55 };
    header.encode(&mut block, BlockSeed::of(INSTANCE));
    holds(
        "Block header",
        &block,
        &[
            ("first record", &[0x22, 0x11]),
            ("generation", &le(GENERATION)),
            ("index", &0x33u32.to_le_bytes()),
            ("group start", &0x44u32.to_le_bytes()),
            ("written ms", &le(0x55)),
        ],
    );
    let header = RecordHeader { bytes: 0x11, id: id(0x22), kind: RecordKind::Data };
    header.encode(&mut block, BlockSeed::of(INSTANCE).records(GENERATION), 0);
    holds("Record header", &block, &[("length", &0x11u32.to_le_bytes()), ("id", &le(0x22)), ("kind", b"REC1")]);
    let item = quarantine::Item::Damage { generation: GENERATION, offset: 0x11 };
    holds(
        "Quarantine file",
        &quarantine::encode_header(item, INSTANCE, "why", b"content"),
        &[
            ("magic", b"TURNQUA\0"),
            ("version", &version),
            ("kind", &2u32.to_le_bytes()),
            ("instance", &INSTANCE.to_bytes()),
            ("id", &le(0)),
            ("generation", &le(GENERATION)),
            ("offset", &le(0x11)),
            ("reason length", &3u32.to_le_bytes()),
            ("length", &le(7)),
        ],
    );
}

#[test]
fn the_frozen_segment_is_what_the_code_writes() {
    let group = group();
    let mut bytes = vec![0; 8192];
    bytes[BLOCK_BYTES..].copy_from_slice(&segment_header().encode());
    bytes.extend_from_slice(&group.chunks()[0].bytes()[..group.padded_bytes()]);
    if std::env::var_os("BUFFER_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/segment-v1.bin");
        std::fs::write(path, &bytes).unwrap();
    }
    assert!(bytes == FROZEN, "the format has changed: that needs another version");
}

#[test]
fn the_frozen_segment_is_read_as_what_was_written() {
    struct File;
    impl Blocks for File {
        fn block(&self, index: usize) -> Option<&[u8]> {
            FROZEN.chunks_exact(BLOCK_BYTES).nth(index)
        }
    }
    assert_eq!(SegmentHeader::decode(&FROZEN[..BLOCK_BYTES]), Slot::Blank);
    assert_eq!(SegmentHeader::decode(&FROZEN[BLOCK_BYTES..]), Slot::Good(segment_header()));
    let seed = BlockSeed::of(INSTANCE).records(GENERATION);
    let mut at = 8192;
    for (number, wanted) in payloads().iter().enumerate() {
        let Parsed::Record(found) = record_at(&File, at, FROZEN.len(), seed, true) else { panic!("record {number}") };
        let mut payload = Vec::new();
        for_each_piece(&File, &found, |piece| payload.extend_from_slice(piece)).unwrap();
        assert_eq!((found.header.id, &payload), (id(7 + number as u64), wanted));
        at = found.end;
    }
    // The checksum of the first record, spelled out.
    let record = &FROZEN[8192 + 32..];
    let sum = [&INSTANCE.to_bytes()[..], &GENERATION.to_le_bytes(), &record[4..20]].concat();
    let sum = crc32c::crc32c_append(crc32c::crc32c(&sum), &crc32c::crc32c(b"first").to_le_bytes());
    assert_eq!(record[..4], sum.to_le_bytes());
}
