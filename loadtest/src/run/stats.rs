//! Counters of a run; each sending thread has its own and hands them over a few times a second.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::retry::{Attempt, Outcome};

/// Latencies are counted up to an hour and capped there.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Three digits: the error of a percentile is below 0.1 %.
const LATENCY_DIGITS: u8 = 3;
/// HTTP statuses lie below.
const STATUSES: usize = 1000;

#[derive(Debug, Clone)]
pub(super) struct Stats {
    pub(super) requests: u64,
    /// By [`Outcome`] as a number.
    outcomes: [u64; 6],
    pub(super) events_acknowledged: u64,
    pub(super) bytes: u64,
    pub(super) retries: u64,
    /// Answers by status, retried ones too.
    statuses: Vec<u64>,
    /// Sendings without an answer, by reason.
    pub(super) not_connected: u64,
    pub(super) broken: u64,
    pub(super) timed_out: u64,
    /// Microseconds of every request that had an answer in the end.
    pub(super) latency: Histogram<u64>,
}

impl Stats {
    pub(super) fn new() -> Self {
        Self {
            requests: 0,
            outcomes: [0; 6],
            events_acknowledged: 0,
            bytes: 0,
            retries: 0,
            statuses: vec![0; STATUSES],
            not_connected: 0,
            broken: 0,
            timed_out: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_US_MAX, LATENCY_DIGITS).expect("good bounds"),
        }
    }

    pub(super) fn attempt(&mut self, attempt: Attempt, bytes: u64) {
        match attempt {
            Attempt::Answered { status, .. } => self.statuses[usize::from(status).min(STATUSES - 1)] += 1,
            Attempt::NotSent => self.not_connected += 1,
            Attempt::Broken => self.broken += 1,
            Attempt::TimedOut => self.timed_out += 1,
        }
        if attempt != Attempt::NotSent {
            self.bytes += bytes;
        }
    }

    pub(super) fn finish(&mut self, outcome: Outcome, events: u64, retries: u32, latency: Duration) {
        self.requests += 1;
        self.outcomes[outcome as usize] += 1;
        self.retries += u64::from(retries);
        match outcome {
            Outcome::Acknowledged => self.events_acknowledged += events,
            Outcome::Unanswered | Outcome::NeverSent => return,
            Outcome::Refused | Outcome::Uncertain => {}
        }
        self.latency.saturating_record(latency.as_micros() as u64);
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Requests that did not end with a 200.
    pub(super) fn errors(&self) -> u64 {
        self.requests - self.outcome(Outcome::Acknowledged)
    }

    pub(super) fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        self.statuses.iter().enumerate().filter(|(_, count)| **count > 0).map(|(status, &count)| (status as u16, count))
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.events_acknowledged += other.events_acknowledged;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.not_connected += other.not_connected;
        self.broken += other.broken;
        self.timed_out += other.timed_out;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, count)| *sum += count);
        self.statuses.iter_mut().zip(&other.statuses).for_each(|(sum, count)| *sum += count);
        self.latency.add(&other.latency).expect("the same bounds");
    }

    /// Starts again from zero, in the memory it has.
    pub(super) fn clear(&mut self) {
        self.latency.reset();
        self.statuses.fill(0);
        self.outcomes = [0; 6];
        for count in [
            &mut self.requests,
            &mut self.events_acknowledged,
            &mut self.bytes,
            &mut self.retries,
            &mut self.not_connected,
            &mut self.broken,
            &mut self.timed_out,
        ] {
            *count = 0;
        }
    }
}
