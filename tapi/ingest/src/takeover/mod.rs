//! A program around the server: from its start to its end, or to the process that takes over from it.
//!
//! `tapi` and `turnstile` differ in who empties the buffer; [`Program`] is that difference. What one process hands to the
//! next, in which order, and who has the data when one of them dies, stands in [`service::handover`].

mod opening;
mod process;
mod step;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use local_buffer::{OpenError, Queue};
use service::handover::Successor;
use service::{Admin, DataDir, Failure, Shutdown, announce};

use crate::config::Config;
use crate::live::{Live, reload};
use crate::metrics::Metrics;
use crate::ports::Ports;
use opening::Opening;
use process::Process;

pub use step::arm_crash;

/// What is different from one program to another.
pub trait Program: Sync {
    /// What can be made ready while another process still has the data.
    type Prepared;
    /// Whoever empties the buffer, at work.
    type Drain: Drain;
    /// Its name, in the line that says that it serves.
    const NAME: &'static str;

    /// Where it is to listen.
    fn ports(&self) -> Ports;

    /// The data folder.
    fn data(&self) -> &Path;

    /// The settings of the server.
    fn ingest(&self) -> &Config;

    /// Makes ready what does not need the data.
    ///
    /// # Errors
    /// Where the program must not serve as things are.
    fn prepare(&self, start: Start) -> Result<Self::Prepared, Failure>;

    /// Opens the data.
    ///
    /// # Errors
    /// As [`NotOpened`] says.
    fn open(&self) -> Result<Data, NotOpened>;

    /// Begins to empty the buffer of a server that listens there; also what the admin port tells.
    ///
    /// # Errors
    /// Where it cannot begin.
    fn start(
        &self,
        prepared: Self::Prepared,
        queue: &mut Queue,
        metrics: &Arc<Metrics>,
        listen: SocketAddr,
    ) -> Result<(Self::Drain, Arc<dyn Admin>), Failure>;
}

/// Whoever empties the buffer.
pub trait Drain: Send {
    /// Takes no more from the buffer and lets go of all data soon: another process waits for it.
    fn leave(self);

    /// Nothing more comes in: takes what is there, and ends.
    ///
    /// # Errors
    /// Where it failed; what it left is in the buffer.
    fn finish(self) -> Result<(), Failure>;
}

/// Whether a process prepares to serve for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It has not served.
    First,
    /// It has served, and clients wait for it to go on.
    Again,
}

/// The data of one process.
pub struct Data {
    /// The local buffer.
    pub queue: Queue,
    /// What keeps others from the rest of the folder, where there is more.
    pub lock: Option<DataDir>,
}

/// Why data did not open.
pub enum NotOpened {
    /// Another process has it.
    Busy(Failure),
    /// Anything else.
    Failed(Failure),
}

impl NotOpened {
    fn into_failure(self) -> Failure {
        match self {
            Self::Busy(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> Self {
        let is_busy = matches!(error, OpenError::Locked { .. });
        let failure = Failure::failed(error);
        if is_busy { Self::Busy(failure) } else { Self::Failed(failure) }
    }
}

/// Serves until SIGTERM or SIGINT, or until another process takes over, and then finishes what was begun. With `take_over`
/// it serves in place of the process that runs on the same data, if one does. `read` gives the settings of the server at
/// SIGHUP.
///
/// When it serves, it prints one line: `NAME ready ingest=ADDRESS admin=ADDRESS`.
///
/// # Errors
/// Data that does not open, a port that is taken, a thread that failed, and what the program refuses.
pub fn run<P: Program>(
    program: &P,
    take_over: bool,
    read: impl Fn() -> Result<Config, Failure> + Send + 'static,
) -> Result<(), Failure> {
    let successor = if take_over { Successor::connect(program.data())? } else { None };
    let mut opening = match successor {
        Some((successor, listeners)) => Opening::taken_over(program, successor, listeners)?,
        None => Opening::fresh(program, program.ports().activated()?)?,
    };
    let asked = Shutdown::new();
    let (reloaded, live) = Live::channel(program.ingest())?;
    asked.on_process_signals(move || reload(&reloaded, read())).map_err(Failure::failed)?;
    let process = Process { program, asked, live };
    let mut has_served = false;
    loop {
        let say = |ingest: SocketAddr, admin: SocketAddr| {
            if has_served {
                tracing::warn!(%ingest, %admin, "this process serves again");
            } else {
                announce(format_args!("{} ready ingest={ingest} admin={admin}", P::NAME));
            }
        };
        match process.serve(opening, say)? {
            Some(back) => opening = back,
            None => return Ok(()),
        }
        has_served = true;
    }
}
