//! How a lane begins: whether an empty changelog is a new one, and the genesis that it gets.

use std::time::{Duration, Instant};

use kafka::{Isolation, LogReader, Probe, Read};
use ownership::Fault;
use wire::changelog::Genesis;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::{DigestSeed, LaneCount, Window};

use super::plan::Plan;
use super::{spec, topics};

/// Time for an answer of the output cluster.
const ANSWER: Duration = Duration::from_secs(10);
/// Time of one poll for the first record of the output.
const POLL: Duration = Duration::from_millis(50);

/// Whether an empty changelog is a new one, and not one that was lost.
pub(super) fn is_new(plan: &Plan, lane: u32, probe: &Probe) -> Result<(), Fault> {
    let lost = if has_output(plan, lane, probe)? {
        "there is output in events.deduped"
    } else if spec::index_dir(&plan.data, lane).join("identity").exists() {
        "there is an index"
    } else {
        return Ok(());
    };
    Err(Fault::RefusedByLog(format!(
        "{EVENTS_INDEX} {lane} is empty, but {lost}: what was published is not known any more, and would be published again. \
         Make it again with `dedup-worker rebuild --from events.deduped`, or begin anew with `dedup-worker run --begin-anew`"
    )))
}

/// Whether anything was ever published in this lane.
fn has_output(plan: &Plan, lane: u32, probe: &Probe) -> Result<bool, Fault> {
    // In a partition that one broker has not heard of yet there may be some.
    let partitions = probe.widest(EVENTS_DEDUPED)?.partition_count;
    let of_lane: Vec<u32> = plan.lanes.partitions(lane, partitions).collect();
    let ends = probe.ends(EVENTS_DEDUPED, of_lane.iter().copied())?;
    for partition in of_lane {
        let marks = ends.get(&partition).copied();
        let marks = marks.ok_or_else(|| Fault::Again(format!("{EVENTS_DEDUPED} {partition} does not answer")))?;
        if marks.low > 0 || (marks.high > 0 && has_records(plan, partition)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is any record in a partition of the output. The mark that an aborted transaction leaves is an offset, and
/// none.
fn has_records(plan: &Plan, partition: u32) -> Result<bool, Fault> {
    let mut reader = LogReader::open(&plan.output, topics::EVENTS_DEDUPED, partition, 0, Isolation::Committed)?;
    let begun = Instant::now();
    while begun.elapsed() < ANSWER {
        match reader.read(POLL) {
            Read::Record(_) | Read::OutOfRange => return Ok(true),
            Read::End => return Ok(false),
            Read::Nothing | Read::Trouble(_) => {}
        }
    }
    Err(Fault::Again(format!("{EVENTS_DEDUPED} {partition} cannot be read")))
}

/// A genesis with this seed, or one of its own.
///
/// # Errors
/// Where the operating system has no random numbers.
pub(crate) fn new_genesis(
    lanes: LaneCount,
    seed: Option<DigestSeed>,
    window: Window,
    created_ms: i64,
) -> Result<Genesis, Fault> {
    let random = || getrandom::u64().map_err(|error| Fault::Again(format!("no random numbers: {error}")));
    let seed = seed.map_or_else(|| random().map(DigestSeed), Ok)?;
    Ok(Genesis { lanes, seed, window, created_ms })
}
