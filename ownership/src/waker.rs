//! One thread waits, several may wake it.

use crossbeam_channel::{Receiver, Sender, bounded};

/// A wake-up that is not lost when nobody waits yet.
#[derive(Debug, Clone)]
pub struct Waker(Sender<()>);

impl Waker {
    /// The waker, and what waits for it.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (wake, woken) = bounded(1);
        (Self(wake), woken)
    }

    /// Ends the wait, or the next one.
    pub fn wake(&self) {
        // One that is waiting to be heard already is enough.
        let _ = self.0.try_send(());
    }
}
