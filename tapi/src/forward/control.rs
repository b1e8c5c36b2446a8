//! What others ask of the drain.

use std::sync::{Mutex, PoisonError};

use local_buffer::ReaderWaker;
use service::Shutdown;

use super::router::Cluster;

/// What an operator may wish for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Pin(Cluster),
    Release,
}

/// What others ask of the drain, on its way to its thread.
pub(super) struct Control {
    wish: Mutex<Option<Wish>>,
    finish: Shutdown,
    hand_over: Shutdown,
    waker: ReaderWaker,
}

impl Control {
    /// Of a drain that this wakes.
    pub(super) fn new(waker: ReaderWaker) -> Self {
        Self { wish: Mutex::default(), finish: Shutdown::new(), hand_over: Shutdown::new(), waker }
    }

    /// Sends everything to one cluster whatever happens, or, with `None`, to the better one again. Takes effect within
    /// milliseconds, until the restart.
    pub(super) fn pin(&self, cluster: Option<Cluster>) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.map_or(Wish::Release, Wish::Pin));
        self.waker.wake();
    }

    /// The last wish, once.
    pub(super) fn take_wish(&self) -> Option<Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Nothing more comes in: the drain is to empty the buffer and end.
    pub(super) fn finish(&self) {
        self.finish.trigger();
        self.waker.wake();
    }

    /// Another process is about to drain the buffer: the drain is to take no more of it and to end.
    pub(super) fn hand_over(&self) {
        self.hand_over.trigger();
        self.finish();
    }

    /// Whether it is to leave the rest to another process.
    pub(super) fn is_handing_over(&self) -> bool {
        self.hand_over.is_triggered()
    }

    /// Whether it is to end.
    pub(super) fn is_finishing(&self) -> bool {
        self.finish.is_triggered()
    }
}
