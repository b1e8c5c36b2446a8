//! Every damage of a kind to a small buffer.
//!
//! Goal: it opens; everything that was not hit comes; each record that was hit lies in the quarantine with its bytes,
//! its place and a reason, and is counted. Faults: each file cut off at every byte, every bit flipped, every block
//! zeroed, unreadable, or swapped with any other, files swapped, every set of files deleted.
//! Oracle: where each record lies on disk, read off the whole buffer first.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::driven::{Driven, small_bounds};
use crate::format::{BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockSeed, DATA_START, RECORD_HEADER_BYTES};
use crate::options::Bounds;
use crate::proof::crash_states::{at_place, record_of};
use crate::proof::scene::{Engine, Scene};
use crate::proof::{chaos, count};
use crate::quarantine::HEADER_BYTES;
use crate::scan::{Extent, Item, Scan};
use crate::sim::SimDisk;
use crate::slot::{MetaSlot, SegmentHeader, SegmentState};
use crate::storage::Access;
use crate::{Batch, RecordId};

/// In the short form a file is cut at one byte in so many, and one bit of each byte is flipped.
const CUT_EVERY: usize = 5;

fn bounds() -> Bounds {
    small_bounds(5, 4)
}

/// A record of the whole buffer, and where it lies.
struct Known {
    id: u64,
    bytes: Arc<[u8]>,
    file: String,
    generation: u64,
    place: Range<usize>,
}

impl Known {
    /// Whether a byte of its file is one of its own, and not of a block's header between them.
    fn holds(&self, at: usize) -> bool {
        self.place.contains(&at) && at % BLOCK_BYTES >= BLOCK_HEADER_BYTES
    }

    fn touches(&self, file: &str, bytes: &Range<usize>) -> bool {
        self.file == file && bytes.clone().any(|at| self.holds(at))
    }
}

struct Whole {
    disk: SimDisk,
    /// Those at or above the floor.
    records: Vec<Known>,
    floor: u64,
}

/// A closed buffer of two segments, both with records that are not done, one that spans blocks, and a floor.
fn whole() -> Whole {
    let mut scene = Scene::new(SimDisk::new(true), bounds(), Engine::Steps);
    scene.open().expect("it opens");
    let sizes = [[40, 200], [5000, 300], [60, 0], [3000, 900]];
    let records: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(number, sizes)| sizes.map(|bytes| record_of(bytes, 40 * number as u8 + 3)))
        .collect();
    for group in &records {
        if scene.append(group).is_err() {
            scene.make_spare();
            scene.append(group).expect("there is room");
        }
        scene.write_group();
    }
    scene.read(2, 1 << 20);
    scene.acknowledge(50);
    assert!(scene.close());
    let disk = scene.disk.copy();
    let records: Vec<_> = records.into_iter().flatten().collect();
    let found = find(&disk, &records);
    assert_eq!(found.iter().map(|known| known.id).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    Whole { disk, records: found.into_iter().filter(|known| known.id >= 1).collect(), floor: 1 }
}

fn find(disk: &SimDisk, records: &[Arc<[u8]>]) -> Vec<Known> {
    let instance = MetaSlot::decode(&disk.content("meta")[..BLOCK_BYTES]).good().expect("a name").instance;
    let mut found = Vec::new();
    for file in disk.names().into_iter().filter(|name| name.starts_with("segments/")) {
        let content = disk.content(&file);
        let slots = [0, BLOCK_BYTES].map(|at| SegmentHeader::decode(&content[at..at + BLOCK_BYTES]));
        let newest =
            slots.iter().filter_map(|slot| slot.good()).max_by_key(|header| header.sequence).expect("a header");
        if newest.state == SegmentState::Free {
            continue;
        }
        let open = disk.storage().open(&file, Access::Read).expect("it is there");
        let seed = BlockSeed::of(instance);
        let mut scan = Scan::new(open, newest.generation, seed, DATA_START as usize, RecordId::ZERO);
        loop {
            match scan.next(Extent::Unknown(content.len())).expect("it can be read") {
                Item::End => break,
                Item::GroupEnd => {}
                Item::Damaged { .. } => panic!("{file} is not whole"),
                Item::Record(record) => {
                    let id = record.header.id.get();
                    let place = record.payload_at - RECORD_HEADER_BYTES..record.end;
                    let bytes = Arc::clone(&records[id as usize]);
                    found.push(Known { id, bytes, file: file.clone(), generation: newest.generation, place });
                }
            }
        }
    }
    found.sort_by_key(|known| known.id);
    found
}

/// A piece that was set aside: where it lay, its bytes, and why.
struct Piece {
    generation: u64,
    offset: usize,
    bytes: Vec<u8>,
    reason: String,
}

fn pieces(disk: &SimDisk) -> Vec<Piece> {
    let names = disk.names().into_iter().filter(|name| name.starts_with("quarantine/damage-"));
    let parse = |name: String| {
        let content = disk.content(&name);
        let number = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
        let reason = u32::from_le_bytes(content[56..60].try_into().expect("four bytes")) as usize;
        let (reason, bytes) = content[HEADER_BYTES..].split_at(reason);
        assert_eq!(bytes.len() as u64, number(60), "{name} is cut short");
        let reason = String::from_utf8(reason.to_vec()).expect("text");
        Piece { generation: number(40), offset: number(48) as usize, bytes: bytes.to_vec(), reason }
    };
    names.map(parse).collect()
}

/// What came out of a damaged buffer.
struct Drained {
    ids: BTreeSet<u64>,
    damaged_pieces: u64,
}

/// Opens, reads everything, holds each record against what it was, and goes on.
fn drain(whole: &Whole, disk: &SimDisk) -> Drained {
    let (mut driven, appender, mut reader, _) = Driven::open(&disk.storage(), bounds()).expect("it opens");
    let (mut batch, mut ids) = (Batch::new(), BTreeSet::new());
    while reader.read(&mut batch, 100, 1 << 20).expect("it can be read") > 0 {
        for (id, bytes) in batch.iter() {
            let id = id.get();
            let known = whole.records.iter().find(|known| known.id == id);
            assert!(id < whole.floor || known.is_some_and(|known| *known.bytes == *bytes), "record {id} is invented");
            assert!(ids.last().is_none_or(|last| *last < id), "{id} came too late");
            ids.insert(id);
        }
    }
    driven.make_spare();
    let after = appender.append(b"after").expect("it goes on");
    assert!(ids.last().is_none_or(|last| *last < after.first().get()), "an id is given again");
    driven.write_group();
    assert_eq!(reader.read(&mut batch, 100, 1 << 20).expect("it can be read"), 1);
    let stats = driven.shared.stats();
    Drained { ids, damaged_pieces: stats.damaged_pieces }
}

/// Checks a buffer in which these bytes of a file were changed, cut off or lost, to what `disk` now has there.
fn check(whole: &Whole, disk: &SimDisk, file: &str, hit: &Range<usize>, readable: bool) {
    let damaged = disk.content(file);
    let drained = drain(whole, disk);
    let pieces = pieces(disk);
    assert!(pieces.iter().all(|piece| !piece.reason.is_empty()));
    for known in &whole.records {
        let touched = known.touches(file, hit);
        if !touched {
            assert!(drained.ids.contains(&known.id), "record {} was not hit and did not come", known.id);
            continue;
        }
        assert!(!drained.ids.contains(&known.id), "record {} came, although it was hit", known.id);
        // What is left of it, at its place.
        let left = known.place.start..known.place.end.min(damaged.len());
        let is_there = |at: usize| {
            pieces.iter().any(|piece| {
                let inside = at.checked_sub(piece.offset).and_then(|inside| piece.bytes.get(inside));
                piece.generation == known.generation && inside == Some(&damaged[at])
            })
        };
        let moved = disk.names().iter().any(|name| name.starts_with("quarantine/segment-"));
        // Zeros are what a disk without a record has; there is nothing to set aside.
        let blank = left.clone().all(|at| damaged[at] == 0);
        if readable && !blank && !moved {
            assert!(left.clone().all(is_there), "record {} is not in the quarantine whole", known.id);
            assert!(drained.damaged_pieces > 0, "the damage was not counted");
        }
    }
}

fn damaged(whole: &Whole, place: impl Fn() -> String, file: &str, hit: &Range<usize>, damage: impl FnOnce(&SimDisk)) {
    let disk = whole.disk.copy();
    damage(&disk);
    at_place(place, || check(whole, &disk, file, hit, true));
}

#[test]
fn a_file_cut_off_at_any_byte_costs_what_lay_behind_and_no_more() {
    let whole = whole();
    let every = if chaos() { 1 } else { CUT_EVERY };
    let mut cuts = 0;
    for file in whole.disk.names() {
        let end = whole.disk.content(&file).len();
        for at in (0..end).step_by(every) {
            damaged(
                &whole,
                || format!("{file} cut at {at}"),
                &file,
                &(at..end),
                |disk| {
                    disk.tamper(&file, |bytes| bytes.truncate(at));
                },
            );
            cuts += 1;
        }
    }
    let share = if every == 1 { "every byte".to_string() } else { format!("one byte in {every}") };
    count(&format!("{cuts} buffers with a file cut off, at {share}: all that was not hit came"));
}

#[test]
fn a_flipped_bit_anywhere_costs_the_record_that_it_hits_and_leaves_it_in_the_quarantine() {
    let whole = whole();
    let every_bit = chaos();
    let (mut flips, mut hits) = (0, 0);
    for file in whole.disk.names() {
        for at in 0..whole.disk.content(&file).len() {
            for bit in (0..8).filter(|bit| every_bit || *bit == at % 8) {
                damaged(
                    &whole,
                    || format!("{file}: byte {at}, bit {bit}"),
                    &file,
                    &(at..at + 1),
                    |disk| {
                        disk.tamper(&file, |bytes| bytes[at] ^= 1 << bit);
                    },
                );
                flips += 1;
                hits += u64::from(whole.records.iter().any(|known| known.touches(&file, &(at..at + 1))));
            }
        }
    }
    let share = if every_bit { "every bit" } else { "one bit of every byte" };
    count(&format!(
        "{flips} buffers with a bit flipped, {share}; {hits} hit a record: it alone was missing, and set aside"
    ));
}

#[test]
fn a_block_zeroed_unreadable_or_swapped_with_any_other_costs_what_it_held() {
    let whole = whole();
    let names = whole.disk.names();
    let blocks = |file: &str| 0..whole.disk.content(file).len() / BLOCK_BYTES;
    let all: Vec<_> =
        names.iter().flat_map(|file| blocks(file).map(move |block| (file, block * BLOCK_BYTES))).collect();
    let mut done = 0;
    for (file, at) in &all {
        let hit = *at..at + BLOCK_BYTES;
        damaged(
            &whole,
            || format!("{file}: block at {at} zeroed"),
            file,
            &hit,
            |disk| {
                disk.tamper(file, |bytes| bytes[hit.clone()].fill(0));
            },
        );
        let disk = whole.disk.copy();
        disk.spoil(file, hit.clone());
        at_place(|| format!("{file}: block at {at} unreadable"), || check(&whole, &disk, file, &hit, false));
        done += 2;
    }
    // A header says nothing of its file: two that change files are two good headers, each of blocks that are not there.
    let header = |file: &str, at: usize| file.starts_with("segments/") && at < DATA_START as usize;
    for (number, (file, at)) in all.iter().enumerate() {
        for (other, other_at) in &all[number + 1..] {
            if file != other
                && header(file, *at)
                && header(other, *other_at)
                && (at + other_at).is_multiple_of(DATA_START as usize)
            {
                continue;
            }
            let disk = whole.disk.copy();
            let (first, second) = (disk.content(file), disk.content(other));
            disk.tamper(file, |bytes| {
                bytes[*at..at + BLOCK_BYTES].copy_from_slice(&second[*other_at..][..BLOCK_BYTES]);
            });
            disk.tamper(other, |bytes| {
                bytes[*other_at..][..BLOCK_BYTES].copy_from_slice(&first[*at..at + BLOCK_BYTES]);
            });
            let (hit, other_hit) = (*at..at + BLOCK_BYTES, *other_at..other_at + BLOCK_BYTES);
            let place = || format!("{file} at {at} swapped with {other} at {other_at}");
            at_place(place, || {
                let drained = drain(&whole, &disk);
                for known in &whole.records {
                    let touched = known.touches(file, &hit) || known.touches(other, &other_hit);
                    assert!(touched || drained.ids.contains(&known.id), "record {} did not come", known.id);
                }
            });
            done += 1;
        }
    }
    count(&format!("{done} buffers with a block zeroed, unreadable or swapped: all that was not hit came"));
}

#[test]
fn files_that_are_swapped_or_deleted_cost_nothing_but_the_records_in_those_deleted() {
    let whole = whole();
    let names = whole.disk.names();
    let mut done = 0;
    for (number, file) in names.iter().enumerate() {
        for other in &names[number + 1..] {
            let disk = whole.disk.copy();
            let (first, second) = (disk.content(file), disk.content(other));
            disk.tamper(file, |bytes| *bytes = second);
            disk.tamper(other, |bytes| *bytes = first);
            at_place(
                || format!("{file} swapped with {other}"),
                || {
                    let drained = drain(&whole, &disk);
                    let segments = [file, other].iter().all(|name| name.starts_with("segments/"));
                    for known in &whole.records {
                        let moved = !segments && [file, other].contains(&&known.file);
                        let kept = || {
                            disk.names().iter().any(|name| name.starts_with("quarantine/") && holds(&disk, name, known))
                        };
                        assert!(drained.ids.contains(&known.id) || moved && kept(), "record {} is gone", known.id);
                    }
                },
            );
            done += 1;
        }
    }
    for set in 0..1_u32 << names.len() {
        let deleted: Vec<_> =
            names.iter().enumerate().filter(|(number, _)| set & (1 << number) != 0).map(|(_, name)| name).collect();
        let disk = whole.disk.copy();
        for name in &deleted {
            disk.delete(name);
        }
        at_place(
            || format!("without {deleted:?}"),
            || {
                let drained = drain(&whole, &disk);
                for known in &whole.records {
                    assert_eq!(drained.ids.contains(&known.id), !deleted.contains(&&known.file), "record {}", known.id);
                }
            },
        );
        done += 1;
    }
    count(&format!("{done} buffers with files swapped or deleted: all that was left came or lies in the quarantine"));
}

/// Whether a file has the bytes of a record at its place.
fn holds(disk: &SimDisk, name: &str, known: &Known) -> bool {
    let content = disk.content(name);
    let from = known.place.start + RECORD_HEADER_BYTES;
    content.get(from..).is_some_and(|content| content.starts_with(&known.bytes[..known.bytes.len().min(1000)]))
}

#[test]
fn what_was_written_again_counts_there_and_no_longer_where_it_was() {
    let mut scene = Scene::new(SimDisk::new(true), small_bounds(6, 4), Engine::Steps);
    scene.open().expect("it opens");
    let record = |fill: u8, bytes| Arc::from(vec![fill; bytes]);
    for group in [&[record(1, 3000)][..], &[record(2, 3000)], &[record(3, 3000)], &[record(4, 500), record(5, 600)]] {
        scene.append(group).expect("there is room");
        scene.write_group();
    }
    assert!(scene.close());
    // The last group is written again, and then what it was written to is written again.
    for carried in [2, 2] {
        assert_eq!(scene.open().expect("it opens").carried_records, carried);
        assert!(scene.close());
    }
    // Half of the first copy is lost: what is left of it must not hide the later one.
    scene.disk.tamper("segments/0000000000.seg", |bytes| {
        let at = bytes.windows(500).position(|window| *window == [4; 500]).expect("the first copy");
        bytes[at] ^= 1;
    });
    scene.open().expect("it opens");
    scene.read_all();
}
