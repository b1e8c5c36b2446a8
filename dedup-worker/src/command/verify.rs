//! `dedup-worker verify`: whether the index says what the changelog says.

use std::path::Path;

use dedup::{Index, Options};
use service::Failure;
use wire::changelog::Record;
use wire::topic::EVENTS_INDEX;

use super::audit::Audit;
use super::bar::Bar;
use super::{begin, facts, host, probe};
use crate::worker::changelog::{Changelog, Progress, log_id};
use crate::worker::owner::index_dir;

/// Compares each sealed run of the index in this data folder with the part of the changelog that it covers, both ways:
/// what is missing, and what nobody ever published. Prints `all` differences, or the first of each partition and their
/// number. The worker whose folder it is must not be running.
///
/// # Errors
/// Where there is a difference; where changelog or index cannot be read.
pub fn verify(file: Option<&Path>, all: bool) -> Result<(), Failure> {
    let config = begin(file)?;
    let (cluster, probe) = (config.output(), probe(&config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let has_index = |partition| index_dir(&config.data, partition).exists();
    if !(0..facts.partition_count).any(has_index) {
        let data = config.data.display();
        return Err(Failure::usage(format!(
            "there is no index in {data}; DEDUP_DATA or the key data names the folder"
        )));
    }
    let _held = host::lock(&config.data)?;
    let bar = Bar::new();
    let (mut partitions, mut compared, mut differences) = (0_u64, 0_u64, 0_u64);
    for partition in 0..facts.partition_count {
        let dir = index_dir(&config.data, partition);
        if !has_index(partition) {
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
        // Its runs are read one by one anyway.
        let options = Options { is_asked: false, ..config.index_options() };
        let index = Index::open(&dir, &genesis, id, &options).map_err(Failure::failed)?;
        partitions += 1;
        let covered = index.replay_from().map_or(0, |point| point.next_offset);
        bar.expect(covered.saturating_sub(marks.low));
        // What has expired may be gone.
        let newest = changelog.newest(&mut |_| Ok(())).map_err(Failure::failed)?;
        let clock_ms = newest.map_or(genesis.created_ms, |newest| newest.clock_ms);
        let mut audit = Audit::new(&index, partition, marks.low, genesis.window.oldest(clock_ms), all);
        let mut before = Progress::default();
        let mut tell = |progress: Progress| {
            bar.advance(&mut before, progress);
            Ok(())
        };
        let read = changelog.read(marks.low, &mut tell, &mut |offset, _, record| {
            if offset >= covered {
                return Ok(false);
            }
            if let Record::Batch(batch) = record {
                audit.enter(offset, &batch)?;
            }
            Ok(true)
        });
        read.map_err(Failure::failed)?;
        audit.finish().map_err(Failure::failed)?;
        differences += audit.differences;
        compared += audit.compared;
    }
    bar.finish();
    println!("{compared} identities of {partitions} partitions compared, {differences} differences");
    if differences == 0 {
        return Ok(());
    }
    Err(Failure::failed("the index is not what the changelog says; `dedup-worker rebuild` makes it again"))
}
