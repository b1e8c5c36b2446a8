//! How a lane is told to end.

use std::time::Duration;

use service::Shutdown;

use crate::Waker;

/// How a lane is told to end: it is to be handed over, or let go at once. Every clone is the same.
///
/// A lane that is handed over is another process's already, as far as the group knows; but until that one has its fence
/// nobody else works on it, so the owner goes on meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// Given in both cases.
    asked: Shutdown,
    /// Given before the other, where there is nothing to wait for.
    at_once: Shutdown,
    waker: Waker,
}

impl Ending {
    /// Of a lane whose loop this wakes.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { asked: Shutdown::new(), at_once: Shutdown::new(), waker }
    }

    /// Whoever is at work goes on for a while; whoever is not ends.
    pub(crate) fn hand_over(&self) {
        self.asked.trigger();
        self.waker.wake();
    }

    /// What is on its way is brought to its end, and that is all.
    pub(crate) fn let_go(&self) {
        self.at_once.trigger();
        self.hand_over();
    }

    /// Whether it is to end, in whichever way.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_triggered()
    }

    /// Whether it is to end at once.
    pub(crate) fn is_at_once(&self) -> bool {
        self.at_once.is_triggered()
    }

    /// A pause that ends when it is to end; whether it is.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        self.asked.wait_timeout(time)
    }
}
