//! Bytes that are not what was written: found and named, never taken for "not known".

use std::fs;
use std::path::PathBuf;

use changelog::LogId;
use dedup::{Candidate, Index, IndexError, Remedy};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::rig::{Rig, copy_dir, digest, genesis, open};

const IDS: u64 = 4_000;

/// A closed index with one run of `IDS` identities.
fn sealed() -> Rig {
    let mut rig = Rig::new(IDS as usize);
    rig.pass(&(0..IDS).collect::<Vec<_>>());
    rig.maintain();
    assert_eq!(rig.index().stats().sealed_digests, IDS);
    rig.close();
    rig
}

/// The only run's file.
fn table(rig: &Rig) -> PathBuf {
    fs::read_dir(rig.dir.path().join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|name| name == "sst"))
        .unwrap()
}

/// Opens and asks for every identity: either damage is named, or every one is known.
fn is_named_or_harmless(rig: &Rig, place: &str) -> bool {
    let partition = match open(rig.dir.path(), &rig.options) {
        Ok(partition) => partition,
        Err(error) => {
            assert_eq!(error.remedy(), Remedy::Rebuild, "{place}: {error}");
            return true;
        }
    };
    let covered = partition.replay_from().map(|point| point.next_offset);
    assert_eq!(covered, Some(1), "{place}: the run is there");
    for name in 0..IDS {
        match partition.lookup(digest(name)) {
            Ok(known) => assert!(known.is_some(), "{place}: {name} is forgotten"),
            Err(error) => {
                assert_eq!(error.remedy(), Remedy::Rebuild, "{place}: {error}");
                return true;
            }
        }
    }
    false
}

#[test]
fn a_flipped_bit_in_a_run_is_named_when_it_is_opened() {
    let rig = sealed();
    let table = table(&rig);
    let whole = fs::read(&table).unwrap();
    let mut random = SmallRng::seed_from_u64(5);
    let (mut named, mut tried) = (0, 0);
    for _ in 0..150 {
        let bit = random.random_range(0..whole.len() * 8);
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&table, &flipped).unwrap();
        named += usize::from(is_named_or_harmless(&rig, &format!("bit {bit}")));
        tried += 1;
    }
    println!("{named} of {tried} flipped bits were named; the others changed nothing");
    assert!(named * 10 >= tried * 9, "{named} of {tried}");
    fs::write(&table, &whole).unwrap();
    assert!(!is_named_or_harmless(&rig, "repaired"));
}

#[test]
fn damage_that_comes_while_the_index_is_open_is_an_error_and_no_verdict() {
    let rig = sealed();
    let mut partition = open(rig.dir.path(), &rig.options).unwrap();
    let table = table(&rig);
    let mut bytes = fs::read(&table).unwrap();
    // Every data block; in place, because the index has the file open.
    for at in (0..bytes.len() / 2).step_by(64) {
        bytes[at] ^= 0x10;
    }
    fs::write(&table, &bytes).unwrap();
    let candidates: Vec<_> = (0..IDS).map(|name| Candidate { digest: digest(name), received_at_ms: 100_000 }).collect();
    let mut verdicts = Vec::new();
    let mut named = 0;
    for batch in candidates.chunks(10) {
        match partition.decide(batch, 100_000, 100_000, &mut verdicts) {
            Ok(decided) => {
                assert!(decided.entries().is_empty(), "a known identity was published");
                partition.discard();
            }
            Err(error) => {
                assert!(matches!(error, IndexError::Damaged(_)), "{error}");
                assert!(verdicts.is_empty());
                named += 1;
            }
        }
    }
    assert!(named > IDS / 10 / 4, "{named}");
    let stats = partition.stats();
    assert_eq!((stats.open_digests, stats.pending_batches), (0, 0), "a failed batch leaves nothing behind");
}

#[test]
fn a_run_cut_short_or_gone_is_named() {
    let rig = sealed();
    let table = table(&rig);
    let whole = fs::read(&table).unwrap();
    for bytes in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&table, &whole[..bytes]).unwrap();
        assert!(is_named_or_harmless(&rig, &format!("cut to {bytes}")));
    }
    fs::remove_file(&table).unwrap();
    assert!(is_named_or_harmless(&rig, "gone"));
}

#[test]
fn a_damaged_index_is_destroyed_and_replayed() {
    let mut rig = sealed();
    let table = table(&rig);
    fs::write(&table, b"nothing").unwrap();
    assert_eq!(open(rig.dir.path(), &rig.options).unwrap_err().remedy(), Remedy::Rebuild);
    Index::destroy(rig.dir.path()).unwrap();
    assert_eq!(rig.reopen(), 1);
    assert_eq!(rig.pass(&(0..IDS).collect::<Vec<_>>()), "d".repeat(IDS as usize));
}

#[test]
fn damaged_bookkeeping_is_named() {
    let rig = sealed();
    for part in ["CURRENT", "MANIFEST"] {
        let copy = TempDir::new().unwrap();
        copy_dir(rig.dir.path(), copy.path());
        let path = fs::read_dir(copy.path().join("store"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(part))
            .unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 0x04;
        fs::write(&path, &bytes).unwrap();
        let error = open(copy.path(), &rig.options).unwrap_err();
        assert_eq!(error.remedy(), Remedy::Rebuild, "{part}: {error}");
    }
    let identity = rig.dir.path().join("identity");
    let whole = fs::read(&identity).unwrap();
    for bit in (0..whole.len() * 8).step_by(7) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&identity, &flipped).unwrap();
        let error = open(rig.dir.path(), &rig.options).unwrap_err();
        assert!(matches!(error, IndexError::Damaged(_)), "bit {bit}: {error}");
    }
    fs::remove_file(&identity).unwrap();
    assert!(matches!(open(rig.dir.path(), &rig.options), Err(IndexError::Damaged(_))));
}

#[test]
fn a_store_moved_here_from_another_index_is_refused() {
    let rig = sealed();
    let other = TempDir::new().unwrap();
    drop(Index::open(other.path(), &genesis(), LogId([9; 16]), &rig.options).unwrap());
    fs::remove_dir_all(other.path().join("store")).unwrap();
    copy_dir(&rig.dir.path().join("store"), &other.path().join("store"));
    let error = Index::open(other.path(), &genesis(), LogId([9; 16]), &rig.options).unwrap_err();
    assert!(matches!(error, IndexError::Foreign { field: "owner of its runs", .. }), "{error}");
}
