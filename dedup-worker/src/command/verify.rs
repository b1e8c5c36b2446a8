//! `dedup-worker verify`: whether the index says what the changelog says.

use std::ops::ControlFlow;
use std::path::Path;

use changelog::{Log as _, Placed, Progress, RestoreError, Start, each, newest};
use dedup::{Index, Options};
use ownership::{Log, Reading, never};
use service::{Failure, say};
use wire::changelog::{Framed, Record};
use wire::topic::EVENTS_INDEX;

use super::audit::Audit;
use super::bar::Bar;
use super::{begin, facts, genesis, host, lanes, probe};
use crate::worker::spec::index_dir;
use crate::worker::spec::refused;

/// Compares each sealed run of the index in this data folder with the part of the changelog that it covers, both ways:
/// what is missing, and what nobody ever published. Prints `all` differences, or the first of each lane and their
/// number. The worker whose folder it is must not be running.
///
/// # Errors
/// Where there is a difference; where changelog or index cannot be read.
pub fn verify(file: Option<&Path>, all: bool) -> Result<(), Failure> {
    let config = begin(file)?;
    let (spec, probe) = (config.spec(), probe(&config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let has_index = |lane| index_dir(&config.data, lane).exists();
    let lane_count = lanes(&config, &facts)?.get();
    if !(0..lane_count).any(has_index) {
        let data = config.data.display();
        return Err(Failure::usage(format!(
            "there is no index in {data}; DEDUP_DATA or the key data names the folder"
        )));
    }
    let _held = host::lock(&config.data)?;
    let bar = Bar::new();
    let (mut indexes, mut compared, mut differences) = (0_u64, 0_u64, 0_u64);
    for lane in 0..lane_count {
        let dir = index_dir(&config.data, lane);
        if !has_index(lane) {
            continue;
        }
        let marks = probe.watermarks(EVENTS_INDEX, lane).map_err(Failure::failed)?;
        let mut changelog =
            Log { spec: &spec, facts: &facts, lane, marks, reading: &Reading::default(), is_stopped: &never };
        let genesis = genesis(&mut changelog)?;
        let Some(genesis) = genesis else {
            say(format_args!("lane {lane}: there is an index, but the changelog is empty"))?;
            differences += 1;
            continue;
        };
        let id = changelog.id();
        // Its runs are read one by one anyway.
        let options = Options { is_asked: false, ..config.index_options() };
        let index = Index::open(&dir, &genesis, id, &options).map_err(Failure::failed)?;
        indexes += 1;
        let covered = index.replay_from().map_or(0, |point| point.next_offset);
        bar.expect(covered.saturating_sub(marks.low));
        // What has expired may be gone.
        let asked = changelog;
        let fail = |error| Failure::failed(refused(&asked, error));
        let newest = newest::<_, Index>(&mut changelog).map_err(fail)?;
        let clock_ms = newest.map_or(genesis.created_ms, |newest| newest.clock_ms);
        let mut audit = Audit::new(&index, lane, marks.low, genesis.window.oldest(clock_ms), all);
        let mut before = Progress::default();
        let read =
            each::<_, Index, RestoreError<_, _>>(&mut changelog, Start::First, |Placed { offset, .. }, record| {
                if offset >= covered {
                    return Ok(ControlFlow::Break(()));
                }
                if let Framed { record: Record::Batch(batch), .. } = record {
                    audit.enter(offset, &batch).map_err(RestoreError::State)?;
                }
                bar.advance(&mut before, Progress { from: marks.low, offset: offset + 1, end: covered, entries: 0 });
                Ok(ControlFlow::Continue(()))
            });
        let _: ControlFlow<()> = read.map_err(fail)?;
        audit.finish().map_err(Failure::failed)?;
        differences += audit.differences;
        compared += audit.compared;
    }
    bar.finish();
    say(format_args!("{compared} identities of {indexes} lanes compared, {differences} differences"))?;
    if differences == 0 {
        return Ok(());
    }
    Err(Failure::failed("the index is not what the changelog says; `dedup-worker rebuild` makes it again"))
}
