//! `loadtest compare`: two reports side by side.

use std::fmt::Write;
use std::path::Path;

use crate::Error;
use crate::report::Report;
use crate::run_file;

/// A table of both runs' figures and the ratio of the second to the first. A path may be a report or the directory of
/// a run.
///
/// # Errors
/// [`Error::Usage`] where one of them is not a report.
pub fn compare(a: &Path, b: &Path) -> Result<String, Error> {
    let (a, b) = (run_file::read_report(a)?, run_file::read_report(b)?);
    let mut table = format!("{:<24}{:>16}{:>16}{:>10}\n", "", "A", "B", "B / A");
    let state = |report: &Report| if report.verified { "verified" } else { "not verified" };
    let rate = |report: &Report| report.rate.map_or("max".to_owned(), |rate| rate.to_string());
    let shape = |report: &Report| format!("{:?}", report.workload.shape).to_lowercase();
    let texts = [
        ("output", state(&a).to_owned(), state(&b).to_owned()),
        ("rate (events/s)", rate(&a), rate(&b)),
        ("shape", shape(&a), shape(&b)),
    ];
    for (name, a, b) in texts {
        writeln!(table, "{name:<24}{a:>16}{b:>16}").expect("writing to a String");
    }
    for ((name, a), (_, b)) in figures(&a).into_iter().zip(figures(&b)) {
        let ratio = if a == 0.0 { "-".to_owned() } else { format!("{:.3}", b / a) };
        writeln!(table, "{name:<24}{:>16}{:>16}{ratio:>10}", number(a), number(b)).expect("writing to a String");
    }
    if a.latency.counts_waiting != b.latency.counts_waiting {
        table.push_str("latencies differ in kind: at rate max waiting time is not counted\n");
    }
    table.pop();
    Ok(table)
}

fn figures(report: &Report) -> [(&'static str, f64); 19] {
    let Report { requests, failures, latency, workload, .. } = report;
    [
        ("event bytes", workload.event_bytes as f64),
        ("events per request", f64::from(workload.events_per_request)),
        ("connections", f64::from(report.connections)),
        ("seconds", report.seconds),
        ("events/s", report.events_per_second),
        ("requests/s", report.requests_per_second),
        ("MB/s", report.bytes_per_second / 1e6),
        ("p50 ms", latency.p50_ms),
        ("p90 ms", latency.p90_ms),
        ("p99 ms", latency.p99_ms),
        ("p99.9 ms", latency.p99_9_ms),
        ("max ms", latency.max_ms),
        ("acknowledged", requests.acknowledged as f64),
        ("refused", requests.refused as f64),
        ("unanswered", (requests.unanswered + requests.never_sent) as f64),
        ("retries", requests.retries as f64),
        ("not started", requests.not_started as f64),
        ("sendings without answer", (failures.not_connected + failures.broken + failures.timed_out) as f64),
        ("own CPU us/request", report.cpu_us_per_request),
    ]
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 10_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
