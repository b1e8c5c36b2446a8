//! `dedup-worker rebuild`: the index made again from the changelog, or the changelog from the output.
//!
//! The index is sealed into runs on the way, at `index.open_digests_max` identities of a lane and at each bucket's
//! end. A rebuild that was killed goes on behind them: it loses what was read of a lane since its last run, so no
//! more than that setting says, for each lane that was under way.

mod truth;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use changelog::{Beginning, Progress, restore};
use dedup::{Index, Options};
use kafka::Watermarks;
use ownership::{Log, Reading, never};
use service::{Failure, say};
use wire::LaneCount;
use wire::topic::EVENTS_INDEX;

use super::bar::Bar;
use super::{begin, facts, genesis, host, lanes, probe};
use crate::config::Config;
use crate::worker::spec::index_dir;
use crate::worker::spec::refused;

/// File that says that a rebuild was begun: the index beside it is unfinished, and the next rebuild goes on with it.
const UNFINISHED: &str = "rebuild-unfinished";
/// Lanes rebuilt at the same time at most: each one holds the open part of an index in memory.
const PARALLEL_MAX: usize = 8;

/// Lanes rebuilt at the same time for each core: while one waits for the disk or the broker, another computes.
const THREADS_A_CORE: usize = 4;

/// What is made again, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The index, from the changelog.
    Changelog,
    /// The changelog, from the output: for a changelog that is damaged or gone.
    Output,
}

/// Rebuilds, of one lane or of all. The worker whose data folder this is must not be running, but for [`From::Output`].
///
/// # Errors
/// Wrong settings, an index in use, a changelog that cannot be read.
pub fn rebuild(file: Option<&Path>, from: From, lane: Option<u32>) -> Result<(), Failure> {
    let config = begin(file)?;
    match from {
        From::Changelog => index(&config, lane),
        From::Output => truth::rebuild(&config, lane),
    }
}

fn index(config: &Config, only: Option<u32>) -> Result<(), Failure> {
    let (spec, probe) = (config.spec(), probe(config)?);
    let facts = facts(&probe, EVENTS_INDEX)?;
    let of = chosen(lanes(config, &facts)?, only)?;
    let _held = host::lock(&config.data)?;
    let mark = config.data.join(only.map_or_else(|| UNFINISHED.into(), |lane| format!("{UNFINISHED}-{lane}")));
    if mark.exists() {
        say(format_args!("going on with a rebuild that was interrupted"))?;
    } else {
        // First the mark: a crash between the two leaves an index that is kept and brought to the end.
        fs::write(&mark, b"").map_err(Failure::failed)?;
        for lane in &of {
            Index::destroy(&index_dir(&config.data, *lane)).map_err(Failure::failed)?;
        }
    }
    let marks: Vec<(u32, Watermarks)> =
        probe.ends(EVENTS_INDEX, of.iter().copied()).map_err(Failure::failed)?.into_iter().collect();
    if marks.len() < of.len() {
        let said: Vec<_> = of.iter().filter(|lane| marks.iter().all(|(told, _)| told != *lane)).collect();
        return Err(Failure::failed(format!("{EVENTS_INDEX} does not answer for lanes {said:?}")));
    }
    // Nobody asks it here.
    let options = Options { is_asked: false, ..config.index_options() };
    let bar = Bar::new();
    bar.expect(marks.iter().map(|(_, marks)| marks.high - marks.low).sum());
    let (next, records, digests) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let work = || -> Result<(), Failure> {
        loop {
            let Some((lane, marks)) = marks.get(next.fetch_add(1, Relaxed)).copied() else { return Ok(()) };
            let mut changelog =
                Log { spec: &spec, facts: &facts, lane, marks, reading: &Reading::default(), is_stopped: &never };
            let genesis = genesis(&mut changelog)?;
            let Some(genesis) = genesis else { continue };
            let mut before = Progress::default();
            let dir = index_dir(&config.data, lane);
            let tell = &mut |progress: Progress| {
                if before == Progress::default() {
                    bar.expect_less(progress.from - marks.low);
                }
                digests.fetch_add(progress.entries.saturating_sub(before.entries), Relaxed);
                bar.advance(&mut before, progress);
                let rate = digests.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
                bar.say(format!("{rate:.0} identities/s"));
                ControlFlow::Continue(())
            };
            let made = (&genesis, &options);
            let restored = restore::<_, Index>(&mut changelog, &dir, None, made, Beginning::MustBeThere, tell);
            let mut restored = restored.map_err(|error| Failure::failed(refused(&changelog, error)))?;
            restored.state.seal().map_err(Failure::failed)?;
            records.fetch_add(restored.records, Relaxed);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from) * THREADS_A_CORE;
    let threads = threads.min(marks.len()).min(PARALLEL_MAX);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                if let Err(error) = work() {
                    let mut failure = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    failure.get_or_insert(error);
                }
            });
        }
    });
    bar.finish();
    if let Some(failure) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(failure);
    }
    remove(&mark)?;
    let seconds = begun.elapsed().as_secs_f64();
    let (records, digests) = (records.into_inner(), digests.into_inner());
    say(format_args!("{records} records of the changelog replayed, {digests} identities, in {seconds:.1} s"))?;
    Ok(())
}

/// All lanes, or the one that was asked for.
fn chosen(lanes: LaneCount, only: Option<u32>) -> Result<Vec<u32>, Failure> {
    match only {
        None => Ok((0..lanes.get()).collect()),
        Some(lane) if lane < lanes.get() => Ok(vec![lane]),
        Some(lane) => Err(Failure::usage(format!("there is no lane {lane}: they are 0 to {}", lanes.get() - 1))),
    }
}

fn remove(mark: &PathBuf) -> Result<(), Failure> {
    fs::remove_file(mark).map_err(|error| Failure::failed(format!("{}: {error}", mark.display())))
}
