//! The inputs of an owner, read side by side. Records that came are looked at before they are read: the window's clock is to
//! know when the next ones were appended.

use std::sync::Arc;

use changelog::{InputId, Positions, Reached};
use kafka::{Message, TopicFacts};
use ownership::Waker;
use tracing::error;
use wire::LaneCount;

use super::input::Input;
use super::watch::{InputState, Watch};

/// Records taken from one partition before another is looked at.
const BURST: usize = 512;

/// The inputs, in the order of the configured clusters.
#[derive(Debug)]
pub(crate) struct Inputs {
    lanes: LaneCount,
    lane: u32,
    open: Vec<Option<Input>>,
    /// The watches' changes that have been looked at.
    changes: Option<u64>,
    /// The input that is read first the next time.
    turn: usize,
}

impl Inputs {
    /// None is open yet.
    pub(crate) fn new(lanes: LaneCount, lane: u32, count: usize) -> Self {
        Self { lanes, lane, open: (0..count).map(|_| None).collect(), changes: None, turn: 0 }
    }

    /// Opens and closes what the watches have seen come and go, and nothing else. A cluster that merely does not answer
    /// stays open: it is read when it does.
    pub(crate) fn look(&mut self, watches: &[Arc<Watch>], positions: &Positions, clock_ms: i64, waker: &Waker) {
        // Counted first: what changes meanwhile is seen the next time.
        let changes = watches.iter().map(|watch| watch.changes()).sum();
        if self.changes == Some(changes) {
            return;
        }
        self.changes = Some(changes);
        for (input, watch) in self.open.iter_mut().zip(watches) {
            let facts = match watch.state() {
                InputState::Ready(facts) | InputState::Away(_, Some(facts)) => Some(facts),
                InputState::Unknown | InputState::Away(_, None) | InputState::Unfit(_) => None,
            };
            let (cluster, lane) = (watch.cluster().name(), self.lane);
            let failure = match (input.as_mut(), facts) {
                (Some(open), Some(facts)) if TopicFacts::is_same_log(Some(open.facts()), Some(&facts)) => {
                    open.grow(facts, self.lanes, positions, clock_ms).err()
                }
                (_, None) => {
                    *input = None;
                    None
                }
                (_, Some(facts)) => {
                    *input = None;
                    let waker = waker.clone();
                    let wake = move || waker.wake();
                    let opened = Input::open(watch.readers(), cluster, facts.clone(), (self.lanes, lane), wake);
                    let opened = opened.and_then(|mut opened| {
                        opened.grow(facts, self.lanes, positions, clock_ms)?;
                        Ok(opened)
                    });
                    opened.map(|opened| *input = Some(opened)).err()
                }
            };
            if let Some(failure) = failure {
                error!(lane, cluster, %failure, "the input is not opened; trying again");
                self.changes = None;
            }
        }
    }

    /// What was opened before it was known how far it is read: nothing has been taken in of it yet. From here on it is read
    /// from `positions` on.
    pub(crate) fn go_to(&mut self, positions: &Positions, clock_ms: i64) {
        let lanes = self.lanes;
        for input in &mut self.open {
            let Some(open) = input else { continue };
            if let Err(failure) = open.go_to(lanes, positions, clock_ms) {
                error!(lane = self.lane, cluster = open.cluster(), %failure, "the input is not read on; opening it again");
                (*input, self.changes) = (None, None);
            }
        }
    }

    /// Takes in what has come.
    pub(crate) fn fetch(&mut self, positions: &mut Positions) {
        self.open.iter_mut().flatten().for_each(|input| input.fetch(positions));
    }

    /// Whether what is open has said where it ends, as far as its cluster answers.
    pub(crate) fn are_settled(&self, watches: &[Arc<Watch>]) -> bool {
        let answers = |watch: &Watch| matches!(watch.state(), InputState::Ready(_));
        let open = self.open.iter().zip(watches).filter_map(|(input, watch)| Some((input.as_ref()?, watch)));
        open.into_iter().all(|(input, watch)| input.is_settled() || !answers(watch))
    }

    /// Whether any record waits to be read.
    pub(crate) fn have_records(&self) -> bool {
        self.open.iter().flatten().any(Input::has_records)
    }

    /// Reads what has come, by turns, until `take` has enough: it is given the place of the cluster and a record, and says
    /// whether that was enough. Whether it had.
    pub(crate) fn read(&mut self, mut take: impl FnMut(usize, Message) -> bool) -> bool {
        let count = self.open.len();
        for offset in 0..count {
            let place = (self.turn + offset) % count;
            let Some(input) = &mut self.open[place] else { continue };
            for index in input.places() {
                for _ in 0..BURST {
                    let Some(record) = input.take(index) else { break };
                    if take(place, record) {
                        // One that is full after a burst begins with another input the next time.
                        self.turn = place + 1;
                        return true;
                    }
                }
            }
        }
        false
    }

    /// What the clock is to know of each configured input, opened or not.
    pub(crate) fn reached(&self, watches: &[Arc<Watch>]) -> Vec<(InputId, Reached)> {
        let mut all = Vec::with_capacity(self.open.len());
        for (place, (input, watch)) in self.open.iter().zip(watches).enumerate() {
            let id = InputId(place as u32);
            match input {
                None => all.push((id, Reached::Away)),
                Some(input) => {
                    let answers = matches!(watch.state(), InputState::Ready(_));
                    all.extend(input.reached(answers).map(|reached| (id, reached)));
                }
            }
        }
        all
    }

    /// Which log the input at this place is, where it is open.
    pub(crate) fn facts(&self, place: usize) -> Option<&TopicFacts> {
        self.open.get(place)?.as_ref().map(Input::facts)
    }

    /// Enters how far each input is read.
    pub(crate) fn enter(&self, positions: &mut Positions) {
        self.open.iter().flatten().for_each(|input| input.enter_positions(positions));
    }

    /// Of each input that is open: the place of its cluster, the records it is behind, and since when, milliseconds since
    /// the Unix epoch; `None` where it is at its end. Takes what librdkafka tells of the clients, too.
    pub(crate) fn lags(&self) -> impl Iterator<Item = (usize, (u64, Option<i64>))> {
        let all = self.open.iter().enumerate().filter_map(|(place, input)| Some((place, input.as_ref()?)));
        all.map(|(place, input)| {
            input.serve();
            (place, input.lag())
        })
    }

    /// Places whose input is not open.
    pub(crate) fn closed(&self) -> impl Iterator<Item = usize> {
        self.open.iter().enumerate().filter(|(_, input)| input.is_none()).map(|(place, _)| place)
    }
}
