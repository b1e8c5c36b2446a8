//! Rule: a crash between output, ledger and index neither loses nor doubles, also for somebody who reads along. Neither does
//! an outage, or a clock that is wrong for a while.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use wire::{DigestSeed, LaneCount, Window, envelope};

use super::*;
use crate::time::Clocks;

const INSTANCE: [u8; 16] = [3; 16];
const NOW_MS: i64 = 1_795_248_000_000;
const DAY_MS: i64 = 86_400_000;

thread_local! {
    /// The wall, and time since the host was started, milliseconds.
    static HOST: Cell<(i64, i64)> = const { Cell::new((NOW_MS, 0)) };
}

const CLOCKS: Clocks =
    Clocks { wall_ms: || HOST.get().0, since_boot: || Duration::from_millis(HOST.get().1.cast_unsigned()) };

/// Time passes, and the wall says so.
fn pass(ms: i64) {
    let (wall_ms, since_boot_ms) = HOST.get();
    HOST.set((wall_ms + ms, since_boot_ms + ms));
}

const STEPS: [Step; 5] =
    [Step::OutputWritten, Step::OutputSynced, Step::LedgerWritten, Step::LedgerSynced, Step::IndexUpdated];

fn genesis() -> Genesis {
    Genesis { lanes: LaneCount::ONE, seed: DigestSeed(11), window: Window::default(), created_ms: NOW_MS }
}

fn record_at(event: u64, received_at_ms: i64) -> Vec<u8> {
    let mut record = Vec::new();
    let id = format!("m-{event}");
    envelope::begin_event(
        &mut record,
        SourceId::try_new(b"web").unwrap(),
        MessageId::try_new(id.as_bytes()).unwrap(),
        received_at_ms,
    );
    let received_at = jiff::Timestamp::from_millisecond(received_at_ms).unwrap();
    let value = format!(r#"{{"messageId":"{id}","source":"web","receivedAt":"{received_at}","type":"track"}}"#);
    record.extend_from_slice(value.as_bytes());
    record
}

fn record(event: u64) -> Vec<u8> {
    record_at(event, NOW_MS)
}

fn layout(dir: &TempDir) -> Layout {
    Layout { output_file_bytes_max: 2_000, ledger_file_bytes_max: 2_000, ..Layout::below(dir.path()) }
}

fn try_open(dir: &TempDir) -> Result<(Pipeline, Recovered), PipelineError> {
    let options = dedup::Options::default();
    Pipeline::open(layout(dir), InstanceId::from_bytes(INSTANCE), &genesis(), &options, HOST.get().0, &mut |_| ())
}

fn open(dir: &TempDir) -> (Pipeline, Recovered) {
    try_open(dir).unwrap()
}

/// Feeds what a buffer with these records would: those from the ledger's position to `end`.
fn feed(pipeline: &mut Pipeline, records: &[Vec<u8>], end: usize) -> Result<Outcome, PipelineError> {
    let start = pipeline.next_record().get() as usize;
    let ids = (start as u64..).map(RecordId::from_u64);
    let batch = ids.zip(records[start.min(end)..end].iter().map(Vec::as_slice));
    let mut time = started(pipeline);
    pipeline.process(&Decoded::of(batch), RecordId::from_u64(end as u64), &mut time)
}

/// What a process that begins now knows of the time.
fn started(pipeline: &Pipeline) -> Time {
    Time::start(CLOCKS, pipeline.persisted_ms(), false)
}

/// Every published messageId with its count.
fn published(dir: &TempDir) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for entry in fs::read_dir(layout(dir).deduped).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "complete lines only");
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            *counts.entry(value["messageId"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    counts
}

fn assert_each_once(dir: &TempDir, events: impl IntoIterator<Item = u64>) {
    let expected: HashMap<_, _> = events.into_iter().map(|event| (format!("m-{event}"), 1)).collect();
    assert_eq!(published(dir), expected);
}

#[test]
fn each_event_comes_out_once_whatever_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = [1, 2, 2, 3, 1].map(record).into();
    let (mut pipeline, _) = open(&dir);
    let outcome = feed(&mut pipeline, &records, 5).unwrap();
    assert_eq!((outcome.published, outcome.duplicates), (3, 2));
    drop(pipeline);
    let (mut pipeline, recovered) = open(&dir);
    assert_eq!((recovered.adopted, recovered.bytes_cut), (0, 0));
    let again: Vec<_> = records.iter().cloned().chain([record(3), record(4)]).collect();
    let outcome = feed(&mut pipeline, &again, 7).unwrap();
    assert_eq!((outcome.published, outcome.duplicates), (1, 1));
    assert_each_once(&dir, 1..=4);
}

#[test]
fn a_crash_at_any_step_neither_loses_nor_doubles() {
    for step in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let records: Vec<_> = (0..20).map(record).collect();
        let (mut pipeline, _) = open(&dir);
        feed(&mut pipeline, &records, 10).unwrap();
        pipeline.crash_at = Some(step);
        let error = feed(&mut pipeline, &records, 20).unwrap_err();
        assert!(matches!(error, PipelineError::Crash(at) if at == step));
        drop(pipeline);
        let seen = published(&dir);
        let (mut pipeline, recovered) = open(&dir);
        let ledger_knows = matches!(step, Step::LedgerWritten | Step::LedgerSynced | Step::IndexUpdated);
        assert_eq!(recovered.adopted, if ledger_knows { 0 } else { 10 }, "{step:?}");
        feed(&mut pipeline, &records, 20).unwrap();
        assert_each_once(&dir, 0..20);
        assert!(seen.keys().all(|id| published(&dir).contains_key(id)), "what was read stays");
    }
}

#[test]
fn an_event_older_than_the_window_is_published_once_through_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let old = vec![record_at(1, NOW_MS - 40 * 86_400_000)];
    let (mut pipeline, _) = open(&dir);
    pipeline.crash_at = Some(Step::OutputSynced);
    feed(&mut pipeline, &old, 1).unwrap_err();
    drop(pipeline);
    let (mut pipeline, recovered) = open(&dir);
    assert_eq!(recovered.adopted, 1);
    let outcome = feed(&mut pipeline, &old, 1).unwrap();
    assert_eq!((outcome.published, outcome.duplicates), (0, 1));
    assert_each_once(&dir, [1]);
}

#[test]
fn a_lost_ledger_and_index_are_made_again_from_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..100).map(record).collect();
    let (mut pipeline, _) = open(&dir);
    for end in [30, 60, 100] {
        feed(&mut pipeline, &records, end).unwrap();
    }
    drop(pipeline);
    fs::remove_dir_all(layout(&dir).ledger).unwrap();
    let (mut pipeline, recovered) = open(&dir);
    assert_eq!(recovered.adopted, 100);
    assert_eq!(pipeline.next_record().get(), 0, "a new ledger knows no position");
    let outcome = feed(&mut pipeline, &records, 100).unwrap();
    assert_eq!((outcome.published, outcome.duplicates), (0, 100));
    assert_each_once(&dir, 0..100);
}

#[test]
fn a_lost_or_foreign_index_is_replayed_from_the_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..50).map(record).collect();
    let (mut pipeline, _) = open(&dir);
    feed(&mut pipeline, &records, 50).unwrap();
    drop(pipeline);
    fs::remove_dir_all(layout(&dir).index).unwrap();
    let (mut pipeline, recovered) = open(&dir);
    assert!(recovered.records_replayed > 0);
    let source = SourceId::try_new(b"web").unwrap();
    let known = |pipeline: &Pipeline, id: &str| {
        pipeline.lookup(source, MessageId::try_new(id.as_bytes()).unwrap()).unwrap().is_some()
    };
    assert!(known(&pipeline, "m-0") && known(&pipeline, "m-49") && !known(&pipeline, "m-50"));
    let repeated: Vec<_> = records.iter().chain(&records).cloned().collect();
    assert_eq!(feed(&mut pipeline, &repeated, 100).unwrap().duplicates, 50);
    assert_each_once(&dir, 0..50);
}

#[test]
fn set_aside_events_and_unreadable_records_do_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut rejected = Vec::new();
    envelope::begin_rejected(&mut rejected, SourceId::try_new(b"web").unwrap(), None, NOW_MS);
    rejected.extend_from_slice(br#"{"code":"x"}"#);
    let records = vec![record(1), rejected, b"garbage".to_vec(), record(2)];
    let (mut pipeline, _) = open(&dir);
    let outcome = feed(&mut pipeline, &records, 4).unwrap();
    assert_eq!((outcome.published, outcome.rejected, outcome.unreadable), (2, 1, 1));
    let decoded = Decoded::of((0..).map(RecordId::from_u64).zip(records.iter().map(Vec::as_slice)));
    assert_eq!(decoded.unreadable, [(RecordId::from_u64(2), &b"garbage"[..])]);
    assert_each_once(&dir, [1, 2]);
    let lines = fs::read_to_string(layout(&dir).rejected.join("000000001.ndjson")).unwrap();
    assert_eq!(lines, "{\"code\":\"x\"}\n");
}

/// The repeat came on day 0 of an event of 26 days before, and the output was away until day 5: both are within the promise.
#[test]
fn an_output_away_for_days_changes_no_verdict() {
    HOST.set((NOW_MS - 26 * DAY_MS, 0));
    let dir = tempfile::tempdir().unwrap();
    let records = vec![record_at(1, NOW_MS - 26 * DAY_MS), record_at(1, NOW_MS)];
    let (mut pipeline, _) = open(&dir);
    let mut time = started(&pipeline);
    feed(&mut pipeline, &records, 1).unwrap();
    for _ in 0..25 {
        pass(DAY_MS);
        pipeline.idle(&mut time).unwrap();
    }
    pass(6 * DAY_MS);
    // The process is the same one, or another one: both find the same.
    for begins_again in [false, true] {
        if begins_again {
            drop(pipeline);
            pipeline = open(&dir).0;
            time = started(&pipeline);
        }
        let batch = Decoded::of([(RecordId::from_u64(1), records[1].as_slice())].into_iter());
        let outcome = pipeline.process(&batch, RecordId::from_u64(2), &mut time).unwrap();
        assert_eq!((outcome.published, outcome.duplicates), (0, 1), "begins again: {begins_again}");
    }
    assert_each_once(&dir, [1]);
    // Read to its end, it is now, a bucket a step, each of them in the ledger.
    pipeline.idle(&mut time).unwrap();
    assert_eq!(pipeline.clock.now_ms(), NOW_MS + 5 * DAY_MS);
    drop(pipeline);
    assert!(open(&dir).0.persisted_ms() >= NOW_MS + 4 * DAY_MS);
}

#[test]
fn a_wall_forty_days_ahead_for_four_seconds_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let records: Vec<_> = (0..10).chain(0..10).map(record).collect();
    let (mut pipeline, _) = open(&dir);
    let mut time = started(&pipeline);
    feed(&mut pipeline, &records, 10).unwrap();
    pipeline.idle(&mut time).unwrap();
    HOST.set((NOW_MS + 40 * DAY_MS, 0));
    for begins_again in [false, true] {
        if begins_again {
            drop(pipeline);
            pipeline = open(&dir).0;
            time = started(&pipeline);
        }
        for _ in 0..4 {
            pass(1_000);
            pipeline.idle(&mut time).unwrap();
        }
    }
    HOST.set((NOW_MS + 8_000, 8_000));
    pipeline.idle(&mut time).unwrap();
    assert_eq!(feed(&mut pipeline, &records, 20).unwrap().duplicates, 10);
    assert_each_once(&dir, 0..10);
}

/// Random batches with repeats, crashes at random steps, random torn tails, lost indexes: the model is a set.
#[test]
fn random_histories_agree_with_a_set() {
    for seed in 0..60 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut records = Vec::new();
        let mut accepted = BTreeSet::new();
        for _ in 0..12 {
            for _ in 0..rng.random_range(0..30) {
                let event = rng.random_range(0..150);
                accepted.insert(event);
                records.push(record(event));
            }
            let (mut pipeline, _) = open(&dir);
            if rng.random_bool(0.6) {
                pipeline.crash_at = Some(STEPS[rng.random_range(0..STEPS.len())]);
            }
            let crashed = feed(&mut pipeline, &records, records.len()).is_err();
            drop(pipeline);
            if crashed {
                tear(&mut rng, &dir);
            }
            if rng.random_bool(0.1) {
                fs::remove_dir_all(layout(&dir).index).unwrap();
            }
        }
        let (mut pipeline, _) = open(&dir);
        feed(&mut pipeline, &records, records.len()).unwrap();
        let counts = published(&dir);
        let expected: HashMap<_, _> = accepted.iter().map(|event| (format!("m-{event}"), 1)).collect();
        assert_eq!(counts, expected, "seed {seed}");
    }
}

/// What a crash inside a write leaves: a partial line behind the output, a partial record behind the ledger.
fn tear(rng: &mut SmallRng, dir: &TempDir) {
    for (folder, half) in [(layout(dir).deduped, &br#"{"messageId":"m-"#[..]), (layout(dir).ledger, b"TSCL\x01\x02")] {
        if rng.random_bool(0.5) {
            let newest = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
            let mut bytes = fs::read(&newest).unwrap();
            bytes.extend_from_slice(half);
            fs::write(newest, bytes).unwrap();
        }
    }
}
