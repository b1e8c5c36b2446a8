//! Repeats are found wherever the first one lies: in the batch, in memory, in a run, behind a restart.

use changelog::LogId;
use dedup::{Index, IndexError, PENDING_BATCHES_MAX, Remedy, Replay};
use wire::changelog::{Chain, Framed, Moved, Output, Record, encode_batch};
use wire::{Bucket, Window};

use crate::rig::{KEPT, LOG_ID, Rig, digest, genesis, open, short};

#[test]
fn a_repeat_is_found_in_its_own_batch_in_the_next_and_in_a_run() {
    let mut rig = Rig::new(4);
    assert_eq!(rig.pass(&[1, 2, 1]), "nnd");
    assert_eq!(rig.pass(&[2, 3, 4]), "dnn");
    rig.maintain();
    let stats = rig.index().stats();
    assert_eq!((stats.runs, stats.sealed_digests, stats.open_digests), (1, 4, 0));
    assert_eq!(rig.pass(&[1, 5, 4]), "dnd");
    let stats = rig.index().stats();
    assert_eq!((stats.candidates, stats.duplicates, stats.open_hits, stats.store_hits), (9, 4, 2, 2));
}

#[test]
fn a_repeat_is_found_in_a_batch_that_has_not_been_committed() {
    let mut rig = Rig::new(100);
    let (one, first) = rig.decide(&[1, 2]);
    let (two, second) = rig.decide(&[2, 3]);
    assert_eq!((short(&one), short(&two)), ("nn".into(), "dn".into()));
    assert_eq!(second.entries(), [(digest(3), Bucket(100))]);
    rig.commit(first);
    rig.commit(second);
    assert_eq!(rig.pass(&[1, 2, 3, 4]), "dddn");
}

#[test]
fn what_is_discarded_was_never_decided() {
    let mut rig = Rig::new(100);
    assert_eq!(rig.pass(&[1]), "n");
    let (_, first) = rig.decide(&[2, 3]);
    let (_, second) = rig.decide(&[4]);
    rig.index().discard();
    drop((first, second));
    let stats = rig.index().stats();
    assert_eq!((stats.pending_batches, stats.pending_digests, stats.open_digests), (0, 0, 1));
    assert_eq!(rig.pass(&[1, 2, 3, 4]), "dnnn");
}

#[test]
fn sealing_leaves_out_what_is_not_committed() {
    let mut rig = Rig::new(2);
    let (_, first) = rig.decide(&[1, 2]);
    let (_, second) = rig.decide(&[3]);
    rig.commit(first);
    rig.maintain();
    let stats = rig.index().stats();
    assert_eq!((stats.sealed_digests, stats.open_digests, stats.pending_digests), (2, 1, 1));
    rig.index().discard();
    drop(second);
    assert_eq!(rig.pass(&[1, 2, 3]), "ddn");
    rig.reopen();
    assert_eq!(rig.pass(&[1, 2, 3, 4]), "dddn");
}

#[test]
fn repeats_are_found_after_reopening_and_replaying() {
    let mut rig = Rig::new(10);
    for batch in 0..10 {
        let names: Vec<_> = (0..7).map(|n| batch * 7 + n).collect();
        assert_eq!(rig.pass(&names), "nnnnnnn");
        rig.maintain();
    }
    // Sealed with the second, fourth… tenth batch: nothing to replay, then one record.
    assert_eq!(rig.reopen(), 0);
    assert_eq!(rig.pass(&[70]), "n");
    assert_eq!(rig.reopen(), 1);
    let names: Vec<_> = (0..=70).collect();
    assert_eq!(rig.pass(&names), "d".repeat(71));
}

#[test]
fn an_expired_event_is_published_once_and_a_known_one_not_at_all() {
    let mut rig = Rig::new(100);
    let now = rig.clock_ms;
    let (verdicts, batch) = rig.decide_received(&[(1, now), (2, now - KEPT * 1000), (3, now - KEPT * 1000 - 1)]);
    assert_eq!(short(&verdicts), "nnx");
    assert_eq!(batch.entries()[2], (digest(3), Bucket(95)), "recorded in the oldest kept bucket");
    rig.commit(batch);
    let (verdicts, batch) = rig.decide_received(&[(3, 0), (1, 0), (4, now + 60_000)]);
    assert_eq!(short(&verdicts), "ddn");
    assert_eq!(batch.entries(), [(digest(4), Bucket(101))], "clamped to tomorrow");
    rig.commit(batch);
    assert_eq!(rig.index().stats().expired, 1);
}

#[test]
fn verdicts_change_with_the_clocks_bucket_and_not_with_housekeeping() {
    for seals in [false, true] {
        let mut rig = Rig::new(if seals { 1 } else { 100 });
        assert_eq!(rig.pass(&[1]), "n");
        rig.maintain();
        rig.clock_ms += KEPT * 1000 + 999;
        assert_eq!(rig.pass(&[1, 2]), "dn", "{seals}");
        rig.clock_ms += 1;
        // Its bucket is no longer kept, though nothing has been dropped.
        assert_eq!(rig.pass(&[1, 2, 1]), "ndd", "{seals}");
        rig.reopen();
        assert_eq!(rig.pass(&[1, 2]), "dd", "{seals}");
    }
}

#[test]
fn runs_expire_oldest_first_and_the_newest_stays_to_say_where_the_log_stands() {
    let mut rig = Rig::new(1);
    for name in 0..3 {
        assert_eq!(rig.pass(&[name]), "n");
        rig.maintain();
        rig.clock_ms += 1000;
    }
    assert_eq!(rig.index().stats().runs, 3);
    rig.clock_ms = 100_000 + (KEPT + 2) * 1000;
    rig.maintain();
    let stats = rig.index().stats();
    assert_eq!((stats.runs, stats.sealed_digests, stats.runs_dropped, stats.oldest_bucket), (1, 1, 2, Some(102)));
    rig.clock_ms += 100_000;
    rig.maintain();
    assert_eq!(rig.index().stats().runs, 1);
    assert_eq!(rig.reopen(), 0, "the last run still says how far the log was applied");
    assert_eq!(rig.index().stats().runs, 1);
    assert_eq!(rig.pass(&[0, 1, 2]), "nnn");
    rig.maintain();
    rig.maintain();
    assert_eq!(rig.index().stats().runs, 1);
}

#[test]
fn dropped_runs_free_their_files() {
    let mut rig = Rig::new(10_000);
    let tables = |rig: &Rig| {
        let entries = std::fs::read_dir(rig.dir.path().join("store")).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|name| name == "sst")).count()
    };
    for day in 0..20 {
        let names: Vec<_> = (0..10_000).map(|n| day * 10_000 + n).collect();
        rig.pass(&names);
        rig.maintain();
        rig.clock_ms += 1000;
    }
    let stats = rig.index().stats();
    assert_eq!(stats.runs, tables(&rig) as u64);
    assert_eq!((stats.runs, stats.runs_dropped), (KEPT as u64 + 1, 20 - KEPT as u64 - 1));
    assert!(stats.sealed_bytes < 13 * stats.sealed_digests, "{stats:?}");
}

#[test]
fn around_midnight_two_buckets_share_a_run() {
    let mut rig = Rig::new(6);
    rig.clock_ms = 101_000;
    let (verdicts, batch) = rig.decide_received(&[(1, 100_999), (2, 101_000), (3, 100_998), (4, 96_000)]);
    assert_eq!(short(&verdicts), "nnnn");
    rig.commit(batch);
    let (_, batch) = rig.decide_received(&[(5, 101_001), (6, 102_000)]);
    rig.commit(batch);
    rig.maintain();
    assert_eq!(rig.index().stats().runs, 1);
    for reopened in [false, true] {
        let buckets = [1, 2, 3, 4, 5, 6].map(|name| rig.index().lookup(digest(name)).unwrap().unwrap().0);
        assert_eq!(buckets, [100, 101, 100, 96, 101, 102], "reopened: {reopened}");
        rig.reopen();
    }
    // Each expires with its own bucket, while the run stays for the newest.
    rig.clock_ms = 102_000;
    assert_eq!(rig.pass(&[4, 1]), "nd");
    rig.clock_ms = 106_000;
    assert_eq!(rig.pass(&[1, 3, 2, 5, 6]), "nnddd");
}

#[test]
fn a_changed_bucket_seals_what_is_open_and_so_does_progress_without_identities() {
    let mut rig = Rig::new(100);
    rig.pass(&[1]);
    rig.maintain();
    assert_eq!(rig.index().stats().runs, 0);
    rig.clock_ms += 1000;
    rig.pass(&[1]);
    rig.maintain();
    assert_eq!((rig.index().stats().runs, rig.reopen()), (1, 0));
    rig.pass(&[1]);
    rig.clock_ms += 1000;
    rig.pass(&[1]);
    rig.maintain();
    let stats = rig.index().stats();
    assert_eq!((stats.runs, stats.sealed_digests), (2, 1));
    assert_eq!(rig.reopen(), 0, "a run without identities still covers the changelog");
    assert_eq!(rig.pass(&[1, 2]), "dn");
}

#[test]
fn replaying_twice_or_from_the_beginning_changes_nothing() {
    let mut rig = Rig::new(5);
    for name in 0..23 {
        rig.pass(&[name, name / 2]);
        rig.maintain();
    }
    let before = rig.index().stats();
    rig.close();
    let mut partition = open(rig.dir.path(), &rig.options).unwrap();
    let covered = partition.replay_from().unwrap().next_offset as usize;
    assert!(covered > 0 && covered < rig.records());
    assert_eq!(rig.log.replay(&mut partition, 0, rig.clock_ms).unwrap(), rig.records() - covered);
    assert_eq!(rig.log.replay(&mut partition, 0, rig.clock_ms).unwrap(), 0);
    let after = partition.stats();
    assert_eq!(
        (after.sealed_digests, after.open_digests, after.runs),
        (before.sealed_digests, before.open_digests, before.runs)
    );
}

#[test]
fn a_record_that_is_half_covered_is_of_another_log() {
    let mut rig = Rig::new(1);
    rig.pass(&[1]);
    rig.maintain();
    let mut bytes = Vec::new();
    let moved = Moved { positions: &[], is_all: true };
    encode_batch(&mut bytes, (0, Chain::default()), 0, moved, Output::None, &[]);
    let Framed { record: Record::Batch(batch), .. } = Framed::decode(&bytes).unwrap() else { panic!("a batch") };
    let mut next = rig.log.point(1);
    next.next_offset = 5;
    let refused = rig.index().replay(0, next, &batch);
    assert!(matches!(refused, Err(IndexError::Damaged(_))), "{refused:?}");
    // Offsets may jump, as those of a transactional log do.
    assert_eq!(rig.index().replay(3, next, &batch).unwrap(), Replay::Applied);
    assert_eq!(rig.index().applied(), Some(next));
}

#[test]
fn memory_has_a_bound_and_housekeeping_frees_it() {
    let mut rig = Rig::new(8);
    rig.options.unsealed_digests_max = 10;
    rig.close();
    rig.reopen();
    rig.pass(&[1, 2, 3, 4, 5, 6]);
    let events: Vec<_> =
        (7..13).map(|name| dedup::Candidate { digest: digest(name), received_at_ms: rig.clock_ms }).collect();
    let mut verdicts = Vec::new();
    let refused = rig.index().decide(&events, 100_000, 100_000, &mut verdicts).unwrap_err();
    assert!(matches!(refused, IndexError::Full { count: 12, count_max: 10, .. }), "{refused}");
    assert_eq!((refused.remedy(), verdicts.len()), (Remedy::Retry, 0));
    rig.maintain();
    assert_eq!(rig.pass(&[7, 8, 9, 10, 11, 12, 1]), "nnnnnnd");
    // An empty table takes any batch.
    rig.index().seal().unwrap();
    assert_eq!(rig.pass(&(100..120).collect::<Vec<_>>()), "n".repeat(20));
}

#[test]
fn uncommitted_batches_have_a_bound() {
    let mut rig = Rig::new(100);
    let decided: Vec<_> = (0..PENDING_BATCHES_MAX as u64).map(|name| rig.decide(&[name]).1).collect();
    let refused = rig.index().decide(&[], 100_000, 100_000, &mut Vec::new());
    assert!(matches!(refused, Err(IndexError::Full { what: "uncommitted batches", .. })), "{refused:?}");
    for batch in decided {
        rig.commit(batch);
    }
    assert_eq!(rig.pass(&[0, 99]), "dn");
}

#[test]
#[should_panic(expected = "batches commit in the order in which they were decided")]
fn batches_commit_in_their_order() {
    let mut rig = Rig::new(100);
    let (_, _first) = rig.decide(&[1]);
    let (_, second) = rig.decide(&[2]);
    rig.commit(second);
}

#[test]
fn another_genesis_or_log_is_refused_by_name() {
    let mut rig = Rig::new(100);
    rig.pass(&[1]);
    rig.index().seal().unwrap();
    rig.close();
    let dir = rig.dir.path();
    let with = |change: fn(&mut wire::changelog::Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        Index::open(dir, &genesis, LOG_ID, &rig.options)
    };
    let cases = [
        ("log id", Index::open(dir, &genesis(), LogId([1; 16]), &rig.options)),
        ("lanes", with(|genesis| genesis.lanes = wire::LaneCount::ONE)),
        ("digest seed", with(|genesis| genesis.seed.0 += 1)),
        ("bucket span", with(|genesis| genesis.window = Window::try_new(2000, 4, 1).unwrap())),
        ("promised buckets", with(|genesis| genesis.window = Window::try_new(1000, 5, 1).unwrap())),
        ("margin buckets", with(|genesis| genesis.window = Window::try_new(1000, 4, 2).unwrap())),
        ("creation time", with(|genesis| genesis.created_ms += 1)),
    ];
    for (name, opened) in cases {
        let error = opened.unwrap_err();
        assert!(matches!(&error, IndexError::Foreign {  field, .. } if *field == name), "{name}: {error}");
        assert_eq!(error.remedy(), Remedy::Stop);
    }
    assert!(open(dir, &rig.options).is_ok());
}

#[test]
fn an_index_is_opened_once_and_destroyed_only_when_closed() {
    let mut rig = Rig::new(1);
    rig.pass(&[1]);
    rig.maintain();
    assert!(matches!(open(rig.dir.path(), &rig.options), Err(IndexError::Locked(_))));
    assert!(matches!(Index::destroy(rig.dir.path()), Err(IndexError::Locked(_))));
    assert_eq!(rig.pass(&[1]), "d", "the owner is not disturbed");
    rig.close();
    Index::destroy(rig.dir.path()).unwrap();
    Index::destroy(rig.dir.path()).unwrap();
    assert_eq!(open(rig.dir.path(), &rig.options).unwrap().replay_from(), None);
    assert_eq!(rig.reopen(), 2);
    assert_eq!(rig.pass(&[1, 2]), "dn");
}

#[test]
fn destroy_leaves_alone_what_is_no_index() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("notes"), "mine").unwrap();
    assert!(matches!(Index::destroy(dir.path()), Err(IndexError::Foreign { .. })));
    assert!(dir.path().join("notes").exists());
    Index::destroy(&dir.path().join("nothing")).unwrap();
}
