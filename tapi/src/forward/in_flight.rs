//! The records on their way, and what becomes of them.
//!
//! They come from the [`backlog`] into the [`window`], each in one [`state`], and are shown from there to whoever hands
//! them over. In the window they stay, where librdkafka reads them, until they have come back and are done:
//! acknowledged, or set aside. The floor of the backlog follows the gap-free row of those.

mod backlog;
mod entry;
mod state;
#[cfg(test)]
pub(super) mod tests;
mod token;
mod window;

use std::borrow::Cow;
use std::time::Duration;

use local_buffer::Reader;
use tracing::warn;

use self::backlog::Backlog;
use self::window::{BATCH_RECORDS_MAX, Window};
use super::fault::Fault;
use super::plan::Bounds;
use super::route::Route;

pub(crate) use backlog::Blocked;
pub(crate) use state::{State, bit};
pub(crate) use token::Token;

/// What becomes of a record that was shown to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It has this state now.
    Is(State),
    /// No cluster takes it, for this reason: it is set aside.
    Aside(Cow<'static, str>),
    /// It waits, and so do those behind it.
    Stop,
}

/// The records on their way.
pub(crate) struct InFlight {
    window: Window,
    backlog: Backlog,
    bounds: Bounds,
}

impl InFlight {
    /// None yet, of a buffer that is read from its floor on.
    pub(crate) fn new(reader: Reader, bounds: Bounds) -> Self {
        Self { window: Window::default(), backlog: Backlog::new(reader), bounds }
    }

    // === in ===

    /// Whether more may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.window.records() < self.bounds.records_max && self.window.cost() < self.bounds.bytes_max
    }

    /// Reads what there is and has room.
    pub(crate) fn fill(&mut self) {
        let mut may_be_more = true;
        while may_be_more && self.has_room() {
            let records_max = BATCH_RECORDS_MAX.min(self.bounds.records_max - self.window.records());
            let mut entry = self.window.take_spare();
            may_be_more = self.backlog.read(entry.batch_mut(), records_max);
            self.window.push(entry);
        }
    }

    /// Waits until there is something to read or somebody wants something, at most so long.
    pub(crate) fn wait(&self, limit: Duration) {
        self.backlog.wait(limit);
    }

    // === out and back ===

    /// Records that have to be handed over.
    pub(crate) fn waiting(&self) -> usize {
        self.window.waiting()
    }

    /// Shows `visit` each record that has to be handed over, in order, with its state. A record that it lends to
    /// librdkafka becomes [`State::Sent`], and its bytes then stay where they are until it has come back.
    pub(crate) fn hand_over(&mut self, mut visit: impl FnMut(Token, &[u8], State) -> Shown) {
        let Self { window, backlog, .. } = self;
        window.hand_over(|token, id, record, state| match visit(token, record, state) {
            Shown::Is(state) => Some(state),
            // Where it cannot be kept, it stays as it is.
            Shown::Aside(reason) => Some(if backlog.set_aside(id, record, &reason) { State::Done } else { state }),
            Shown::Stop => None,
        });
    }

    /// A record came back: a cluster has it.
    pub(crate) fn acknowledged(&mut self, token: Token, route: Route) {
        self.window.came_back(token, route, |_| State::Done);
    }

    /// A record came back with a fault. One that went out on another route meanwhile is that one's business.
    pub(crate) fn failed(&mut self, token: Token, route: Route, fault: Fault) {
        self.window.came_back(token, route, |state| match state {
            State::Sent { route: holder, refused } if holder == route => State::after(fault, route, refused),
            other => other,
        });
    }

    /// A producer is gone: what it had and never reported has to be handed over again.
    pub(crate) fn lost(&mut self, route: Route) {
        self.window.lost(route);
    }

    // === done ===

    /// Forgets the gap-free row of records that are done.
    pub(crate) fn move_floor(&mut self) {
        if let Some(end) = self.window.advance() {
            self.backlog.forget(end);
        }
    }

    /// Whether there is nothing left, on the way or in the buffer.
    pub(crate) fn is_drained(&self) -> bool {
        self.backlog.is_read() && self.window.is_empty()
    }

    /// Every producer is gone: what is done is forgotten for good.
    pub(crate) fn end(&mut self) {
        self.move_floor();
        self.backlog.sync_floor();
        if !self.is_drained() {
            warn!("the drain ends with records left in the local buffer; the next start continues");
        }
    }

    // === figures ===

    /// Records in memory on their way, and those of the same batch.
    pub(crate) fn records(&self) -> usize {
        self.window.records()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Records that nobody took, kept in the quarantine since the start.
    pub(crate) fn quarantined(&self) -> u64 {
        self.backlog.quarantined()
    }

    /// Why nothing goes on, if it does not.
    pub(crate) fn blocked(&self) -> Option<&Blocked> {
        self.backlog.blocked()
    }
}
