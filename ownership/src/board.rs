//! How each lane stands, for whoever asks from outside.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use changelog::Progress;

/// What is happening to a lane that this process should own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Looking at the log, or waiting for the owner before in this process.
    Waiting,
    /// Taking the fence.
    Fencing,
    /// Replaying the log.
    Restoring(Progress),
    /// At work.
    Running,
    /// At work until its next owner is; the group has given the lane to somebody else, or is left.
    HandingOver,
    /// It could not go on, for this reason, and tries again by itself after this pause.
    Failing(String, Duration),
    /// It waits for somebody to put right what the reason says of its log. Any worker would refuse it.
    RefusedByLog(String),
    /// The same of this host. Another worker could own it.
    RefusedHere(String),
}

/// A lane as it was last seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How it stands.
    pub standing: Standing,
    /// Since when; a replay that moves on is one standing.
    pub since: Instant,
    /// When its loop came round the last time.
    pub turned: Instant,
}

/// Counted since the process started, over all lanes.
#[derive(Debug, Default)]
pub struct Counts {
    /// Times that a lane was begun again after a fault.
    pub faults: AtomicU64,
    /// Lanes taken over.
    pub takeovers: AtomicU64,
    /// Records of logs replayed.
    pub replayed: AtomicU64,
    /// States thrown away and made again.
    pub thrown_away: AtomicU64,
}

/// Every lane that this process should own, or hands over, and whether it is in the group.
#[derive(Debug, Default)]
pub struct Board {
    /// What was counted.
    pub counts: Counts,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    lanes: BTreeMap<u32, Seen>,
    outside: Option<String>,
}

/// One lane's place on the board; it is taken off when this is dropped.
#[derive(Debug)]
pub struct Place {
    board: Arc<Board>,
    lane: u32,
}

impl Board {
    /// Every lane, as it was last seen.
    pub fn lanes(&self) -> Vec<(u32, Seen)> {
        self.lock().lanes.iter().map(|(lane, seen)| (*lane, seen.clone())).collect()
    }

    /// Why this process is not in the group, as a sentence, where that is known.
    pub fn outside(&self) -> Option<String> {
        self.lock().outside.clone()
    }

    /// This process is not in the group; whether that is news.
    pub(crate) fn is_outside(&self, why: &str) -> bool {
        let why = Some(why.to_owned());
        std::mem::replace(&mut self.lock().outside, why.clone()) != why
    }

    pub(crate) fn is_in_group(&self) {
        self.lock().outside = None;
    }

    /// Puts a lane on the board.
    pub fn enter(self: &Arc<Self>, lane: u32) -> Place {
        let now = Instant::now();
        self.lock().lanes.insert(lane, Seen { standing: Standing::Waiting, since: now, turned: now });
        Place { board: Arc::clone(self), lane }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn counts(&self) -> &Counts {
        &self.board.counts
    }

    /// Says how the lane stands.
    pub fn is(&self, standing: Standing) {
        let now = Instant::now();
        let mut entries = self.board.lock();
        let Some(seen) = entries.lanes.get_mut(&self.lane) else { return };
        let is_same = match (&seen.standing, &standing) {
            (Standing::Restoring(_), Standing::Restoring(_)) => true,
            (was, is) => was == is,
        };
        if !is_same {
            seen.since = now;
        }
        (seen.standing, seen.turned) = (standing, now);
    }

    /// The loop has come round.
    pub(crate) fn turned(&self) {
        if let Some(seen) = self.board.lock().lanes.get_mut(&self.lane) {
            seen.turned = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.board.lock().lanes.remove(&self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_that_stays_has_one_beginning() {
        let board = Arc::new(Board::default());
        let place = board.enter(3);
        let since = |board: &Board| board.lanes()[0].1.since;
        place.is(Standing::Restoring(Progress::default()));
        let begun = since(&board);
        place.is(Standing::Restoring(Progress { offset: 7, ..Progress::default() }));
        assert_eq!(since(&board), begun);
        place.is(Standing::Running);
        assert!(since(&board) >= begun && board.lanes()[0].1.standing == Standing::Running);
        drop(place);
        assert!(board.lanes().is_empty());
    }

    #[test]
    fn a_closed_door_is_news_once() {
        let board = Board::default();
        assert!(board.is_outside("full") && !board.is_outside("full") && board.is_outside("gone"));
        assert_eq!(board.outside().as_deref(), Some("gone"));
        board.is_in_group();
        assert_eq!(board.outside(), None);
    }
}
