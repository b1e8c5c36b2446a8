//! What only shows from inside: a run that was taken although an error said no; an index that nobody asks.

use changelog::LogId;
use wire::changelog::{Chain, Framed, Moved, Output, Record, encode_batch};
use wire::{DigestSeed, LaneCount};

use super::*;
use crate::error::Remedy;

fn digest(name: u128) -> Digest {
    Digest(name * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn open(dir: &Path) -> Index {
    open_with(dir, &Options::default())
}

fn open_with(dir: &Path, options: &Options) -> Index {
    let genesis = Genesis { lanes: LaneCount::ONE, seed: DigestSeed(1), window: Window::default(), created_ms: 0 };
    Index::open(dir, &genesis, LogId([0; 16]), options).unwrap()
}

fn replay(index: &mut Index, names: &[u128], offset: u64) {
    let entries: Vec<_> = names.iter().map(|name| (digest(*name), Bucket(0))).collect();
    let mut bytes = Vec::new();
    let none = Moved { positions: &[], is_all: false };
    encode_batch(&mut bytes, (0, Chain::default()), 0, none, Output::None, &entries);
    let Ok(Framed { record: Record::Batch(batch), .. }) = Framed::decode(&bytes) else { panic!("a batch") };
    assert_eq!(index.replay(offset, point(offset + 1), &batch).unwrap(), Replay::Applied);
}

fn point(next_offset: u64) -> Point {
    Point { next_offset, leader_epoch: -1, checksum: next_offset }
}

/// Decides and commits, and returns how many were published.
fn pass(index: &mut Index, names: &[u128], offset: u64) -> usize {
    let candidates: Vec<_> = names.iter().map(|name| Candidate { digest: digest(*name), received_at_ms: 0 }).collect();
    let batch = index.decide(&candidates, 0, 0, &mut Vec::new()).unwrap();
    let published = batch.entries().len();
    index.commit(batch, point(offset + 1));
    published
}

#[test]
fn a_run_that_was_taken_although_an_error_said_no_is_found_and_kept() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut index = open(dir.path());
    assert_eq!(pass(&mut index, &[1, 2, 3], 0), 3);
    index.sealed.fails_after_ingest = true;
    let error = index.seal().unwrap_err();
    assert_eq!(error.remedy(), Remedy::Retry);
    assert_eq!(index.replay_from(), None);
    assert_eq!(pass(&mut index, &[1, 2, 3, 4], 1), 1, "verdicts are right all the while");

    // The next housekeeping reads the store anew. The run is there and ends before what has been applied since.
    assert_eq!(index.maintain(0).unwrap().digests_sealed, 0);
    assert_eq!(index.replay_from(), Some(point(1)));
    assert_eq!((index.stats().runs, index.stats().open_digests), (1, 4));
    assert_eq!(index.seal().unwrap().digests_sealed, 4);
    assert_eq!((index.stats().runs, index.stats().open_digests), (2, 0));
    drop(index);

    let mut index = open(dir.path());
    assert_eq!(index.replay_from(), Some(point(2)));
    assert_eq!(pass(&mut index, &[1, 2, 3, 4, 5], 2), 1);
}

#[test]
fn an_index_that_nobody_asks_keeps_no_filters_and_answers_once_it_is_opened_to_be_asked() {
    let dir = tempfile::TempDir::new().unwrap();
    let unasked = Options { is_asked: false, ..Options::default() };
    for offset in 0..2 {
        let mut index = open_with(dir.path(), &unasked);
        assert_eq!(index.replay_from(), (offset > 0).then(|| point(offset)));
        replay(&mut index, &[u128::from(offset) * 2 + 1, u128::from(offset) * 2 + 2], offset);
        assert_eq!(index.seal().unwrap().digests_sealed, 2);
        assert_eq!((index.stats().filter_bytes, index.stats().run_filter_bytes), (0, 0));
    }
    let mut index = open(dir.path());
    assert!(index.stats().filter_bytes > 0 && index.stats().run_filter_bytes > 0);
    assert_eq!(pass(&mut index, &[1, 2, 3, 4, 5], 2), 1, "four of them are known");
}

#[test]
#[should_panic(expected = "opened to be filled")]
fn an_index_that_nobody_asks_gives_no_verdicts() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut index = open_with(dir.path(), &Options { is_asked: false, ..Options::default() });
    let _ = index.decide(&[], 0, 0, &mut Vec::new());
}

#[test]
fn an_index_can_be_moved_to_another_thread() {
    fn can_be_moved<T: Send>() {}
    can_be_moved::<Index>();
}
