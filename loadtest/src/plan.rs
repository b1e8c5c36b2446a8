//! Which events request `r` carries, without looking at any other request.
//!
//! Events are sent in *slots*, numbered from 0 through the whole run. A slot carries either the event of its own number
//! or, for the asked share of slots, an earlier event again; which one is a hash of the slot. So event numbers have
//! gaps (the slots that repeat), and a duplicate lands in another request beside other events, as SDKs re-batch.

use std::ops::Range;

use crate::mix::{About, falls_within, mix};
use crate::workload::{Shape, Workload};

/// How far back most duplicates reach, in slots: retries follow their original closely.
const DUPLICATE_NEAR_SLOTS: u64 = 10_000;
/// Share of duplicates that reach back anywhere, to the start of the run.
const DUPLICATE_FAR_SHARE: f64 = 0.125;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v1/track` and its like, by the event's type.
    Typed,
    /// `/v1/t` and its like: what browsers use.
    Letter,
    /// `/v1/batch`.
    Batch,
    /// `/v1/b`.
    ShortBatch,
    /// `/v1/import`.
    Import,
}

impl Endpoint {
    /// Whether the body is one event without an envelope.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Self::Typed | Self::Letter)
    }
}

/// One request of the cycle.
#[derive(Debug, Clone, Copy)]
struct Step {
    endpoint: Endpoint,
    events: u32,
}

const fn step(endpoint: Endpoint, events: u32) -> Step {
    Step { endpoint, events }
}

/// The mixed cycle: browsers' singles and small batches, mobile and Node batches, and few large server-side ones.
const MIXED: [Step; 20] = [
    step(Endpoint::Letter, 1),
    step(Endpoint::Letter, 1),
    step(Endpoint::ShortBatch, 10),
    step(Endpoint::Letter, 1),
    step(Endpoint::Letter, 1),
    step(Endpoint::ShortBatch, 20),
    step(Endpoint::Letter, 1),
    step(Endpoint::Typed, 1),
    step(Endpoint::Batch, 15),
    step(Endpoint::Letter, 1),
    step(Endpoint::Letter, 1),
    step(Endpoint::Batch, 60),
    step(Endpoint::Letter, 1),
    step(Endpoint::Letter, 1),
    step(Endpoint::ShortBatch, 20),
    step(Endpoint::Letter, 1),
    step(Endpoint::Letter, 1),
    step(Endpoint::Batch, 15),
    step(Endpoint::Letter, 1),
    step(Endpoint::Import, 100),
];

/// Events of the largest request of a workload.
pub(crate) fn events_max(workload: &Workload) -> usize {
    match workload.shape {
        Shape::Mixed => MIXED.iter().map(|step| step.events).max().unwrap_or(1) as usize,
        Shape::Single | Shape::Batch => workload.events_per_request as usize,
    }
}

/// The order of requests, slots and duplicates.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    duplicates: f64,
    without_message_id: f64,
    cycle: Vec<Step>,
    /// Slots before each step of the cycle, and at the end those of the whole cycle.
    slots_before: Vec<u64>,
}

impl Plan {
    /// The plan of a checked workload.
    pub fn new(workload: &Workload) -> Self {
        let cycle = match workload.shape {
            Shape::Single => vec![step(Endpoint::Typed, 1)],
            Shape::Batch => vec![step(Endpoint::Batch, workload.events_per_request)],
            Shape::Mixed => MIXED.to_vec(),
        };
        let mut slots_before = vec![0];
        for step in &cycle {
            slots_before.push(slots_before[slots_before.len() - 1] + u64::from(step.events));
        }
        Self {
            seed: workload.seed,
            duplicates: workload.duplicates,
            without_message_id: workload.without_message_id,
            cycle,
            slots_before,
        }
    }

    /// The slots of request `request`.
    pub fn slots(&self, request: u64) -> Range<u64> {
        let (cycle, step) = (request / self.cycle.len() as u64, (request % self.cycle.len() as u64) as usize);
        let start = cycle * self.slots_before[self.cycle.len()];
        start + self.slots_before[step]..start + self.slots_before[step + 1]
    }

    pub(crate) fn endpoint(&self, request: u64) -> Endpoint {
        self.cycle[(request % self.cycle.len() as u64) as usize].endpoint
    }

    /// Requests whose first slot lies before `slots`.
    pub(crate) fn requests_for(&self, slots: u64) -> u64 {
        let (cycle, rest) = (slots / self.slots_before[self.cycle.len()], slots % self.slots_before[self.cycle.len()]);
        let steps = self.slots_before[..self.cycle.len()].iter().filter(|&&before| before < rest).count();
        cycle * self.cycle.len() as u64 + steps as u64
    }

    /// The event that a slot carries: its own number, or that of an earlier event.
    pub fn event(&self, slot: u64) -> u64 {
        let mut original = slot;
        while original > 0 && falls_within(mix(self.seed, About::Duplicate, original), self.duplicates) {
            let far = falls_within(mix(self.seed, About::DuplicateFar, original), DUPLICATE_FAR_SHARE);
            let reach = if far { original } else { original.min(DUPLICATE_NEAR_SLOTS) };
            original -= 1 + mix(self.seed, About::DuplicateDistance, original) % reach;
        }
        // A server cannot know an event without a messageId again, so those are sent once.
        if original != slot && self.lacks_message_id(original) { slot } else { original }
    }

    /// Whether the event is sent without a messageId and is to be found by its marker.
    pub fn lacks_message_id(&self, event: u64) -> bool {
        falls_within(mix(self.seed, About::MissingMessageId, event), self.without_message_id)
    }

    /// Whether every request carries an envelope, whose context the server merges into each event.
    pub(crate) fn is_always_batch(&self) -> bool {
        self.cycle.iter().all(|step| !step.endpoint.is_single())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> Workload {
        Workload { shape: Shape::Mixed, ..Workload::new(3) }
    }

    #[test]
    fn requests_cover_the_slots_without_gap_or_overlap() {
        for workload in [mixed(), Workload::new(1), Workload { shape: Shape::Batch, events_per_request: 7, ..mixed() }]
        {
            let plan = Plan::new(&workload);
            let mut next = 0;
            for request in 0..100 {
                let slots = plan.slots(request);
                assert_eq!(slots.start, next);
                assert!(slots.end - slots.start <= events_max(&workload) as u64 && !slots.is_empty());
                next = slots.end;
                assert_eq!(plan.requests_for(slots.start), request);
                assert_eq!(plan.requests_for(slots.start + 1), request + 1);
            }
        }
        assert_eq!(MIXED.iter().map(|step| step.events).sum::<u32>(), 253, "the help names it");
    }

    #[test]
    fn duplicates_name_earlier_events_that_are_sent_and_have_ids() {
        let plan = Plan::new(&Workload { duplicates: 0.3, without_message_id: 0.2, ..mixed() });
        let mut repeats = 0;
        for slot in 0..50_000 {
            let event = plan.event(slot);
            assert!(event <= slot);
            assert_eq!(plan.event(event), event, "an original carries itself");
            if event != slot {
                repeats += 1;
                assert!(!plan.lacks_message_id(event));
            }
        }
        assert!((50_000 * 20 / 100..50_000 * 30 / 100).contains(&repeats), "{repeats}");
    }

    #[test]
    fn without_duplicates_every_slot_is_an_event() {
        let plan = Plan::new(&Workload { duplicates: 0.0, ..mixed() });
        assert!((0..1_000).all(|slot| plan.event(slot) == slot));
    }
}
