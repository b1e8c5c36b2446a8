//! `dedup-worker status`: who has which partition, and how far each is behind. Asks Kafka, so it answers from anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use rdkafka::consumer::Consumer as _;
use service::Failure;
use wire::changelog::{Position, Record};
use wire::topic::{EVENTS, EVENTS_INDEX};

use super::{TIMEOUT, begin, facts, now_ms, probe};
use crate::config::Config;
use crate::kafka::{Probe, TopicFacts, Watermarks};
use crate::worker::positions::Positions;
use crate::worker::restore::Changelog;

/// Offsets before the end among which the newest record is looked for: records and the marks of their transactions,
/// aborted ones included.
const TAIL_OFFSETS: u64 = 64;

/// Prints one line a partition.
///
/// # Errors
/// Where the output cluster does not answer.
pub fn status(file: Option<&Path>) -> Result<(), Failure> {
    let config = begin(file)?;
    let (cluster, probe) = (config.output(), probe(&config)?);
    let index = facts(&probe, EVENTS_INDEX)?;
    let inputs: Vec<_> = config
        .inputs()
        .iter()
        .map(|input| {
            let probe = Probe::new(input, TIMEOUT).map_err(Failure::failed)?;
            let facts = probe.topic(EVENTS).ok();
            Ok((input.name(), probe, facts))
        })
        .collect::<Result<_, Failure>>()?;
    members(&config, &probe);
    println!(
        "{:>9}  {:>12}  {:>12}  {:>12}  {:>14}  {:>14}",
        "partition", "changelog", "remembers", "clock behind", "primary", "secondary"
    );
    for partition in 0..index.partition_count {
        let marks = probe.watermarks(EVENTS_INDEX, partition).map_err(Failure::failed)?;
        let changelog = Changelog { cluster: &cluster, facts: &index, partition, marks };
        let Some((positions, clock_ms)) = newest(&changelog)? else {
            println!("{partition:>9}  {:>12}", "empty");
            continue;
        };
        let mut lags: Vec<_> =
            inputs.iter().map(|(_, probe, facts)| lag(probe, facts.as_ref(), &positions, partition)).collect();
        lags.resize(2, "-".into());
        let behind = format!("{} s", (now_ms() - clock_ms).max(0) / 1000);
        let Watermarks { low, high } = marks;
        let remembers = remembers(&changelog, clock_ms)?;
        let records = high - low;
        println!("{partition:>9}  {records:>12}  {remembers:>12}  {behind:>12}  {:>14}  {:>14}", lags[0], lags[1]);
    }
    for (name, _, facts) in &inputs {
        if facts.is_none() {
            println!("the {name} cluster does not answer");
        }
    }
    Ok(())
}

/// The members of the group.
fn members(config: &Config, probe: &Probe) {
    let name = &config.kafka.group;
    match probe.client().fetch_group_list(Some(name), TIMEOUT) {
        Ok(list) => {
            let members: BTreeMap<_, _> = list
                .groups()
                .iter()
                .flat_map(rdkafka::groups::GroupInfo::members)
                .map(|member| (member.id().to_owned(), member.client_host().to_owned()))
                .collect();
            println!("group {name}: {} workers", members.len());
            for (id, host) in members {
                println!("  {id} at {host}");
            }
        }
        Err(error) => println!("group {name}: {error}"),
    }
}

/// Positions and clock of the newest record. `None` where there is none near the end.
pub(super) fn newest(changelog: &Changelog<'_>) -> Result<Option<(Positions, i64)>, Failure> {
    let Watermarks { low, high } = changelog.marks;
    let from = high.saturating_sub(TAIL_OFFSETS).max(low);
    let mut newest: Option<(Vec<Position>, i64)> = None;
    changelog
        .read(from, &mut |_| Ok(()), &mut |_, _, record| {
            newest = match record {
                Record::Genesis(genesis) => Some((Vec::new(), genesis.created_ms)),
                Record::Batch(batch) => Some((batch.positions, batch.clock_ms)),
                Record::Checkpoint(checkpoint) => Some((checkpoint.positions, checkpoint.clock_ms)),
            };
            Ok(true)
        })
        .map_err(Failure::failed)?;
    Ok(newest.map(|(positions, clock_ms)| (Positions::from_record(&positions), clock_ms)))
}

/// How far back an identity can be known: the window, or less where the changelog is younger.
fn remembers(changelog: &Changelog<'_>, clock_ms: i64) -> Result<String, Failure> {
    let mut first = None;
    let low = changelog.marks.low;
    changelog
        .read(low, &mut |_| Ok(()), &mut |_, _, record| {
            first = Some(match record {
                Record::Genesis(genesis) => genesis.created_ms,
                Record::Batch(batch) => batch.clock_ms,
                Record::Checkpoint(checkpoint) => checkpoint.clock_ms,
            });
            Ok(false)
        })
        .map_err(Failure::failed)?;
    let genesis = changelog.genesis(&mut |_| Ok(())).map_err(Failure::failed)?;
    let kept_ms = genesis.map_or(0, |genesis| {
        let window = genesis.window;
        u64::from(window.promised_buckets() + window.margin_buckets()) * window.bucket_ms()
    });
    let since_ms = clock_ms - first.unwrap_or(clock_ms);
    Ok(format!("{} h", since_ms.clamp(0, kept_ms as i64) / 3_600_000))
}

fn lag(probe: &Probe, facts: Option<&TopicFacts>, positions: &Positions, partition: u32) -> String {
    let Some(facts) = facts else { return "away".into() };
    let Ok(marks) = probe.watermarks(EVENTS, partition) else { return "away".into() };
    let next = positions.next_offset(facts).unwrap_or(marks.low);
    marks.high.saturating_sub(next).to_string()
}
