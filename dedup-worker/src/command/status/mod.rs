//! `dedup-worker status`: who has which lane, and how far each is behind. Asks Kafka, so it answers from anywhere; what only a
//! worker knows of itself, it asks the one whose admin port the settings name.

mod lag;
mod neighbour;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use changelog::{Newest, first, newest};
use dedup::Index;
use kafka::{Cluster, Member, Watermarks};
use ownership::{Log, Reading, never};
use service::{Failure, say};
use wire::topic::EVENTS_INDEX;

use self::lag::{Asked, Lag};
use super::{TIMEOUT, begin, facts, genesis, lanes, now_ms, probe};
use crate::worker::figures::INPUTS;
use crate::worker::spec::refused;

/// Changelogs that are asked at the same time.
const PARALLEL_MAX: usize = 8;

/// What the changelog of a lane says.
enum Told {
    /// Nothing yet.
    Empty,
    /// Nobody leads it.
    Silent,
    /// It is not to be worked on, for this reason.
    Refused(String),
    /// How far it has come.
    Newest { newest: Newest, remembers_h: i64 },
}

/// Prints the workers, one line a lane, and what the worker of this host says of its index.
///
/// # Errors
/// Where the output cluster does not answer.
pub fn status(file: Option<&Path>) -> Result<(), Failure> {
    let config = begin(file)?;
    let (spec, probe) = (config.spec(), probe(&config)?);
    let index = facts(&probe, EVENTS_INDEX)?;
    let lane_count = lanes(&config, &index)?;
    let members = Member::all(&probe, &config.kafka.group, TIMEOUT).map_err(Failure::failed)?;
    say(format_args!("group {}: {} workers", config.kafka.group, members.len()))?;
    for (number, Member { id, host, partitions }) in (1..).zip(&members) {
        say(format_args!("  #{number}  {id} at {host}, {} lanes", partitions.len()))?;
    }
    // A cluster that does not answer is not to hold up the others.
    let ask = |input: Cluster| Asked::new(input, TIMEOUT);
    let inputs: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = config.inputs().into_iter().map(|input| scope.spawn(move || ask(input))).collect();
        asked.into_iter().map(|asked| asked.join().expect("asking does not panic")).collect::<Result<_, _>>()
    })
    .map_err(Failure::failed)?;
    let ends = probe.ends(EVENTS_INDEX, 0..lane_count.get()).map_err(Failure::failed)?;
    let tell = |lane: u32| {
        let Some(marks) = ends.get(&lane).copied() else { return Told::Silent };
        told(&mut Log { spec: &spec, facts: &index, lane, marks, reading: &Reading::default(), is_stopped: &never })
    };
    let all: Vec<u32> = (0..lane_count.get()).collect();
    let mut changelogs = BTreeMap::new();
    for part in all.chunks(PARALLEL_MAX) {
        thread::scope(|scope| {
            let told: Vec<_> = part.iter().map(|lane| (*lane, scope.spawn(|| tell(*lane)))).collect();
            changelogs.extend(told.into_iter().map(|(lane, told)| (lane, told.join().expect("asking does not panic"))));
        });
    }
    let now_ms = now_ms();
    let known = changelogs.iter().filter_map(|(lane, told)| match told {
        Told::Newest { newest, .. } => Some((*lane, &newest.positions)),
        _ => None,
    });
    let known: Vec<_> = known.collect();
    let lags: Vec<_> = inputs.iter().map(|input| input.lags(lane_count, &known, now_ms)).collect();
    row("lane", "owner", ["changelog", "remembers", "clock behind"], ["primary", "secondary"])?;
    for (lane, told) in &changelogs {
        let owner = (1..).zip(&members).find(|(_, member)| member.partitions.contains(lane));
        let owner = owner.map_or("nobody".into(), |(number, _)| format!("#{number}"));
        let (newest, remembers_h) = match told {
            Told::Newest { newest, remembers_h } => (newest, remembers_h),
            Told::Empty => {
                row(lane, owner, ["empty", "", ""], ["", ""])?;
                continue;
            }
            Told::Silent => {
                row(lane, owner, ["away", "", ""], ["", ""])?;
                continue;
            }
            Told::Refused(_) => {
                row(lane, owner, ["refused", "", ""], ["", ""])?;
                continue;
            }
        };
        let lag = |place: usize| lags.get(place).and_then(|lags| lags.get(lane)).copied().unwrap_or(Lag::None);
        let lags: [Lag; INPUTS] = std::array::from_fn(lag);
        let Watermarks { low, high } = ends[lane];
        let behind = format!("{} s", (now_ms - newest.clock_ms).max(0) / 1000);
        row(lane, owner, [(high - low).to_string(), format!("{remembers_h} h"), behind], lags)?;
    }
    for told in changelogs.values() {
        if let Told::Refused(why) = told {
            say(why)?;
        }
    }
    for input in inputs.iter().filter(|input| input.told.is_none()) {
        say(format_args!("the {} cluster does not answer", input.cluster.name()))?;
    }
    say(neighbour::told(config.admin_listen))
}

fn row<T: std::fmt::Display, L: std::fmt::Display>(
    lane: impl std::fmt::Display,
    owner: impl std::fmt::Display,
    [changelog, remembers, behind]: [T; 3],
    [primary, secondary]: [L; INPUTS],
) -> Result<(), Failure> {
    say(format_args!(
        "{lane:>5}  {owner:>6}  {changelog:>10}  {remembers:>9}  {behind:>12}  {primary:>16}  {secondary:>16}"
    ))
}

fn told(changelog: &mut Log<'_>) -> Told {
    let asked = *changelog;
    match newest::<_, Index>(changelog) {
        Ok(None) => Told::Empty,
        Ok(Some(newest)) if newest.is_unfinished => {
            Told::Refused(format!("{EVENTS_INDEX} {} is being made again, or that was interrupted", changelog.lane))
        }
        Ok(Some(newest)) => match remembers_h(changelog, newest.clock_ms) {
            Ok(remembers_h) => Told::Newest { newest, remembers_h },
            Err(failure) => Told::Refused(failure.to_string()),
        },
        Err(error) => Told::Refused(refused(&asked, error).to_string()),
    }
}

/// How far back an identity can be known, in hours: the window, or less where the changelog is younger.
fn remembers_h(changelog: &mut Log<'_>, clock_ms: i64) -> Result<i64, Failure> {
    let asked = *changelog;
    let first = first::<_, Index>(changelog).map_err(|error| Failure::failed(refused(&asked, error)))?;
    let genesis = genesis(changelog)?;
    let kept_ms = genesis.map_or(0, |genesis| {
        let window = genesis.window;
        u64::from(window.promised_buckets() + window.margin_buckets()) * window.bucket_ms()
    });
    let since_ms = clock_ms - first.map_or(clock_ms, |first| first.clock_ms);
    Ok(since_ms.clamp(0, kept_ms as i64) / 3_600_000)
}
