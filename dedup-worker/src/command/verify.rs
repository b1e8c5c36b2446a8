//! `dedup-worker verify`: whether the index says what the changelog says.

use std::path::Path;

use service::Failure;
use wire::changelog::Record;
use wire::topic::EVENTS_INDEX;

use super::bar::Bar;
use super::status::newest;
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
        let (mut before, mut missing) = (Progress::default(), 0_u64);
        let clock_ms = newest(&changelog)?.map_or(genesis.created_ms, |(_, clock_ms)| clock_ms);
        // What has expired may be gone.
        let oldest = genesis.window.oldest(clock_ms);
        let mut entries = 0;
        let mut tell = |progress: Progress| {
            bar.advance(&mut before, progress);
            Ok(())
        };
        let read = changelog.read(marks.low, &mut tell, &mut |offset, _, record| {
            if offset >= covered {
                return Ok(false);
            }
            if let Record::Batch(batch) = record {
                for (digest, bucket) in batch.entries.iter() {
                    entries += 1;
                    // Newer is right too: the identity was published again after it had expired.
                    if bucket >= oldest && index.lookup(digest)?.is_none_or(|found| found < bucket) {
                        missing += 1;
                        if missing <= PRINTED_MAX {
                            let (hex, day) = (digest.0, bucket.0);
                            println!(
                                "partition {partition}: {hex:032x}, offset {offset}, bucket {day}, is not in the index"
                            );
                        }
                    }
                }
            }
            Ok(true)
        });
        read.map_err(Failure::failed)?;
        differences += missing;
        compared += entries;
        // Every identity that is sealed came with an entry; unless the entry has been deleted since.
        let sealed = index.stats().sealed_digests;
        if sealed > entries && marks.low == 0 {
            differences += 1;
            println!("partition {partition}: the index holds {sealed} identities, the changelog only {entries}");
        }
    }
    bar.finish();
    println!("{compared} identities of {partitions} partitions compared, {differences} differences");
    if differences == 0 {
        return Ok(());
    }
    Err(Failure::failed("the index is not what the changelog says; `dedup-worker rebuild` makes it again"))
}
