//! The side of the next process: asks for the listeners, and for the rest when it is ready.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Passed;
use super::link::Link;
use super::message::{Message, VERSION};
use crate::exit::Failure;
use crate::listeners::Listeners;

/// Time for the old process to answer; it may be busy with another one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the old process to finish what it has begun and to free the data.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(20);

/// What the old process has left.
#[derive(Debug)]
pub struct Left {
    /// Connections that wait for a request.
    pub connections: Vec<Passed>,
    /// It has said that the data is free. Else it ends, and the data is free when it has ended.
    pub is_free: bool,
}

/// The next process's end of a hand-over. Dropped before [`serving`](Self::serving), the old process goes on.
#[derive(Debug)]
pub struct Successor(Link);

impl Successor {
    /// Asks the process that holds the data folder for its listeners; `None` where no process offers any there.
    ///
    /// # Errors
    /// Where it refuses, says nothing, or is another user's. It goes on in each case.
    pub fn connect(dir: &Path) -> Result<Option<(Self, Listeners)>, Failure> {
        let failed = |error: io::Error| Failure::failed(format!("cannot take over: {error}"));
        let Some(link) = Link::connect(dir).map_err(failed)? else { return Ok(None) };
        let mut listeners = Listeners::default();
        let mut receive = || {
            link.send(&Message::Hello(VERSION), None)?;
            loop {
                match link.receive(Instant::now() + ANSWER_TIMEOUT)? {
                    (Message::Listener(role), Some(file)) => {
                        let listener = TcpListener::from(file);
                        // Another process set it up.
                        listener.set_nonblocking(true)?;
                        listeners.put(role, listener);
                    }
                    (Message::Offered(count), None) if count as usize == listeners.len() => return Ok(()),
                    (Message::Refused(reason), None) => return Err(io::Error::other(reason)),
                    (other, _) => return Err(io::Error::other(format!("{other:?} out of turn"))),
                }
            }
        };
        match receive() {
            Ok(()) => Ok(Some((Self(link), listeners))),
            // It was about to end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// This process can do no more without the data: waits until the old one has let go of it, or has ended.
    ///
    /// # Errors
    /// Where it goes on, or says nothing in time.
    pub fn ready(&self) -> Result<Left, Failure> {
        let Self(link) = self;
        let until = Instant::now() + RELEASE_TIMEOUT;
        let mut passed: Vec<Passed> = Vec::new();
        let mut receive = || {
            link.send(&Message::Ready, None)?;
            loop {
                match link.receive(until)? {
                    (Message::Connection(state), Some(file)) => {
                        passed.push(Passed { stream: TcpStream::from(file), state });
                    }
                    (Message::Released(count), None) if count as usize == passed.len() => return Ok(()),
                    (Message::Refused(reason), None) => return Err(io::Error::other(reason)),
                    (other, _) => return Err(io::Error::other(format!("{other:?} out of turn"))),
                }
            }
        };
        match receive() {
            Ok(()) => Ok(Left { connections: passed, is_free: true }),
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => {
                tracing::warn!(
                    "the old process ends before it has handed over; this one goes on with what it was given"
                );
                Ok(Left { connections: passed, is_free: false })
            }
            Err(error) => Err(Failure::failed(format!("cannot take over: {error}"))),
        }
    }

    /// This process serves: the old one may end.
    pub fn serving(self) {
        // It may have ended already.
        let _ = self.0.send(&Message::Serving, None);
    }

    /// This process cannot serve: the old one goes on.
    pub fn failed(self, reason: &str) {
        let _ = self.0.send(&Message::Failed(reason.into()), None);
    }
}
