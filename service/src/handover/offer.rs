//! The side of the process that serves: waits for the next one, and lets go when it is ready.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tokio::runtime::Builder;

use super::Passed;
use super::link::{Door, Link, readable};
use super::message::{Message, VERSION};
use crate::listeners::Listeners;
use crate::shutdown::Shutdown;

/// Time for the next process to prepare: it looks at what it will talk to.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The offer to hand over, open as long as the process serves.
#[derive(Debug)]
pub struct Offer {
    ended: Shutdown,
    thread: Mutex<Option<JoinHandle<Option<Handover>>>>,
}

impl Offer {
    /// Waits for the next process in the data folder, which this process holds, from a thread of its own. `listeners` are
    /// copies of those that are served. Once the process is `asked` to stop, the copies are closed and then `stop` is
    /// given: whoever closes a listener at that closes the port.
    ///
    /// # Errors
    /// Where the socket cannot be made, or the operating system refuses a thread or a poller.
    pub fn start(dir: &Path, listeners: Listeners, asked: &Shutdown, stop: &Shutdown) -> io::Result<Self> {
        let door = Door::open(dir)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = Shutdown::new();
        let (asked, stop, over) = (asked.clone(), stop.clone(), ended.clone());
        let thread = thread::Builder::new().name("hand-over".into()).spawn(move || {
            let link = runtime.block_on(async {
                tokio::select! {
                    link = meet(&door, &listeners) => Some(link),
                    () = asked.triggered() => None,
                    () = over.triggered() => None,
                }
            });
            // The next process opens its own when it holds the folder.
            drop(door);
            let Some(link) = link else {
                drop(listeners);
                stop.trigger();
                return None;
            };
            Some(Handover { link, listeners })
        })?;
        Ok(Self { ended, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until the next process is ready, which is given once; `None` after a stop and after [`end`](Self::end).
    pub fn wait(&self) -> Option<Handover> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.and_then(|thread| thread.join().ok().flatten())
    }

    /// Ends it.
    pub fn end(&self) {
        self.ended.trigger();
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.end();
        self.wait();
    }
}

/// The next process that is ready, whatever becomes of those that come before it.
async fn meet(door: &Door, listeners: &Listeners) -> Link {
    loop {
        let accepted = match readable(door).await {
            Ok(()) => door.accept(),
            Err(error) => Err(error),
        };
        let link = match accepted {
            Ok(Some(link)) => link,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "who wants to take over was not let in");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let pid = link.peer.as_raw_nonzero();
        tracing::info!(pid, "another process wants to take over; this one serves until that one is ready");
        let prepared = tokio::time::timeout(PREPARE_TIMEOUT, prepare(&link, listeners)).await;
        match prepared.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => return link,
            Err(error) => {
                tracing::error!(pid, %error, "it did not become ready; this process goes on, nothing has changed");
                // It may be gone.
                let _ = link.send(&Message::Refused(error.to_string()), None);
            }
        }
    }
}

/// Gives copies of the listeners and waits until the next process is ready.
async fn prepare(link: &Link, listeners: &Listeners) -> io::Result<()> {
    match hear(link).await? {
        Message::Hello(VERSION) => {}
        Message::Hello(other) => {
            let says =
                format!("it hands over by version {other}, this process by {VERSION}; restart without taking over");
            return Err(io::Error::other(says));
        }
        other => return Err(unexpected(&other)),
    }
    for (role, listener) in listeners.iter() {
        link.send(&Message::Listener(role), Some(listener.as_fd()))?;
    }
    link.send(&Message::Offered(listeners.len() as u32), None)?;
    match hear(link).await? {
        Message::Ready => Ok(()),
        Message::Failed(reason) => Err(io::Error::other(reason)),
        other => Err(unexpected(&other)),
    }
}

async fn hear(link: &Link) -> io::Result<Message> {
    loop {
        readable(link).await?;
        match link.receive(Instant::now()) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            other => return other.map(|(message, _)| message),
        }
    }
}

fn unexpected(message: &Message) -> io::Error {
    io::Error::other(format!("it said {message:?} out of turn"))
}

/// The next process, ready, and this process's copies of the listeners.
#[derive(Debug)]
pub struct Handover {
    link: Link,
    listeners: Listeners,
}

/// Why the next process does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It is gone, or said why it cannot.
    #[error("{0}")]
    Gone(String),
    /// It has said nothing in time, and lives.
    #[error("it said nothing in time")]
    Silent,
}

impl Handover {
    /// The data is free: gives the connections that wait for a request.
    ///
    /// # Errors
    /// Where the next process is gone, or takes nothing.
    pub fn release(&self, passed: &[Passed]) -> Result<(), Lost> {
        let gone = |error: io::Error| Lost::Gone(error.to_string());
        for Passed { stream, state } in passed {
            self.link.send(&Message::Connection(state.clone()), Some(stream.as_fd())).map_err(gone)?;
        }
        self.link.send(&Message::Released(passed.len() as u32), None).map_err(gone)
    }

    /// Waits until the next process serves.
    ///
    /// # Errors
    /// Where it does not.
    pub fn wait(&self, until: Instant) -> Result<(), Lost> {
        match self.link.receive(until) {
            Ok((Message::Serving, _)) => Ok(()),
            Ok((Message::Failed(reason), _)) => Err(Lost::Gone(reason)),
            Ok((other, _)) => Err(Lost::Gone(unexpected(&other).to_string())),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Lost::Silent),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Lost::Gone("it died".into())),
            Err(error) => Err(Lost::Gone(error.to_string())),
        }
    }

    /// Ends the next process, which holds the data and says nothing: nobody would serve as long as it does. It is the
    /// process at the other end still, because it has not closed its end.
    pub fn kill(&self) {
        let pid = self.link.peer.as_raw_nonzero();
        tracing::error!(pid, "the next process holds the data and does not serve; it is killed");
        let _ = kill_process(self.link.peer, Signal::KILL);
    }

    /// It is over: this process's copies.
    pub fn into_listeners(self) -> Listeners {
        self.listeners
    }
}
