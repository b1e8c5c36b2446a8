//! The lanes of this process, each with a thread of its own. Nothing here waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kafka::Group;
use tracing::error;

use crate::board::{Board, Place};
use crate::ending::Ending;
use crate::owner::Owner;
use crate::publishers::Publishers;
use crate::{Spec, Standing, Waker, Work};

/// Time for which every lane has to be refused before this host counts as unfit. What it says of itself can be read meanwhile.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The lanes that this process should own, or is about to be rid of.
pub(crate) struct Lanes<M> {
    spec: &'static Spec,
    board: Arc<Board>,
    make: Arc<M>,
    publishers: Publishers,
    running: BTreeMap<u32, Running>,
}

struct Running {
    ending: Ending,
    /// Or the lane's place on the board, where the operating system gave no thread.
    thread: Result<JoinHandle<()>, Place>,
}

impl<M, W> Lanes<M>
where
    M: Fn(u32, Waker) -> W + Send + Sync + 'static,
    W: Work,
{
    /// None yet. `make` makes the work of one.
    pub(crate) fn new(spec: &'static Spec, board: Arc<Board>, make: M) -> Self {
        Self { spec, board, make: Arc::new(make), publishers: Publishers::default(), running: BTreeMap::new() }
    }

    /// Begins with one that the group has given to this process.
    pub(crate) fn take(&mut self, lane: u32, group: &Group) {
        let (waker, woken) = Waker::new();
        let ending = Ending::new(waker.clone());
        // One that was handed over or too slow to let go may still be at work here; the new one waits for it.
        let before = self.running.remove(&lane).and_then(|Running { ending, thread }| {
            ending.let_go();
            thread.ok()
        });
        let (spec, board, make) = (self.spec, Arc::clone(&self.board), Arc::clone(&self.make));
        let (group, publishers, told) = (group.clone(), self.publishers.clone(), ending.clone());
        let work = move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            let place = board.enter(lane);
            let is_stopped = || told.is_asked();
            Owner {
                spec,
                lane,
                work: make(lane, waker),
                group,
                publishers: &publishers,
                ending: &told,
                is_stopped: &is_stopped,
                woken,
                place,
                committed: 0,
                state: None,
            }
            .run();
        };
        let thread = thread::Builder::new().name(format!("lane-{lane}")).spawn(work).map_err(|error| {
            error!(lane, %error, "no thread for the lane; restart this process");
            let place = self.board.enter(lane);
            place.is(Standing::RefusedHere(format!("no thread: {error}; restart this process")));
            place
        });
        self.running.insert(lane, Running { ending, thread });
    }

    /// These go to somebody else, who ends the work on them by the fence. A shadow has no fence.
    pub(crate) fn hand_over(&self, is_one: impl Fn(u32) -> bool) {
        for running in self.these(is_one) {
            if self.spec.is_shadow {
                running.ending.let_go();
            } else {
                running.ending.hand_over();
            }
        }
    }

    /// These are worked on no longer.
    pub(crate) fn let_go(&self, is_one: impl Fn(u32) -> bool) {
        self.these(is_one).for_each(|running| running.ending.let_go());
    }

    fn these(&self, is_one: impl Fn(u32) -> bool) -> impl Iterator<Item = &Running> {
        self.running.iter().filter(move |(lane, _)| is_one(**lane)).map(|(_, running)| running)
    }

    /// Forgets those that have ended, and gives those that have not.
    pub(crate) fn left(&mut self) -> Vec<u32> {
        self.running.retain(|_, Running { ending, thread }| match thread {
            Ok(thread) => !thread.is_finished(),
            Err(_) => !ending.is_asked(),
        });
        self.running.keys().copied().collect()
    }

    /// What one of them is refused for, if every one is, and by nothing but this host.
    pub(crate) fn refused_here(&self) -> Option<String> {
        let seen = self.board.lanes();
        let mut reasons = seen.iter().map(|(lane, seen)| match &seen.standing {
            Standing::RefusedHere(reason) if seen.since.elapsed() >= REFUSED_FOR => {
                Some(format!("lane {lane}: {reason}"))
            }
            _ => None,
        });
        let all: Option<Vec<String>> = reasons.by_ref().collect();
        all.filter(|all| all.len() == self.running.len())?.into_iter().next()
    }
}
