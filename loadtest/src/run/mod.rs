//! `loadtest run`: sends a workload on schedule and measures what comes back.
//!
//! The schedule is fixed before the first request and does not bend to the server (open loop): event slot `s` is due
//! at `s / rate` seconds, and the latency of a request counts from then, whether it was sent at once, waited for a
//! free connection, or was sent four times. A server that stalls for a second therefore shows a second in every
//! request that fell due meanwhile, not in one for each connection.

mod connection;
mod pace;
mod stats;
mod thread;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::stats::Stats;
use self::thread::{Shared, Task};
use crate::Error;
use crate::events::Events;
use crate::ledger;
use crate::progress::Progress;
use crate::report::{Failures, Latency, Report, Requests};
use crate::retry::Outcome;
use crate::run_file::{self, FORMAT, RunFile};
use crate::workload::{WRITE_KEY_BYTES_MAX, Workload};

/// Connections of one run: local ports are what runs out first.
pub const CONNECTIONS_MAX: u32 = 20_000;
/// Sending threads.
pub const THREADS_MAX: u32 = 64;
/// How often the progress line changes: many hand-overs of the threads, so that the rate does not flicker.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// For the look at the target before the start.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// On schedule, whatever the server does.
    EventsPerSecond(f64),
    /// Each connection sends its next request when it has its answer.
    Max,
}

/// Everything `run` needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is sent.
    pub workload: Workload,
    /// `http://HOST:PORT`, for the report.
    pub target: String,
    /// The `Host` header.
    pub host: String,
    /// What to connect to.
    pub address: SocketAddr,
    /// User name of the Basic credentials.
    pub write_key: String,
    /// How fast.
    pub rate: Rate,
    /// How long requests fall due.
    pub duration: Duration,
    /// Of all threads, 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// 1 to [`THREADS_MAX`], and no more than connections.
    pub threads: u32,
    /// Share of bodies that are compressed.
    pub gzip: f64,
    /// For connecting, and for an answer.
    pub timeout: Duration,
    /// How long a request is sent again, from its first sending.
    pub retry_for: Duration,
    /// Longest `Retry-After` that is waited.
    pub retry_after_max: Duration,
    /// Where to keep the ledger, if anywhere.
    pub ledger: Option<PathBuf>,
}

impl Settings {
    fn check(&self) -> Result<(), Error> {
        let usage = |message: String| Err(Error::Usage(message));
        if self.connections == 0 || self.connections > CONNECTIONS_MAX {
            return usage(format!("--connections {}: 1 to {CONNECTIONS_MAX}", self.connections));
        }
        if self.threads == 0 || self.threads > THREADS_MAX || self.threads > self.connections {
            return usage(format!("--threads {}: 1 to {THREADS_MAX}, and no more than connections", self.threads));
        }
        if let Rate::EventsPerSecond(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return usage(format!("--rate {rate}: events a second above 0, or `max`"));
        }
        if !(0.0..=1.0).contains(&self.gzip) {
            return usage(format!("--gzip {}: between 0 and 1", self.gzip));
        }
        let key = self.write_key.as_bytes();
        if key.is_empty() || key.len() > WRITE_KEY_BYTES_MAX || key.contains(&b':') {
            return usage(format!("--write-key: 1 to {WRITE_KEY_BYTES_MAX} bytes without a colon"));
        }
        if self.duration.is_zero() || self.timeout.is_zero() {
            return usage("--duration and --timeout must be above 0".to_owned());
        }
        Ok(())
    }
}

/// Splits `http://HOST:PORT` into the host header and the address to connect to.
///
/// # Errors
/// [`Error::Usage`] where it is another kind of address or the name is not known.
pub fn parse_target(target: &str) -> Result<(String, SocketAddr), Error> {
    let usage = |why: &str| Error::Usage(format!("--target {target}: {why}"));
    let rest = target.strip_prefix("http://").ok_or_else(|| usage("must be http://HOST:PORT"))?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.is_empty() || host.contains(['/', '?', '@']) {
        return Err(usage("must be http://HOST:PORT, without a path"));
    }
    let with_port = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut addresses = with_port.to_socket_addrs().map_err(|error| usage(&error.to_string()))?;
    let address = addresses.next().ok_or_else(|| usage("no address has this name"))?;
    Ok((host.to_owned(), address))
}

/// Sends the workload. Ends early, with the report of what was done, when the process is interrupted.
///
/// # Errors
/// [`Error::Usage`] for settings out of bounds, [`Error::Failed`] where nothing listens at the target, or the ledger
/// cannot be written.
pub fn run(settings: Settings) -> Result<Report, Error> {
    settings.check()?;
    let events = Arc::new(Events::try_new(&settings.workload)?);
    TcpStream::connect_timeout(&settings.address, PROBE_TIMEOUT).map_err(|error| {
        Error::Failed(format!("nothing answers at {} ({error}): is it running? `make run` starts it", settings.target))
    })?;
    let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut ledgers = start_ledger(&settings, &started_at)?.into_iter();
    let requests = match settings.rate {
        Rate::EventsPerSecond(rate) => {
            events.plan().requests_for((rate * settings.duration.as_secs_f64()).ceil() as u64)
        }
        Rate::Max => u64::MAX,
    };

    let settings = Arc::new(settings);
    let shared =
        Arc::new(Shared { stop: AtomicBool::new(false), recent: Mutex::new(Stats::new()), failure: Mutex::new(None) });
    let (ended, ends) = mpsc::unbounded_channel();
    let start = Instant::now();
    let cpu_before = cpu_seconds();
    for thread in 0..settings.threads {
        let connections = share(settings.connections, settings.threads, thread);
        let task = Task { thread, start, requests, connections };
        let (settings, events, shared) = (Arc::clone(&settings), Arc::clone(&events), Arc::clone(&shared));
        let (ledger, ended) = (ledgers.next(), ended.clone());
        std::thread::spawn(move || {
            let end = thread::send(settings, events, shared, task, ledger);
            // Fails only where the watcher is gone, and then nobody wants to know.
            let _ = ended.send(end);
        });
    }
    drop(ended);
    let Sent { stats, next, interrupted } = watch(&settings, &shared, ends, start)?;
    if let Some(error) = shared.failure.lock().expect("nobody panics with it").take() {
        return Err(error);
    }
    let threads = u64::from(settings.threads);
    let not_started = match settings.rate {
        Rate::EventsPerSecond(rate) => {
            // Who ends a run early did not want what was not due by then.
            let due = |after: Duration| events.plan().requests_for((rate * after.as_secs_f64()) as u64);
            let due = interrupted.map_or(requests, |after| due(after).min(requests));
            next.iter().map(|&next| due.saturating_sub(next).div_ceil(threads)).sum()
        }
        Rate::Max => 0,
    };
    let mut report = report(&settings, started_at, &stats, start.elapsed(), cpu_seconds() - cpu_before, not_started);
    report.interrupted = interrupted.is_some();
    if let Some(dir) = &settings.ledger {
        run_file::write_json(&run_file::report_path(dir), &report)?;
    }
    Ok(report)
}

fn start_ledger(settings: &Settings, started_at: &str) -> Result<Vec<ledger::Writer>, Error> {
    let Some(dir) = &settings.ledger else { return Ok(Vec::new()) };
    let file = RunFile {
        format: FORMAT,
        started_at: started_at.to_owned(),
        threads: settings.threads,
        workload: settings.workload.clone(),
    };
    file.create(dir)?;
    let create = |thread| ledger::Writer::create(dir, settings.workload.seed, thread, settings.threads);
    (0..settings.threads).map(create).collect()
}

/// What was sent in the end.
struct Sent {
    /// The counters of all threads.
    stats: Stats,
    /// The first request that each thread did not start.
    next: Vec<u64>,
    /// How long after the start a signal ended it, if one did.
    interrupted: Option<Duration>,
}

/// Shows progress until every thread has ended.
fn watch(
    settings: &Settings,
    shared: &Shared,
    mut ends: mpsc::UnboundedReceiver<Result<u64, Error>>,
    start: Instant,
) -> Result<Sent, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Failed(format!("cannot start: {error}")))?;
    let mut progress = Progress::start();
    let mut total = Stats::new();
    let mut next = Vec::new();
    let mut interrupted = None;
    let mut interrupt = || {
        interrupted.get_or_insert_with(|| start.elapsed());
        shared.stop.store(true, Ordering::Relaxed);
    };
    runtime.block_on(async {
        let failed = |error| Error::Failed(format!("cannot listen to signals: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let mut ticks = tokio::time::interval(SHOW_EVERY);
        let mut shown = Instant::now();
        loop {
            tokio::select! {
                end = ends.recv() => match end {
                    Some(Ok(first_not_started)) => next.push(first_not_started),
                    Some(Err(error)) => {
                        shared.stop.store(true, Ordering::Relaxed);
                        shared.failure.lock().expect("nobody panics with it").get_or_insert(error);
                    }
                    None => break,
                },
                _ = interrupts.recv() => interrupt(),
                _ = terminations.recv() => interrupt(),
                _ = ticks.tick() => {
                    let recent = std::mem::replace(&mut *shared.recent.lock().expect("nobody panics with it"), Stats::new());
                    total.add(&recent);
                    let seconds = shown.elapsed().as_secs_f64();
                    shown = Instant::now();
                    progress.show(|| line(&recent, &total, seconds));
                }
            }
        }
        Ok::<_, Error>(())
    })?;
    progress.finish();
    total.add(&shared.recent.lock().expect("nobody panics with it"));
    if next.len() < settings.threads as usize {
        let mut failure = shared.failure.lock().expect("nobody panics with it");
        failure.get_or_insert_with(|| Error::Failed("a sending thread ended without a word".to_owned()));
    }
    Ok(Sent { stats: total, next, interrupted })
}

fn line(recent: &Stats, total: &Stats, seconds: f64) -> String {
    format!(
        "{:.0}/s  acked {}  errors {}  retries {}  p50 {:.2}  p99 {:.2} ms",
        recent.events_acknowledged as f64 / seconds,
        total.outcome(Outcome::Acknowledged),
        total.errors(),
        total.retries,
        recent.latency.value_at_quantile(0.5) as f64 / 1e3,
        recent.latency.value_at_quantile(0.99) as f64 / 1e3,
    )
}

fn report(
    settings: &Settings,
    started_at: String,
    stats: &Stats,
    elapsed: Duration,
    cpu_seconds: f64,
    not_started: u64,
) -> Report {
    let seconds = elapsed.as_secs_f64();
    let acknowledged = stats.outcome(Outcome::Acknowledged);
    let quantile = |quantile| stats.latency.value_at_quantile(quantile) as f64 / 1e3;
    Report {
        verified: false,
        interrupted: false,
        started_at,
        target: settings.target.clone(),
        rate: match settings.rate {
            Rate::EventsPerSecond(rate) => Some(rate),
            Rate::Max => None,
        },
        workload: settings.workload.clone(),
        gzip: settings.gzip,
        connections: settings.connections,
        threads: settings.threads,
        seconds,
        requests: Requests {
            total: stats.requests,
            acknowledged,
            refused: stats.outcome(Outcome::Refused),
            uncertain: stats.outcome(Outcome::Uncertain),
            unanswered: stats.outcome(Outcome::Unanswered),
            never_sent: stats.outcome(Outcome::NeverSent),
            retries: stats.retries,
            not_started,
        },
        events_acknowledged: stats.events_acknowledged,
        requests_per_second: acknowledged as f64 / seconds,
        events_per_second: stats.events_acknowledged as f64 / seconds,
        bytes_per_second: stats.bytes as f64 / seconds,
        statuses: stats.statuses().collect(),
        failures: Failures { not_connected: stats.not_connected, broken: stats.broken, timed_out: stats.timed_out },
        latency: Latency {
            counts_waiting: settings.rate != Rate::Max,
            mean_ms: stats.latency.mean() / 1e3,
            p50_ms: quantile(0.5),
            p90_ms: quantile(0.9),
            p99_ms: quantile(0.99),
            p99_9_ms: quantile(0.999),
            max_ms: stats.latency.max() as f64 / 1e3,
        },
        cpu_seconds,
        cpu_us_per_request: cpu_seconds * 1e6 / stats.requests.max(1) as f64,
    }
}

/// The part of `whole` that the `index`th of `parts` gets.
fn share(whole: u32, parts: u32, index: u32) -> u32 {
    whole / parts + u32::from(index < whole % parts)
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let parsed = |target| parse_target(target).map(|(host, address)| format!("{host} {address}"));
        assert_eq!(parsed("http://127.0.0.1:8080").expect("good"), "127.0.0.1:8080 127.0.0.1:8080");
        assert_eq!(parsed("http://127.0.0.1/").expect("good"), "127.0.0.1 127.0.0.1:80");
        assert_eq!(parsed("http://[::1]:81").expect("good"), "[::1]:81 [::1]:81");
        for bad in ["https://127.0.0.1", "127.0.0.1:8080", "http://", "http://127.0.0.1/v1/batch"] {
            assert_eq!(parsed(bad).expect_err("bad").exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn shares_make_the_whole() {
        assert_eq!((0..3).map(|index| share(8, 3, index)).collect::<Vec<_>>(), [3, 3, 2]);
    }
}
