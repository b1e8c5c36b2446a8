//! `dedup-worker run`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use changelog::Beginning;
use kafka::{Facts, Judgement, Probe, TopicFacts, TopicSettings};
use ownership::{Board, Owners, Spec};
use service::{Failure, Shutdown, announce};
use tracing::{info, warn};
use wire::LaneCount;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

use super::{TIMEOUT, begin, host, lanes, now_ms};
use crate::config::Config;
use crate::metrics::WorkerAdmin;
use crate::worker::figures::Figures;
use crate::worker::lane::Lane;
use crate::worker::leftovers::age_out;
use crate::worker::output::Output;
use crate::worker::plan::Plan;
use crate::worker::sizes::Taken;
use crate::worker::watch::{InputState, Watch};

/// Pause before an output cluster that does not answer is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunOptions {
    /// Decide and count, publish nothing, disturb nobody.
    pub shadow: bool,
    /// Begin a changelog anew where it is empty although there is output or an index.
    pub begin_anew: bool,
    /// Leave the group for good when told to stop.
    pub leave: bool,
}

/// What is said at the first signal, and at the second.
const STOPPING: [&str; 2] = [
    "stopping: committing what was decided; the lanes wait for this worker to come back, a session at most (a second signal leaves \
     the group for good)",
    "leaving the group for good: the lanes are handed over (a third signal exits at once)",
];

/// Works until SIGTERM or SIGINT, then lets its lanes go in good order: they wait for it to come back within a session. With
/// [`RunOptions::leave`], or at a second signal, it hands them over to other workers instead.
///
/// When it has an admin port, it prints one line: `dedup-worker ready admin=ADDRESS`.
///
/// # Errors
/// Wrong settings, clusters that do not fit together, a port that is taken. A lane that must not be worked on ends
/// nothing: it is refused, said, and looked at again.
pub fn run(file: Option<&Path>, options: RunOptions) -> Result<(), Failure> {
    let config = begin(file)?;
    let (shutdown, for_good) = (Shutdown::new(), Shutdown::new());
    shutdown
        .on_process_signals_twice(&for_good, STOPPING, || {
            info!("nothing of this program's settings can change while it runs");
        })
        .map_err(Failure::failed)?;
    if options.leave {
        for_good.trigger();
    }

    let watches: Vec<_> = config.inputs().into_iter().map(|input| Watch::new(input, config.retention())).collect();
    let figures = Arc::new(Figures::default());
    let output = Output::new(config.output(), config.retention());
    let session_timeout = Duration::from_millis(config.kafka.session_timeout_ms);
    let board = Arc::new(Board::default());
    let admin = Arc::new(WorkerAdmin::new(&board, &figures, &watches, &output, session_timeout, options.shadow));
    let (_held, data) = host::folder(&config, options.shadow)?;
    let member = host::member(&data, options.shadow)?;
    let admin = host::admin(&config, admin)?;
    announce(format_args!("dedup-worker ready admin={}", admin.local_addr()));

    let looking: Result<Vec<kafka::Watch>, _> = watches.iter().map(|watch| watch.begin(&output)).collect();
    let _looking = looking.map_err(Failure::failed)?;
    let Some(Met { lanes, judgement, deduped, taken }) = meet(&config, &watches, &shutdown)? else { return Ok(()) };
    let is_watched = watches.iter().any(|watch| watch.cluster().is_same(&config.output()));
    let _watching = output.begin(judgement, deduped, taken, is_watched).map_err(Failure::failed)?;
    let mut group = config.kafka.group.clone();
    if options.shadow {
        group.push_str(".shadow");
    }
    let spec = config.spec();
    let plan = Plan {
        output: config.output(),
        outputs: output,
        watches,
        data,
        options: config.index_options(),
        limits: config.limits(),
        budget: Arc::clone(&spec.memory),
        window: config.window().unwrap_or_default(),
        lanes,
        seed: config.seed(),
        is_shadow: options.shadow,
        may_begin_anew: options.begin_anew,
        wall_ms: now_ms,
    };
    let beginning = if options.begin_anew { Beginning::MayBeGone } else { Beginning::MustBeThere };
    let spec = Spec { group, member, data: plan.data.clone(), beginning, is_shadow: options.shadow, ..spec };
    let plan = Arc::new(plan);
    let make = move |lane, waker| Lane::new(&plan, lane, waker, &figures);
    // For as long as the process runs.
    let spec: &'static Spec = Box::leak(Box::new(spec));
    let owners = Owners::start(spec, Arc::clone(&board), make).map_err(Failure::failed)?;
    // Until it is told to stop.
    age_out(&spec.data, config.index.unowned_bytes_max, &board, &shutdown);
    owners.stop(&for_good);
    Ok(())
}

/// What was found of the clusters.
struct Met {
    lanes: LaneCount,
    /// What is to be said of the output's topics.
    judgement: Judgement,
    deduped: TopicFacts,
    taken: Taken,
}

/// Waits for the output cluster, asks every input once, and sees that each topic has partitions for every lane. `None` where it
/// was told to stop meanwhile.
fn meet(config: &Config, watches: &[Arc<Watch>], stop: &Shutdown) -> Result<Option<Met>, Failure> {
    let output = Probe::new(&config.output(), TIMEOUT).map_err(Failure::failed)?;
    let mut has_said = false;
    let index = loop {
        match output.topic(EVENTS_INDEX) {
            Ok(facts) => break facts,
            Err(failure) => {
                if !std::mem::replace(&mut has_said, true) {
                    warn!(%failure, "the output cluster does not answer; waiting for it");
                }
                if stop.wait_timeout(RETRY) {
                    return Ok(None);
                }
            }
        }
    };
    let lanes = lanes(config, &index)?;
    let deduped = output.topic(EVENTS_DEDUPED).map_err(Failure::failed)?;
    let rejected = output.topic(EVENTS_REJECTED).map_err(Failure::failed)?;
    for (topic, count) in [(EVENTS_INDEX, index.partition_count), (EVENTS_DEDUPED, deduped.partition_count)] {
        if lanes.usable(count).is_none() {
            let lanes = lanes.get();
            return Err(Failure::failed(format!(
                "{topic} on the output cluster has {count} partitions and there are {lanes} lanes; give it {lanes} or a multiple \
                 of it"
            )));
        }
    }
    let topics = [(EVENTS_INDEX, index), (EVENTS_DEDUPED, deduped.clone()), (EVENTS_REJECTED, rejected)];
    let settings = settings(config);
    let taken = Taken::of(|topic| settings.get(topic));
    let judgement = Facts { topics: topics.into(), settings }.judge(config.retention());
    judgement.warnings().iter().for_each(|warning| warn!(cluster = "output", "{warning}"));
    unless_refused("output", &judgement)?;
    for watch in watches {
        watch.first(TIMEOUT);
        watch.expect(lanes);
        if let InputState::Unfit(why) = watch.state() {
            return Err(Failure::failed(why));
        }
        if watch.facts().is_some() {
            unless_refused(watch.cluster().name(), &watch.judgement())?;
        }
    }
    if let [first, second] = watches
        && let (Some(first), Some(second)) = (first.facts(), second.facts())
        && first.cluster_id == second.cluster_id
    {
        return Err(Failure::usage(format!("primary and secondary are the same cluster, {}", first.cluster_id)));
    }
    Ok(Some(Met { lanes, judgement, deduped, taken }))
}

/// What the topics of the output are set to; nothing where that is not told.
fn settings(config: &Config) -> BTreeMap<&'static str, TopicSettings> {
    let topics = [EVENTS_INDEX, EVENTS_DEDUPED, EVENTS_REJECTED];
    let settings = TopicSettings::ask(&config.output(), &topics, TIMEOUT);
    settings.inspect_err(|failure| warn!(%failure, "the output's settings are unknown")).unwrap_or_default()
}

/// A worker does not begin with topics whose settings would break a promise.
fn unless_refused(cluster: &str, judgement: &Judgement) -> Result<(), Failure> {
    let reasons = judgement.refusal();
    reasons.map_or(Ok(()), |reasons| Err(Failure::failed(format!("on the {cluster} cluster: {reasons}"))))
}
