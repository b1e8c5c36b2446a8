//! `dedup-worker status`: who has which partition, and how far each is behind. Asks Kafka, so it answers from anywhere;
//! what only a worker knows of itself, it asks the one whose admin port the settings name.

mod lag;
mod neighbour;

use std::path::Path;

use changelog::{Newest, first, newest};
use dedup::Index;
use kafka::{Member, Watermarks};
use ownership::{Log, never};
use service::Failure;
use wire::topic::EVENTS_INDEX;

use self::lag::{Asked, Lag};
use super::{TIMEOUT, begin, facts, genesis, now_ms, probe};
use crate::worker::figures::INPUTS;
use crate::worker::spec::refused;

/// Prints the workers, one line a partition, and what the worker of this host says of its index.
///
/// # Errors
/// Where the output cluster does not answer.
pub fn status(file: Option<&Path>) -> Result<(), Failure> {
    let config = begin(file)?;
    let (spec, probe) = (config.spec(), probe(&config)?);
    let index = facts(&probe, EVENTS_INDEX)?;
    let inputs = config.inputs().into_iter().map(|input| Asked::new(input, TIMEOUT));
    let inputs: Vec<_> = inputs.collect::<Result<_, _>>().map_err(Failure::failed)?;
    let members = Member::all(&probe, &config.kafka.group, TIMEOUT).map_err(Failure::failed)?;
    println!("group {}: {} workers", config.kafka.group, members.len());
    for (number, Member { id, host, partitions }) in (1..).zip(&members) {
        println!("  #{number}  {id} at {host}, {} partitions", partitions.len());
    }
    row("partition", "owner", ["changelog", "remembers", "clock behind"], ["primary", "secondary"]);
    for partition in 0..index.partition_count {
        let owner = (1..).zip(&members).find(|(_, member)| member.partitions.contains(&partition));
        let owner = owner.map_or("nobody".into(), |(number, _)| format!("#{number}"));
        let marks = probe.watermarks(EVENTS_INDEX, partition).map_err(Failure::failed)?;
        let mut changelog = Log { spec: &spec, facts: &index, lane: partition, marks, is_stopped: &never };
        let newest = newest::<_, Index>(&mut changelog);
        let newest = newest.map_err(|error| Failure::failed(refused(&changelog, error)))?;
        let Some(Newest { positions, clock_ms }) = newest else {
            row(partition, owner, ["empty", "", ""], ["", ""]);
            continue;
        };
        let now_ms = now_ms();
        let lag = |place: usize| inputs.get(place).map_or(Lag::None, |input| input.lag(&positions, partition, now_ms));
        let lags: [Lag; INPUTS] = std::array::from_fn(lag);
        let Watermarks { low, high } = marks;
        let remembers = remembers(&mut changelog, clock_ms)?;
        let behind = format!("{} s", (now_ms - clock_ms).max(0) / 1000);
        row(partition, owner, [(high - low).to_string(), remembers, behind], lags);
    }
    for input in inputs.iter().filter(|input| input.facts.is_none()) {
        println!("the {} cluster does not answer", input.cluster.name());
    }
    println!("{}", neighbour::told(config.admin_listen));
    Ok(())
}

fn row<T: std::fmt::Display, L: std::fmt::Display>(
    partition: impl std::fmt::Display,
    owner: impl std::fmt::Display,
    [changelog, remembers, behind]: [T; 3],
    [primary, secondary]: [L; INPUTS],
) {
    println!(
        "{partition:>9}  {owner:>6}  {changelog:>10}  {remembers:>9}  {behind:>12}  {primary:>16}  {secondary:>16}"
    );
}

/// How far back an identity can be known: the window, or less where the changelog is younger.
fn remembers(changelog: &mut Log<'_>, clock_ms: i64) -> Result<String, Failure> {
    let first = first::<_, Index>(changelog).map_err(|error| Failure::failed(refused(changelog, error)))?;
    let genesis = genesis(changelog)?;
    let kept_ms = genesis.map_or(0, |genesis| {
        let window = genesis.window;
        u64::from(window.promised_buckets() + window.margin_buckets()) * window.bucket_ms()
    });
    let since_ms = clock_ms - first.map_or(clock_ms, |first| first.clock_ms);
    Ok(format!("{} h", since_ms.clamp(0, kept_ms as i64) / 3_600_000))
}
