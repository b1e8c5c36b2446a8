//! What is wrong, counted and named, and what follows from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Drained, Tally};
use crate::report::Report;

/// Names kept of each kind of problem.
pub const NAMES_MAX: usize = 20;

/// What can be wrong with an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Acknowledged, and not there, or less often than it was certainly kept.
    Missing,
    /// There more often than it may be.
    Doubled,
    /// There, though it was refused or never sent.
    Unwanted,
    /// There with other bytes than were sent.
    Changed,
    /// Not from these runs, though it shows their source or seed; of a strict comparison, not from these runs.
    Foreign,
    /// A line that is no JSON object.
    Malformed,
    /// A last line without an end, or a transaction that is still open.
    Torn,
}

/// All problems of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    /// How many there are.
    pub count: u64,
    /// The first [`NAMES_MAX`] of them.
    pub names: Vec<String>,
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    #[serde(skip)]
    pub(super) lines: u64,
    #[serde(skip)]
    pub(super) other_runs: u64,
    #[serde(skip)]
    pub(super) other_sources: u64,
    /// By kind; a kind without problems is not there.
    #[serde(flatten)]
    pub problems: BTreeMap<Problem, Named>,
}

impl Findings {
    pub(super) fn add(&mut self, problem: Problem, name: String) {
        self.add_with(problem, || name);
    }

    pub(super) fn add_with(&mut self, problem: Problem, name: impl FnOnce() -> String) {
        let named = self.problems.entry(problem).or_default();
        named.count += 1;
        if named.names.len() < NAMES_MAX {
            named.names.push(name());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.other_runs += other.other_runs;
        self.other_sources += other.other_sources;
        for (problem, named) in other.problems {
            let sum = self.problems.entry(problem).or_default();
            sum.count += named.count;
            sum.names.extend(named.names);
        }
    }

    /// Puts names in order and keeps the first ones: which thread read what must not show.
    pub(super) fn sort(&mut self) {
        for named in self.problems.values_mut() {
            named.names.sort_unstable();
            named.names.truncate(NAMES_MAX);
        }
    }
}

/// Events by what the ledgers say of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Acknowledged.
    pub must: u64,
    /// Without a clear answer.
    pub may: u64,
    /// Refused or never sent.
    pub must_not: u64,
    /// Seen in the output, of all of these.
    pub found: u64,
}

/// The output as it was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "counts")]
pub struct Output {
    pub files: u64,
    pub partitions: u64,
    pub bytes: u64,
    pub lines: u64,
    /// Lines of other runs of the load generator, which are not judged.
    pub other_runs: u64,
    /// Lines of other sources, which are not judged.
    pub other_sources: u64,
}

/// The answer of `verify`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Every promise was kept, and enough was proven.
    pub passed: bool,
    /// Whether the output may hold nothing but these runs.
    pub is_strict: bool,
    /// Whether the comparison came after the end.
    pub drained: Drained,
    /// What the ledgers hold.
    pub requests: Tally,
    /// Requests without an answer, of all.
    pub unanswered_share: f64,
    /// The bound of that.
    pub unanswered_max: f64,
    /// What must come out.
    pub events: Events,
    /// What came out.
    pub output: Output,
    /// What is wrong.
    pub findings: Findings,
    /// Reports of the runs.
    pub runs: Vec<Report>,
}

impl Verdict {
    /// Why it does not pass; empty if it does.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<_> = self
            .findings
            .problems
            .iter()
            .map(|(problem, named)| format!("{} {}", named.count, word(*problem)))
            .collect();
        if let Drained::No(state) = &self.drained {
            reasons.push(format!("the server was not done in time ({state})"));
        }
        if self.unanswered_share > self.unanswered_max {
            reasons.push(format!("{:.3} % of the requests have no answer", self.unanswered_share * 100.0));
        }
        if self.events.must == 0 {
            reasons.push("nothing was acknowledged, so nothing is proven".to_owned());
        }
        reasons
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { requests, acknowledged, refused, uncertain, unanswered, never_sent, torn_bytes, unfinished_files } =
            self.requests;
        writeln!(
            out,
            "requests     {requests}: {acknowledged} acknowledged, {refused} refused, {uncertain} uncertain, \
             {unanswered} unanswered, {never_sent} never sent"
        )?;
        writeln!(
            out,
            "no answer    {:.3} % of the requests (at most {:.3} %)",
            self.unanswered_share * 100.0,
            self.unanswered_max * 100.0
        )?;
        if unfinished_files > 0 {
            writeln!(
                out,
                "ledger       {unfinished_files} files without an end (load generator killed), {torn_bytes} bytes torn"
            )?;
        }
        writeln!(
            out,
            "events       {} must come out once, {} may, {} must not; {} found",
            self.events.must, self.events.may, self.events.must_not, self.events.found
        )?;
        let Output { files, partitions, bytes, lines, other_runs, other_sources } = self.output;
        let parts = if partitions > 0 { format!("{partitions} partitions") } else { format!("{files} files") };
        writeln!(out, "output       {lines} lines, {bytes} bytes, {parts}")?;
        if other_runs + other_sources > 0 {
            writeln!(
                out,
                "not judged   {other_runs} of other runs, {other_sources} of other sources (--strict judges them)"
            )?;
        }
        for (problem, named) in &self.findings.problems {
            writeln!(out, "{:<12} {}", word(*problem), named.count)?;
            for name in &named.names {
                writeln!(out, "             {name}")?;
            }
            let more = named.count - named.names.len() as u64;
            if more > 0 {
                writeln!(out, "             and {more} more")?;
            }
        }
        for run in &self.runs {
            let state = if run.verified { "verified" } else { "not verified" };
            writeln!(
                out,
                "throughput   {:.0} events/s, {:.0} requests/s, p99 {:.3} ms, seed {:016x} ({state})",
                run.events_per_second, run.requests_per_second, run.latency.p99_ms, run.workload.seed
            )?;
        }
        if self.passed {
            let rest = if self.is_strict { "nothing else did" } else { "nothing else of these runs did" };
            write!(out, "passed       every acknowledged event came out exactly once, and {rest}")
        } else {
            write!(out, "FAILED       {}", self.reasons().join("; "))
        }
    }
}

fn word(problem: Problem) -> &'static str {
    match problem {
        Problem::Missing => "missing",
        Problem::Doubled => "doubled",
        Problem::Unwanted => "unwanted",
        Problem::Changed => "changed",
        Problem::Foreign => "foreign",
        Problem::Malformed => "malformed",
        Problem::Torn => "torn",
    }
}
