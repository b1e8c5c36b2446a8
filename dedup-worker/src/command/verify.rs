//! `dedup-worker verify`: whether the index says what the changelog says.

use std::path::Path;

use service::Failure;
use wire::changelog::Record;
use wire::topic::EVENTS_INDEX;

use super::bar::Bar;
use super::{begin, facts, probe};
use crate::Partition;
use crate::worker::owner::index_dir;
use crate::worker::restore::{Changelog, Progress, log_id};

/// Differences printed for one partition; more are only counted.
const PRINTED_MAX: u64 = 20;

/// Looks up every identity of the changelog, as far as the index covers it, in the index of this data folder. The worker
/// whose folder it is must not be running.
///
/// # Errors
/// Where there is a difference; where changelog or index cannot be read.
pub fn verify(file: Option<&Path>) -> Result<(), Failure> {
    let config = begin(file)?;
    let (cluster, probe) = (config.output(), probe(&config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let bar = Bar::new();
    let (mut partitions, mut compared, mut differences) = (0_u64, 0_u64, 0_u64);
    for partition in 0..facts.partition_count {
        let dir = index_dir(&config.data, partition);
        if !dir.exists() {
            continue;
        }
        let marks = probe.watermarks(EVENTS_INDEX, partition).map_err(Failure::failed)?;
        let changelog = Changelog { cluster: &cluster, facts: &facts, partition, marks };
        let genesis = changelog.genesis(&mut |_| Ok(())).map_err(Failure::failed)?;
        let Some(genesis) = genesis else {
            println!("partition {partition}: there is an index, but the changelog is empty");
            differences += 1;
            continue;
        };
        let id = log_id(&facts, partition);
        let index = Partition::open(&dir, &genesis, id, &config.index_options()).map_err(Failure::failed)?;
        partitions += 1;
        let covered = index.replay_from().map_or(0, |point| point.next_offset);
        bar.expect(covered.saturating_sub(marks.low));
        let (mut before, mut clock_ms, mut missing) = (Progress::default(), 0, Vec::new());
        let mut known = std::collections::HashSet::new();
        let mut tell = |progress: Progress| {
            bar.advance(&mut before, progress);
            Ok(())
        };
        let read = changelog.read(marks.low, &mut tell, &mut |offset, _, record| {
            if offset >= covered {
                return Ok(false);
            }
            if let Record::Batch(batch) = record {
                clock_ms = clock_ms.max(batch.clock_ms);
                for (digest, bucket) in batch.entries.iter() {
                    compared += 1;
                    known.insert(digest.0);
                    // Newer is right too: the identity was published again after it had expired.
                    if index.lookup(digest)?.is_none_or(|found| found < bucket) {
                        missing.push((offset, digest, bucket));
                    }
                }
            }
            Ok(true)
        });
        read.map_err(Failure::failed)?;
        // What has expired may be gone.
        missing.retain(|(_, _, bucket)| *bucket >= genesis.window.oldest(clock_ms));
        for (offset, digest, bucket) in missing.iter().take(PRINTED_MAX as usize) {
            println!(
                "partition {partition}: {:032x} of changelog offset {offset}, bucket {}, is not in the index",
                digest.0, bucket.0
            );
        }
        differences += missing.len() as u64;
        let sealed = index.stats().sealed_digests;
        if sealed > known.len() as u64 && marks.low == 0 {
            differences += 1;
            println!("partition {partition}: the index holds {sealed} identities, the changelog only {}", known.len());
        }
    }
    bar.finish();
    println!("{compared} identities of {partitions} partitions compared, {differences} differences");
    if differences == 0 {
        return Ok(());
    }
    Err(Failure::failed("the index is not what the changelog says; `dedup-worker rebuild` makes it again"))
}
