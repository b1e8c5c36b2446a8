//! `dedup-worker lookup`: whether an id is known, since when, and where its event lies.

use std::ops::ControlFlow;
use std::path::Path;

use changelog::{Placed, Progress, RestoreError, Start, each};
use dedup::Index;
use ownership::{Log, never};
use service::Failure;
use wire::changelog::{Genesis, OutputRange, Record};
use wire::partition::partition_of;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::{Bucket, Digest, MessageId, PartitionCount, SourceId};

use super::bar::Bar;
use super::{begin, facts, genesis, probe};
use crate::worker::spec::refused;

/// A batch that published the identity.
struct Found {
    offset: u64,
    bucket: Bucket,
    output: OutputRange,
    clock_ms: i64,
}

/// Reads the changelog of the id's partition, and so answers beside running workers and without an index.
///
/// # Errors
/// [`Failure::Usage`] for an id that cannot be one; where the changelog cannot be read.
pub fn lookup(file: Option<&Path>, source: &str, message_id: &str) -> Result<(), Failure> {
    let config = begin(file)?;
    let source = SourceId::try_new(source.as_bytes()).ok_or_else(|| Failure::usage("a source has 1 to 256 bytes"))?;
    let id = MessageId::try_new(message_id.as_bytes());
    let id = id.ok_or_else(|| Failure::usage("a messageId has 1 to 1024 bytes"))?;
    let (spec, probe) = (config.spec(), probe(&config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let count = PartitionCount::try_new(facts.partition_count).ok_or_else(|| Failure::failed("no partitions"))?;
    let partition = partition_of(id, count);
    let marks = probe.watermarks(EVENTS_INDEX, partition).map_err(Failure::failed)?;
    let mut changelog = Log { spec: &spec, facts: &facts, lane: partition, marks, is_stopped: &never };
    let Some(genesis) = genesis(&mut changelog)? else {
        println!("not known: the changelog of partition {partition} is empty");
        return Ok(());
    };
    let digest = Digest::of(genesis.seed, source, id);
    let bar = Bar::new();
    bar.expect(marks.high - marks.low);
    let mut before = Progress::default();
    let mut found = Vec::new();
    let mut clock_ms = genesis.created_ms;
    let read = each::<_, Index, RestoreError<_, _>>(&mut changelog, Start::First, |Placed { offset, .. }, record| {
        bar.advance(&mut before, Progress { from: marks.low, offset: offset + 1, end: marks.high, entries: 0 });
        if let Record::Batch(batch) = record {
            clock_ms = clock_ms.max(batch.clock_ms);
            if let Some((_, bucket)) = batch.entries.iter().find(|(known, _)| *known == digest) {
                found.push(Found { offset, bucket, output: batch.output, clock_ms: batch.clock_ms });
            }
        } else if let Record::Checkpoint(checkpoint) = record {
            clock_ms = clock_ms.max(checkpoint.clock_ms);
        }
        Ok(ControlFlow::Continue(()))
    });
    bar.finish();
    let _ = read.map_err(|error| Failure::failed(refused(&changelog, error)))?;
    print(&genesis, partition, clock_ms, &found);
    Ok(())
}

fn print(genesis: &Genesis, partition: u32, clock_ms: i64, found: &[Found]) {
    let window = genesis.window;
    let Some(newest) = found.iter().max_by_key(|found| found.bucket) else {
        println!("not known in partition {partition}: the next event with this id is published");
        return;
    };
    let verdict = if newest.bucket >= window.oldest(clock_ms) {
        "known: the next event with this id is a duplicate"
    } else {
        "known once, but older than the window: the next event with this id is published"
    };
    println!("{verdict}");
    for Found { offset, bucket, output, clock_ms } in found {
        let received_ms = u64::from(bucket.0) * window.bucket_ms();
        let OutputRange { start, end, .. } = output;
        println!(
            "  received in the {} s from {received_ms} (Unix ms), decided at {clock_ms}\n  \
             {EVENTS_DEDUPED} {partition}, offsets {start} to {}\n  {EVENTS_INDEX} {partition}, offset {offset}",
            window.bucket_ms() / 1000,
            end.saturating_sub(1),
        );
    }
}
