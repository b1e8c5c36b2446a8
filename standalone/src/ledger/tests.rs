//! What the ledger keeps through reopening, rotation, tearing and damage.

use std::ops::ControlFlow;

use changelog::{Log, Start};
use tempfile::TempDir;
use wire::changelog::{Framed, Position};
use wire::{DigestSeed, LaneCount, Window};

use super::*;

fn genesis(seed: u64) -> Genesis {
    Genesis { lanes: LaneCount::ONE, seed: DigestSeed(seed), window: Window::default(), created_ms: 1 }
}

fn open(dir: &TempDir) -> Result<Ledger, LedgerError> {
    Ledger::open(dir.path(), 300, &genesis(7))
}

fn reached(next_offset: u64, clock_ms: i64) -> Reached {
    let partitions = vec![Position { partition: LANE, leader_epoch: -1, next_offset, appended_ms: -1 }];
    let log = LogPositions { cluster_id: b"b".to_vec(), topic_id: [0; 16], partitions };
    Reached { positions: vec![log], output: FileRange { file: 1, start: 0, end: next_offset }, clock_ms }
}

fn append(ledger: &mut Ledger, number: u64) -> Point {
    let end = ledger.append(reached(number, number as i64), &[(Digest(u128::from(number)), Bucket(1))]).unwrap();
    ledger.sync().unwrap();
    end
}

fn replayed(ledger: &mut Ledger, start: Start) -> Result<Vec<u128>, LedgerError> {
    let mut digests = Vec::new();
    ledger.read(start, &mut |_, bytes| {
        if let Record::Batch(batch) = Framed::decode(bytes).unwrap().record {
            digests.extend(batch.entries.iter().map(|(digest, _)| digest.0));
        }
        ControlFlow::Continue(())
    })?;
    Ok(digests)
}

#[test]
fn batches_come_back_after_reopening_across_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(&dir).unwrap();
    let ends: Vec<_> = (1..=20).map(|number| append(&mut ledger, number)).collect();
    assert!(offsets(dir.path()).unwrap().len() > 2, "several files");
    let id = ledger.id();
    drop(ledger);
    let mut ledger = Ledger::open(dir.path(), 300, &genesis(8)).unwrap();
    assert_eq!((ledger.genesis().seed, ledger.id()), (DigestSeed(7), id));
    assert_eq!(*ledger.reached(), reached(20, 20));
    assert_eq!(ledger.end(), ends[19]);
    assert_eq!(replayed(&mut ledger, Start::First).unwrap(), (1..=20).collect::<Vec<_>>());
    for (number, end) in (1..).zip(&ends) {
        // The record that ends there is the first: it proves that this is still the same ledger.
        let from = replayed(&mut ledger, Start::Before(end.next_offset)).unwrap();
        assert_eq!(from, (number..=20).collect::<Vec<_>>());
    }
    let mut first = None;
    let inside = Start::Before(ends[3].next_offset + 1);
    ledger
        .read(inside, &mut |placed, _| {
            first = Some(placed.next);
            ControlFlow::Break(())
        })
        .unwrap();
    let (after, at) = (first.unwrap().next_offset, ends[3].next_offset + 1);
    assert!(after > at && after <= ends[4].next_offset, "none ends there: the first one that ends behind it");
}

#[test]
fn a_record_torn_at_any_byte_is_cut_and_what_was_before_it_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), 1 << 20, &genesis(7)).unwrap();
    append(&mut ledger, 1);
    let before = append(&mut ledger, 2).next_offset;
    let after = append(&mut ledger, 3).next_offset;
    let path = ledger.newest.path.clone();
    drop(ledger);
    let whole = fs::read(&path).unwrap();
    for end in before..after {
        fs::write(&path, &whole[..end as usize]).unwrap();
        let mut ledger = Ledger::open(dir.path(), 1 << 20, &genesis(7)).unwrap();
        assert_eq!(
            (ledger.end().next_offset, replayed(&mut ledger, Start::First).unwrap()),
            (before, vec![1, 2]),
            "{end}"
        );
        append(&mut ledger, 4);
        assert_eq!(replayed(&mut ledger, Start::First).unwrap(), [1, 2, 4]);
    }
}

#[test]
fn damage_before_whole_records_is_told_and_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(dir.path(), 1 << 20, &genesis(7)).unwrap();
    let first = append(&mut ledger, 1).next_offset;
    append(&mut ledger, 2);
    let path = ledger.newest.path.clone();
    drop(ledger);
    let mut bytes = fs::read(&path).unwrap();
    bytes[first as usize - 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "left as it was");
}

#[test]
fn a_removed_file_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(&dir).unwrap();
    for number in 1..=20 {
        append(&mut ledger, number);
    }
    let bases = offsets(dir.path()).unwrap();
    fs::remove_file(dir.path().join(file_name(bases[1]))).unwrap();
    let error = replayed(&mut ledger, Start::First).unwrap_err();
    assert!(matches!(error, LedgerError::Gap { from, to } if (from, to) == (bases[1], bases[2])), "{error}");
}

#[test]
fn files_are_pruned_only_below_the_replay_point_and_outside_the_window() {
    const DAY_MS: i64 = 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = open(&dir).unwrap();
    for day in 100..140 {
        ledger.append(reached(day, day as i64 * DAY_MS), &[(Digest(u128::from(day)), Bucket(day as u32))]).unwrap();
    }
    let all = replayed(&mut ledger, Start::First).unwrap();
    assert_eq!(ledger.prune(0, 200 * DAY_MS).unwrap(), 0, "the index still needs all");
    assert_eq!(ledger.prune(ledger.end().next_offset, 130 * DAY_MS).unwrap(), 0, "all within the window");
    assert!(ledger.prune(ledger.end().next_offset, 160 * DAY_MS).unwrap() > 0);
    let kept = replayed(&mut ledger, Start::First).unwrap();
    assert!(kept.len() < all.len() && all.ends_with(&kept));
    assert!(kept[0] <= 130, "everything that 160 - 30 keeps");
    drop(ledger);
    let reopened = open(&dir).unwrap();
    assert_eq!(
        (reopened.genesis().seed, reopened.reached().positions[0].partitions[0].next_offset),
        (DigestSeed(7), 139)
    );
}
