//! The inputs of a partition, read side by side and no further apart than the window's clock allows.
//!
//! One record of each input is looked at before it is read: a batch ends before the first record that was appended more
//! than a bucket after its clock. An input that is ahead waits with it until the other one has come up; without more
//! than a bucket of arrears none ever waits.

use std::time::{Duration, Instant};

use kafka::Message;

use super::clock::Reached;
use super::input::{Cursor, Input, Taken};
use super::positions::Positions;

/// An input whose cluster answers, and that gives no record for this long although it is not at its end, counts as away:
/// one partition without a leader must not hold the other input up.
const SILENCE: Duration = Duration::from_secs(30);

/// What [`Reading::look`] met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// At least one input has a record.
    Waiting,
    /// None has one now.
    Nothing,
    /// The input with this index is [cut](Taken::Cut).
    Cut(usize),
}

/// The inputs as far as they are read.
#[derive(Debug)]
pub struct Reading<'c> {
    inputs: Vec<One<'c>>,
}

#[derive(Debug)]
struct One<'c> {
    /// The place of its cluster among the watches.
    place: usize,
    input: &'c Input,
    /// Where its reader stands.
    cursor: Cursor,
    /// How far it counts as read: up to `next`, where there is one.
    read: Cursor,
    /// Looked at, not read.
    next: Option<Message<'c>>,
    heard: Instant,
}

impl<'c> Reading<'c> {
    /// Of inputs as they were opened, each with the place of its cluster among the watches.
    pub fn of(inputs: &'c [(usize, Input)]) -> Self {
        let one = |(place, input): &'c (usize, Input)| {
            let (place, cursor) = (*place, input.cursor());
            One { place, input, cursor, read: cursor, next: None, heard: Instant::now() }
        };
        Self { inputs: inputs.iter().map(one).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// What the cluster of an input is called.
    pub fn cluster(&self, index: usize) -> &'static str {
        self.inputs[index].input.cluster()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// Looks at the next record of each input.
    pub fn look(&mut self) -> Looked {
        for (index, one) in self.inputs.iter_mut().enumerate() {
            if one.next.is_none() {
                match one.input.take(&mut one.cursor) {
                    Taken::Record(record) => one.next = Some(record),
                    Taken::Nothing => {}
                    Taken::Cut => return Looked::Cut(index),
                }
            }
            if one.next.is_some() || one.cursor.is_at_end {
                one.heard = Instant::now();
            }
        }
        if self.inputs.iter().any(|one| one.next.is_some()) { Looked::Waiting } else { Looked::Nothing }
    }

    /// Reads the next record of one input, if there is one now that was appended at `until_ms` or before.
    #[inline]
    pub fn take(&mut self, index: usize, until_ms: i64) -> Taken<'c> {
        let one = &mut self.inputs[index];
        let record = match one.next.take() {
            Some(record) => record,
            None => match one.input.take(&mut one.cursor) {
                Taken::Record(record) => record,
                none => return none,
            },
        };
        if record.appended_ms() > until_ms {
            one.next = Some(record);
            return Taken::Nothing;
        }
        one.read = one.cursor;
        Taken::Record(record)
    }

    /// What the clock is to know. `answers` says whether the cluster at a place among the watches does.
    pub fn reached(&self, answers: impl Fn(usize) -> bool) -> impl Iterator<Item = Reached> {
        self.inputs.iter().map(move |one| match &one.next {
            Some(record) => Reached::Behind(record.appended_ms()),
            None => one.cursor.reached(answers(one.place) && (one.cursor.is_at_end || one.heard.elapsed() < SILENCE)),
        })
    }

    /// Enters how far each input is read.
    pub fn enter(&self, positions: &mut Positions) {
        for One { input, read, .. } in &self.inputs {
            positions.advance(input.facts(), read.leader_epoch, read.next_offset);
        }
    }

    /// Of each input: the place of its cluster, the records it is behind, and since when, milliseconds since the Unix
    /// epoch; `None` where it is at its end.
    pub fn lags(&self) -> impl Iterator<Item = (usize, u64, Option<i64>)> {
        self.inputs.iter().map(|One { place, input, cursor, read, .. }| {
            let end = input.reader().known_end().unwrap_or(read.next_offset);
            let since_ms = (!cursor.is_at_end).then_some(read.reached_ms);
            (*place, end.saturating_sub(read.next_offset), since_ms)
        })
    }
}
