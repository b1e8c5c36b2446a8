//! `dedup-worker lookup`: whether an id is known, since when, and where its event lies.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use changelog::{Placed, Progress, RestoreError, Start, each};
use dedup::Index;
use kafka::{Cluster, Isolation, LogReader, Probe, Read};
use ownership::{Log, Reading, never};
use service::{Failure, say};
use wire::changelog::{Framed, Genesis, Output, Record};
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX, SOURCE_HEADER};
use wire::{Bucket, Digest, MessageId, SourceId};

use super::bar::Bar;
use super::{TIMEOUT, begin, facts, genesis, lanes, probe};
use crate::worker::spec::refused;
use crate::worker::topics;

/// How far the append times of a batch's record and of its output may lie from each other: as long as a transaction lives.
const TRANSACTION_MS_MAX: i64 = 60_000;
/// Time of one poll for a record of the output.
const POLL: Duration = Duration::from_millis(100);

/// A batch that published the identity.
struct Found {
    offset: u64,
    appended_ms: Option<i64>,
    bucket: Bucket,
    output: Output,
    clock_ms: i64,
}

/// Whose event is looked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    source: SourceId<'a>,
    message_id: MessageId<'a>,
}

/// Reads the changelog of the id's lane, and so answers beside running workers and without an index. Prints the event, too,
/// where it `is_shown`.
///
/// # Errors
/// [`Failure::Usage`] for an id that cannot be one; where the changelog cannot be read.
pub fn lookup(file: Option<&Path>, source: &str, message_id: &str, is_shown: bool) -> Result<(), Failure> {
    let config = begin(file)?;
    let source = SourceId::try_new(source.as_bytes()).ok_or_else(|| Failure::usage("a source has 1 to 256 bytes"))?;
    let id = MessageId::try_new(message_id.as_bytes());
    let id = id.ok_or_else(|| Failure::usage("a messageId has 1 to 1024 bytes"))?;
    let (spec, probe) = (config.spec(), probe(&config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let lane = lanes(&config, &facts)?.lane_of(id);
    let marks = probe.watermarks(EVENTS_INDEX, lane).map_err(Failure::failed)?;
    let mut changelog =
        Log { spec: &spec, facts: &facts, lane, marks, reading: &Reading::default(), is_stopped: &never };
    let Some(genesis) = genesis(&mut changelog)? else {
        return say(format_args!("not known: the changelog of lane {lane} is empty"));
    };
    let digest = Digest::of(genesis.seed, source, id);
    let bar = Bar::new();
    bar.expect(marks.high - marks.low);
    let mut before = Progress::default();
    let mut found = Vec::new();
    let mut clock_ms = genesis.created_ms;
    let read = each::<_, Index, RestoreError<_, _>>(&mut changelog, Start::First, |placed, record| {
        let Placed { offset, appended_ms, .. } = placed;
        bar.advance(&mut before, Progress { from: marks.low, offset: offset + 1, end: marks.high, entries: 0 });
        let Framed { record, .. } = record;
        if let Record::Batch(batch) = record {
            clock_ms = clock_ms.max(batch.clock_ms);
            if let Some((_, bucket)) = batch.entries.iter().find(|(known, _)| *known == digest) {
                let (output, clock_ms) = (batch.output, batch.clock_ms);
                found.push(Found { offset, appended_ms, bucket, output, clock_ms });
            }
        } else if let Record::Checkpoint(checkpoint) = record {
            clock_ms = clock_ms.max(checkpoint.clock_ms);
        }
        Ok(ControlFlow::Continue(()))
    });
    bar.finish();
    let _ = read.map_err(|error| Failure::failed(refused(&changelog, error)))?;
    print(&genesis, lane, clock_ms, &found)?;
    if is_shown {
        let asked = Asked { source, message_id: id };
        for found in &found {
            show(&config.output(), &probe, &genesis, asked, found)?;
        }
    }
    Ok(())
}

fn print(genesis: &Genesis, lane: u32, clock_ms: i64, found: &[Found]) -> Result<(), Failure> {
    let window = genesis.window;
    let Some(newest) = found.iter().max_by_key(|found| found.bucket) else {
        return say(format_args!("not known in lane {lane}: the next event with this id is published"));
    };
    let verdict = if newest.bucket >= window.oldest(clock_ms) {
        "known: the next event with this id is a duplicate"
    } else {
        "known once, but older than the window: the next event with this id is published"
    };
    say(verdict)?;
    for Found { offset, bucket, output, clock_ms, .. } in found {
        let received_ms = u64::from(bucket.0) * window.bucket_ms();
        let output = match output {
            Output::Partition(partition) => format!("{EVENTS_DEDUPED} {partition}, under this key"),
            Output::None | Output::File(_) => format!("{EVENTS_DEDUPED}, in a partition that was not written down"),
        };
        say(format_args!(
            "  received in the {} s from {received_ms} (Unix ms), decided at {clock_ms}\n  \
             {output}\n  {EVENTS_INDEX} {lane}, offset {offset}",
            window.bucket_ms() / 1000,
        ))?;
    }
    Ok(())
}

/// Prints the event that a batch published. It was appended when the batch was, unless the changelog was made again from the
/// output; then at some time since it was received.
fn show(
    cluster: &Cluster,
    probe: &Probe,
    genesis: &Genesis,
    asked: Asked<'_>,
    &Found { appended_ms, bucket, output, .. }: &Found,
) -> Result<(), Failure> {
    let (Output::Partition(partition), Some(appended_ms)) = (output, appended_ms) else {
        return say("the event cannot be shown: it was not written down where it lies");
    };
    let received_ms = (u64::from(bucket.0) * genesis.window.bucket_ms()).cast_signed();
    let (about_then, until_ms) = (appended_ms - TRANSACTION_MS_MAX, appended_ms + TRANSACTION_MS_MAX);
    for from_ms in [about_then, received_ms.min(about_then)] {
        let at = |time_ms| {
            let told = probe.offsets_at(EVENTS_DEDUPED, &[(partition, time_ms)]).map_err(Failure::failed)?;
            let silent = || Failure::failed(format!("{EVENTS_DEDUPED} {partition} does not answer"));
            told.get(&partition).copied().ok_or_else(silent)
        };
        let Some(from) = at(from_ms)? else { continue };
        let end = probe.watermarks(EVENTS_DEDUPED, partition).map_err(Failure::failed)?.high;
        let until = at(until_ms)?.unwrap_or(end);
        if let Some(event) = event_between(cluster, partition, (from, until), asked)? {
            return say(event);
        }
    }
    say(format_args!("the event is not in {EVENTS_DEDUPED} {partition} any more"))
}

/// The value of the first record between two offsets that is the event, and where it lies.
fn event_between(
    cluster: &Cluster,
    partition: u32,
    (from, until): (u64, u64),
    asked: Asked<'_>,
) -> Result<Option<String>, Failure> {
    let reader = LogReader::open(cluster, topics::EVENTS_DEDUPED, partition, from, Isolation::Committed);
    let mut reader = reader.map_err(Failure::failed)?;
    let bar = Bar::new();
    bar.expect(until.saturating_sub(from));
    let (mut moved, mut read_to) = (Instant::now(), from);
    while read_to < until {
        match reader.read(POLL) {
            Read::Record(record) => {
                moved = Instant::now();
                bar.inc(record.offset() + 1 - read_to);
                read_to = record.offset() + 1;
                let of_source = |(name, value): (&[u8], Option<&[u8]>)| {
                    name == SOURCE_HEADER.as_bytes() && value == Some(asked.source.as_bytes())
                };
                if record.key() == Some(asked.message_id.as_bytes()) && record.headers().any(of_source) {
                    bar.finish();
                    let value = String::from_utf8_lossy(record.value().unwrap_or_default()).into_owned();
                    return Ok(Some(format!("{EVENTS_DEDUPED} {partition}, offset {}:\n{value}", record.offset())));
                }
            }
            // The marks of transactions are no records; the position passes them.
            Read::End | Read::Nothing => read_to = read_to.max(reader.position()),
            Read::OutOfRange => break,
            Read::Trouble(failure) => tracing::debug!(%failure, "reading the output"),
        }
        if moved.elapsed() > 2 * TIMEOUT {
            bar.finish();
            return Err(Failure::failed(format!("{EVENTS_DEDUPED} {partition} does not answer")));
        }
    }
    bar.finish();
    Ok(None)
}
