//! The figures of a run, as JSON for programs and as text for people.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::workload::Workload;

/// What `run` measured. Throughput counts acknowledged events only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// True once `verify` has found every acknowledged event exactly once in the output.
    pub verified: bool,
    /// True where a signal ended it before its time.
    #[serde(default)]
    pub interrupted: bool,
    /// When the run started.
    pub started_at: String,
    /// Where the requests went.
    pub target: String,
    /// Asked events a second; none for `max`.
    pub rate: Option<f64>,
    /// What was sent.
    pub workload: Workload,
    /// Share of compressed bodies.
    pub gzip: f64,
    /// Connections of all threads.
    pub connections: u32,
    /// Sending threads.
    pub threads: u32,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Requests that were started and ended in some way.
    pub requests: Requests,
    /// Events of acknowledged requests, duplicates counted as often as they were sent.
    pub events_acknowledged: u64,
    /// Acknowledged requests a second.
    pub requests_per_second: f64,
    /// Acknowledged events a second.
    pub events_per_second: f64,
    /// Bytes of all sendings a second.
    pub bytes_per_second: f64,
    /// Answers by status, those of retried sendings too.
    pub statuses: BTreeMap<u16, u64>,
    /// Sendings without an answer.
    pub failures: Failures,
    /// Of requests that had an answer in the end, retries included.
    pub latency: Latency,
    /// The load generator's own.
    pub cpu_seconds: f64,
    /// The load generator's own, for each request.
    pub cpu_us_per_request: f64,
}

/// How the requests of a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of the ledger; LEDGER.md defines each")]
pub struct Requests {
    pub total: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub uncertain: u64,
    pub unanswered: u64,
    pub never_sent: u64,
    /// Sendings beyond the first.
    pub retries: u64,
    /// Requests that fell due and were never started, because the server or the load generator was behind.
    pub not_started: u64,
}

/// Sendings without an answer, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// No connection could be made.
    pub not_connected: u64,
    /// The connection broke or the answer was no HTTP.
    pub broken: u64,
    /// No answer in time.
    pub timed_out: u64,
}

/// Latency percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "percentiles")]
pub struct Latency {
    /// Counted from the moment a request was due; otherwise (rate `max`) from its sending, so that waiting is missing.
    pub counts_waiting: bool,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p99_9_ms: f64,
    pub max_ms: f64,
}

impl Report {
    /// Why it measured nothing, if so.
    pub fn failure(&self) -> Option<String> {
        let Requests { total, acknowledged, refused, .. } = self.requests;
        let worst = self.statuses.iter().max_by_key(|(_, count)| **count);
        match (acknowledged, worst) {
            (1.., _) => None,
            (0, Some((status, _))) if refused == total && total > 0 => {
                let what_to_do = match status {
                    401 => "the server does not know the --write-key",
                    404 => "there is no tracking endpoint at --target",
                    _ => "the server's log says why",
                };
                Some(format!("every request was refused with {status}: {what_to_do}"))
            }
            _ => Some("no request was acknowledged".to_owned()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Requests { total, acknowledged, refused, uncertain, unanswered, never_sent, retries, not_started } =
            self.requests;
        let verified = if self.verified { "verified" } else { "not verified" };
        writeln!(
            out,
            "throughput   {:.0} events/s, {:.0} requests/s acknowledged, {:.1} MB/s sent, over {:.1} s ({verified})",
            self.events_per_second,
            self.requests_per_second,
            self.bytes_per_second / 1e6,
            self.seconds
        )?;
        writeln!(
            out,
            "requests     {total}: {acknowledged} acknowledged, {refused} refused, {uncertain} uncertain, \
             {unanswered} unanswered, {never_sent} never sent; {retries} retries"
        )?;
        if not_started > 0 {
            writeln!(out, "             {not_started} fell due and were never started: the rate could not be kept")?;
        }
        if self.interrupted {
            writeln!(out, "             ended early by a signal: what was not due by then was not sent")?;
        }
        let statuses: Vec<_> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(out, "answers      {}", if statuses.is_empty() { "none".to_owned() } else { statuses.join(", ") })?;
        let Failures { not_connected, broken, timed_out } = self.failures;
        if not_connected + broken + timed_out > 0 {
            writeln!(out, "no answer    {not_connected} not connected, {broken} broken, {timed_out} timed out")?;
        }
        let latency = &self.latency;
        writeln!(
            out,
            "latency ms   p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
            latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p99_9_ms, latency.max_ms
        )?;
        if !latency.counts_waiting {
            writeln!(
                out,
                "             at rate max a slow answer delays the next request: waiting time is not counted"
            )?;
        }
        write!(out, "own CPU      {:.1} s, {:.1} us a request", self.cpu_seconds, self.cpu_us_per_request)?;
        self.failure().map_or(Ok(()), |why| write!(out, "\nFAILED       {why}"))
    }
}
