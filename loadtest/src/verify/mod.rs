//! `loadtest verify`: compares an output with what the ledgers say was sent.
//!
//! It passes only when every acknowledged event is there exactly once with the bytes that were sent, every event whose
//! request had no clear answer at most once, every refused one not at all, and nothing else of these runs. What other runs
//! and other sources sent to the same output is counted and not judged, unless it is asked for. An event without a
//! messageId is found by its marker, and may be there as often as a sending of it may have been kept.

mod check;
mod expectation;
mod findings;
#[cfg_attr(not(feature = "kafka"), path = "no_kafka.rs")]
mod kafka;
mod output;
mod source;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use service::Properties;

use self::check::{Checker, Line, Whose};
pub use self::expectation::Tally;
use self::expectation::{Expectations, SEEN_MAX};
pub use self::findings::{Events as EventCounts, Findings, NAMES_MAX, Named, Output as OutputCounts, Problem, Verdict};
use self::source::{Found, Source};
pub use self::wait::Drained;
use crate::Error;
use crate::progress::SharedProgress;
use crate::run_file;

/// What to compare, and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directories of runs: all that went to this output.
    pub ledgers: Vec<PathBuf>,
    /// The directory with the `*.ndjson` files, or `kafka://HOST:PORT/TOPIC`.
    pub output: String,
    /// Properties of the client that reads a topic: security and whatever else it knows.
    pub properties: Properties,
    /// `http://HOST:PORT` of each server's metrics.
    pub admins: Vec<String>,
    /// How long backlog and output must be at rest.
    pub settle: Duration,
    /// How long to wait for that.
    pub timeout: Duration,
    /// Whether the output may hold nothing but these runs.
    pub is_strict: bool,
    /// Largest share of requests without an answer: above it, too little is proven.
    pub unanswered_max: f64,
}

/// Waits, reads, compares. Notes in each run's report that it is verified, if it is.
///
/// # Errors
/// [`Error::Usage`] where a ledger or the output is not there or cannot be read by this program, [`Error::Failed`]
/// where one is damaged. What is wrong with the output is not an error but the verdict.
pub fn verify(settings: &Settings) -> Result<Verdict, Error> {
    let source = Source::open(&settings.output, &settings.properties)?;
    let expectations = Expectations::read(&settings.ledgers)?;
    let drained = wait::wait(&settings.admins, &source, settings.settle, settings.timeout)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let start = || (Checker::default(), Findings::default());
    let progress = SharedProgress::start();
    let (readers, output) = source.read(threads, start, |(checker, findings), place, found| match found {
        Found::Torn => findings.add(Problem::Torn, place.to_string()),
        Found::TooLong => findings.add(Problem::Malformed, place.to_string()),
        Found::Line(line) => {
            findings.lines += 1;
            progress.count(|lines| format!("reading the output: {lines} lines"));
            match checker.check(line, &expectations) {
                Line::Good => {}
                Line::Changed { id, member } => findings.add(Problem::Changed, format!("{id} ({member})")),
                Line::Foreign(id) => findings.add(Problem::Foreign, id),
                Line::Elsewhere(_, id) if settings.is_strict => findings.add(Problem::Foreign, id),
                Line::Elsewhere(Whose::OtherRun, _) => findings.other_runs += 1,
                Line::Elsewhere(Whose::OtherSource, _) => findings.other_sources += 1,
                Line::Malformed => findings.add(Problem::Malformed, place.to_string()),
            }
        }
    })?;
    progress.finish();
    let mut findings = Findings::default();
    for (_, found) in readers {
        findings.merge(found);
    }
    let events = count_events(&expectations, &mut findings);
    findings.sort();

    let output = OutputCounts {
        lines: findings.lines,
        other_runs: findings.other_runs,
        other_sources: findings.other_sources,
        ..output
    };
    let mut verdict = Verdict {
        passed: false,
        is_strict: settings.is_strict,
        drained,
        requests: expectations.tally,
        unanswered_share: expectations.tally.unanswered_share(),
        unanswered_max: settings.unanswered_max,
        events,
        output,
        findings,
        runs: Vec::new(),
    };
    verdict.passed = verdict.reasons().is_empty();
    for ledger in &settings.ledgers {
        // A run that was killed has no report; there is nothing to mark.
        if let Ok(mut report) = run_file::read_report(ledger) {
            report.verified = verdict.passed;
            run_file::write_json(&run_file::report_path(ledger), &report)?;
            verdict.runs.push(report);
        }
    }
    Ok(verdict)
}

/// Judges how often each event was seen.
fn count_events(expectations: &Expectations, findings: &mut Findings) -> EventCounts {
    let mut counts = EventCounts::default();
    for run in &expectations.runs {
        for (number, seen) in run.seen() {
            let bounds = run.bounds(number);
            counts.must += u64::from(bounds.min > 0);
            counts.may += u64::from(bounds.min == 0 && bounds.max > 0);
            counts.must_not += u64::from(bounds.max == 0);
            counts.found += u64::from(seen > 0);
            let problem = if seen < bounds.min.min(SEEN_MAX) {
                Problem::Missing
            } else if seen > bounds.max {
                if bounds.max == 0 { Problem::Unwanted } else { Problem::Doubled }
            } else {
                continue;
            };
            findings.add_with(problem, || run.events.id(number));
        }
    }
    counts
}
