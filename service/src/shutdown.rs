//! One signal that says "stop", for async tasks and plain threads alike, and the process signals that give it.
//!
//! SIGTERM and SIGINT give it; a second one ends the process at once, for the person who does not want to wait for the
//! drain. A program that can be stopped in two ways has the second one for the other way, and a third that ends it. SIGHUP
//! calls the reload function and nothing else.

use std::io;
use std::process;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// "Stop": given once, seen by every clone.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asynchronous: watch::Sender<bool>,
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        let inner =
            Inner { asynchronous: watch::Sender::new(false), stopped: Mutex::new(false), changed: Condvar::new() };
        Self(Arc::new(inner))
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn trigger(&self) {
        *self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
        self.0.asynchronous.send_replace(true);
    }

    /// Whether it has been given.
    pub fn is_triggered(&self) -> bool {
        *self.0.asynchronous.borrow()
    }

    /// Blocks the thread until it is given.
    pub fn wait(&self) {
        let stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.changed.wait_while(stopped, |stopped| !*stopped));
    }

    /// Blocks the thread until it is given or the time is over; whether it was given. The pause of a periodic thread.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut stopped = self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            stopped = self.0.changed.wait_timeout(stopped, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Resolves when it is given.
    pub async fn triggered(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.asynchronous.subscribe().wait_for(|stopped| *stopped).await;
    }

    /// Makes SIGTERM and SIGINT give the signal, and SIGHUP call `reload`, from a thread of their own. A second SIGTERM
    /// or SIGINT exits with 1 at once.
    ///
    /// # Errors
    /// Where the operating system refuses a thread, a poller or a handler.
    pub fn on_process_signals(&self, reload: impl FnMut() + Send + 'static) -> io::Result<()> {
        let first = (self.clone(), "stopping: finishing what was begun (a second signal exits at once)");
        listen(vec![first], reload)
    }

    /// The same, but a second SIGTERM or SIGINT gives `again`, and a third exits with 1 at once. The sentences are logged.
    ///
    /// # Errors
    /// Where the operating system refuses a thread, a poller or a handler.
    pub fn on_process_signals_twice(
        &self,
        again: &Self,
        sentences: [&'static str; 2],
        reload: impl FnMut() + Send + 'static,
    ) -> io::Result<()> {
        let [first, second] = sentences;
        listen(vec![(self.clone(), first), (again.clone(), second)], reload)
    }
}

/// Gives these in their turn, one for each SIGTERM or SIGINT, and exits behind the last.
fn listen(steps: Vec<(Shutdown, &'static str)>, mut reload: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(guard);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async move {
            let mut steps = steps.into_iter();
            loop {
                tokio::select! {
                    _ = hang_up.recv() => { reload(); continue }
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                // One that was given in another way needs no signal.
                let Some((shutdown, sentence)) = steps.find(|(shutdown, _)| !shutdown.is_triggered()) else {
                    tracing::warn!("signalled again: exiting without waiting");
                    process::exit(i32::from(crate::exit::FAILED));
                };
                tracing::info!("{sentence}");
                shutdown.trigger();
            }
        });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The process of this test gets real signals; they are for nobody else in it.
    #[test]
    fn each_signal_gives_one_more() {
        use rustix::process::{Signal, getpid, kill_process};
        const LIMIT: Duration = Duration::from_secs(30);
        let (first, second, reloaded) = (Shutdown::new(), Shutdown::new(), Shutdown::new());
        let reload = reloaded.clone();
        first.on_process_signals_twice(&second, ["first", "second"], move || reload.trigger()).unwrap();
        let send = |signal| kill_process(getpid(), signal).unwrap();
        send(Signal::HUP);
        assert!(reloaded.wait_timeout(LIMIT) && !first.is_triggered());
        send(Signal::TERM);
        assert!(first.wait_timeout(LIMIT) && !second.is_triggered());
        send(Signal::INT);
        assert!(second.wait_timeout(LIMIT));
    }

    #[test]
    fn threads_and_tasks_see_the_same_signal() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_triggered());
        assert!(!shutdown.wait_timeout(Duration::ZERO));
        let thread = std::thread::spawn({
            let shutdown = shutdown.clone();
            move || shutdown.wait()
        });
        let task = std::thread::spawn({
            let shutdown = shutdown.clone();
            move || Builder::new_current_thread().build().unwrap().block_on(shutdown.triggered())
        });
        shutdown.trigger();
        shutdown.trigger();
        thread.join().unwrap();
        task.join().unwrap();
        assert!(shutdown.wait_timeout(Duration::from_mins(1)));
        assert!(shutdown.is_triggered());
    }
}
