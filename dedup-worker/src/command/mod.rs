//! What the binary does, one file a command.

mod appended;
mod audit;
mod bar;
mod host;
mod lookup;
mod rebuild;
mod run;
mod status;
mod verify;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dedup::Index;
use ownership::{Log, Reading, never};
use service::Failure;
use wire::LaneCount;
use wire::changelog::Genesis;
use wire::limits::LANES_MAX;
use wire::topic::EVENTS_INDEX;

pub use lookup::lookup;
pub use rebuild::{From, rebuild};
pub use run::{RunOptions, run};
pub use status::status;
pub use verify::verify;

use crate::config::Config;
use crate::worker::spec::refused;
use kafka::{Probe, TopicFacts};

/// Time for an answer of a cluster that somebody at a terminal waits for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the settings and starts the logs.
fn begin(file: Option<&Path>) -> Result<Config, Failure> {
    let config = service::begin(file, |config: &Config| &config.log)?;
    let config = config.resolved().map_err(Failure::usage)?;
    for warning in clusters(&config)? {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// Whether every cluster's properties can be used, and what deserves a second look.
fn clusters(config: &Config) -> Result<Vec<String>, Failure> {
    let clusters = config.inputs().into_iter().chain([config.output()]);
    let warnings = clusters.map(|cluster| {
        cluster.check().map_err(Failure::usage)?;
        Ok(cluster.warning())
    });
    let mut warnings: Vec<String> = warnings.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    warnings.dedup();
    Ok(warnings)
}

/// Prints the settings in force.
///
/// # Errors
/// [`Failure::Usage`] with every fault.
pub fn check_config(file: Option<&Path>) -> Result<(), Failure> {
    service::check_config(file, |config: Config| clusters(&config.resolved().map_err(Failure::usage)?))
}

fn probe(config: &Config) -> Result<Probe, Failure> {
    Probe::new(&config.output(), TIMEOUT).map_err(Failure::failed)
}

fn facts(probe: &Probe, topic: &'static str) -> Result<TopicFacts, Failure> {
    probe.topic(topic).map_err(Failure::failed)
}

/// How many lanes there are: what the first changelog that says so was begun with; else what the settings say; else as many as
/// `events.index` has partitions.
///
/// # Errors
/// Where the settings say something else than the changelog.
fn lanes(config: &Config, index: &TopicFacts) -> Result<LaneCount, Failure> {
    // What an open transaction has begun says nothing yet.
    let probe = Probe::committed(&config.output(), TIMEOUT).map_err(Failure::failed)?;
    let spec = config.spec();
    let ends = probe.ends(EVENTS_INDEX, 0..index.partition_count).map_err(Failure::failed)?;
    let begun = ends.into_iter().find_map(|(lane, marks)| {
        let mut log = Log { spec: &spec, facts: index, lane, marks, reading: &Reading::default(), is_stopped: &never };
        // One that cannot be read is its lane's own fault, and said there.
        changelog::genesis::<_, Index>(&mut log).ok().flatten().map(|genesis| genesis.lanes)
    });
    match (begun, config.lanes()) {
        (Some(begun), Some(given)) if begun != given => Err(Failure::usage(format!(
            "kafka.lanes is {}, and {EVENTS_INDEX} was begun with {}; leave it out, or give what it was begun with",
            given.get(),
            begun.get()
        ))),
        (Some(lanes), _) | (None, Some(lanes)) => Ok(lanes),
        (None, None) => {
            // It is for ever, so it is not one broker's to say.
            let all = Probe::new(&config.output(), TIMEOUT).and_then(|probe| probe.widest(EVENTS_INDEX));
            let index = all.map_err(Failure::failed)?;
            let none = || Failure::failed(format!("{EVENTS_INDEX} has no partitions, or more than {LANES_MAX}"));
            LaneCount::try_new(index.partition_count).ok_or_else(none)
        }
    }
}

/// What a changelog began with; `None` where it is empty.
fn genesis(log: &mut Log<'_>) -> Result<Option<Genesis>, Failure> {
    let asked = *log;
    changelog::genesis::<_, Index>(log).map_err(|error| Failure::failed(refused(&asked, error)))
}

/// The wall clock, milliseconds since the Unix epoch; a clock before 1970 counts as 1970.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}
