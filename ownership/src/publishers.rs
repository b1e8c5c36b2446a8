//! The threads that carry out transactions, for every lane of this process.
//!
//! A transaction is mostly a wait for brokers, and most of the time most lanes have none, so a few threads serve them all.
//! They begin with the first order and end where there is nothing to do. A broker that stands still keeps a thread for as long
//! as a transaction may last, and what happens to one lane is to hold up no other: an order that has waited for
//! [some time](PATIENCE) gets one more thread. As a lane has one order at a time, there are never more threads than lanes.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Threads that there are at most while no order waits for long: with so many, one always works while others wait.
const THREADS: usize = 3;
/// An order that has waited for longer gets a thread of its own. A small transaction takes half of it.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);
/// A thread that had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(5);

/// What is to be done.
type Order = Box<dyn FnOnce() + Send>;

/// The threads. A clone is the same ones.
#[derive(Clone, Default)]
pub(crate) struct Publishers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Default)]
struct State {
    /// Each with when it was given.
    orders: VecDeque<(Instant, Order)>,
    threads: usize,
    idle: usize,
}

impl Publishers {
    /// Has it done, by the next thread that is free.
    ///
    /// # Errors
    /// Where there is no thread at all, and the operating system refuses one. It is not done then.
    pub(crate) fn give(&self, order: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut state = self.0.lock();
        state.orders.push_back((Instant::now(), Box::new(order)));
        if state.idle < state.orders.len() && state.threads < THREADS {
            let begun = self.begin(&mut state);
            if state.threads == 0 {
                state.orders.pop_back();
                return begun;
            }
        }
        self.0.given.notify_one();
        Ok(())
    }

    /// Looks whether an order has waited for too long. Whoever waits for one calls it now and then.
    pub(crate) fn look(&self) {
        let mut state = self.0.lock();
        let is_late = state.orders.front().is_some_and(|(given, _)| given.elapsed() >= PATIENCE);
        if is_late && state.idle < state.orders.len() {
            // Without one more it waits for those that there are.
            let _ = self.begin(&mut state);
        }
    }

    fn begin(&self, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new().name("publish".into()).spawn(move || shared.serve())?;
        state.threads += 1;
        // Until it has looked: one order is to get one thread.
        state.idle += 1;
        Ok(())
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.lock();
        state.idle -= 1;
        loop {
            if let Some((_, order)) = state.orders.pop_front() {
                drop(state);
                // Whoever waits for it sees that nothing came of it.
                let _ = catch_unwind(AssertUnwindSafe(order));
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let is_empty = |state: &mut State| state.orders.is_empty();
            let waited = self.given.wait_timeout_while(state, IDLE, is_empty);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            if state.orders.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    /// An order that stands still until the receiver's other end is dropped.
    fn stuck(publishers: &Publishers, until: &Receiver<()>) -> Receiver<()> {
        let (begun, has_begun) = bounded(1);
        let until = until.clone();
        publishers
            .give(move || {
                let _ = begun.send(());
                let _ = until.recv();
            })
            .unwrap();
        has_begun
    }

    #[test]
    fn orders_that_stand_still_hold_up_no_other() {
        let publishers = Publishers::default();
        let (go_on, until) = bounded::<()>(0);
        for _ in 0..THREADS {
            stuck(&publishers, &until).recv_timeout(LONG).unwrap();
        }
        let another = stuck(&publishers, &until);
        assert_eq!(publishers.0.lock().threads, THREADS, "it waits for a while first");
        let begun = Instant::now();
        while another.try_recv().is_err() {
            assert!(begun.elapsed() < LONG, "it waits for those that stand still");
            publishers.look();
            thread::yield_now();
        }
        assert_eq!(publishers.0.lock().threads, THREADS + 1);
        drop(go_on);
    }

    #[test]
    fn few_threads_do_all_and_a_panic_ends_none() {
        let publishers = Publishers::default();
        let (done, told) = bounded(100);
        for number in 0..100 {
            let done = done.clone();
            publishers
                .give(move || {
                    assert!(number % 10 > 0, "asked for by the test");
                    done.send(number).unwrap();
                })
                .unwrap();
        }
        drop(done);
        assert_eq!(told.iter().count(), 90);
        assert!((1..=THREADS).contains(&publishers.0.lock().threads));
    }
}
