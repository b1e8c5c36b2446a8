//! What this process has before it serves: at a start, from the process before it, or back from the one that failed to
//! come after it.

use std::thread;
use std::time::{Duration, Instant};

use service::handover::{Handover, Left, Lost, Passed, Successor};
use service::{Failure, Listeners};
use tracing::{error, info};

use super::step::{Step, at};
use super::{Data, NotOpened, Program, Start};

/// How long the data may stay in another process's hands when it ought to be free: longer than a process that ends by
/// itself takes to drain.
const FREE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the next process to serve once the data is free. Clients wait meanwhile.
const SERVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks at whether the data is free.
const LOOK: Duration = Duration::from_millis(5);

/// Everything that is opened before serving.
pub(super) struct Opening<P: Program> {
    pub(super) data: Data,
    pub(super) prepared: P::Prepared,
    pub(super) listeners: Listeners,
    pub(super) connections: Vec<Passed>,
    /// To be told that this process serves.
    pub(super) successor: Option<Successor>,
}

impl<P: Program> Opening<P> {
    /// A start where no process runs, with the sockets it was given.
    ///
    /// # Errors
    /// Data that does not open, a port that is taken, and what the program refuses.
    pub(super) fn fresh(program: &P, given: Option<Listeners>) -> Result<Self, Failure> {
        let data = program.open().map_err(NotOpened::into_failure)?;
        let listeners = program.ports().complete(given)?;
        let prepared = program.prepare(Start::First)?;
        Ok(Self { data, prepared, listeners, connections: Vec::new(), successor: None })
    }

    /// In place of the process that runs, once it has let go.
    ///
    /// # Errors
    /// Where it goes on because this one cannot, with the reason, or because it takes too long.
    pub(super) fn taken_over(program: &P, successor: Successor, listeners: Listeners) -> Result<Self, Failure> {
        let open = || {
            program.ports().check(&listeners)?;
            let prepared = program.prepare(Start::First)?;
            at(Step::Prepared);
            let Left { connections, is_free } = successor.ready()?;
            at(Step::Released);
            let until = Instant::now() + if is_free { SERVE_TIMEOUT } else { FREE_TIMEOUT };
            let data = open_when_free(program, || Instant::now() < until)?;
            at(Step::Opened);
            Ok((data, prepared, connections))
        };
        match open() {
            Ok((data, prepared, connections)) => {
                info!(connections = connections.len(), "took over");
                Ok(Self { data, prepared, listeners, connections, successor: Some(successor) })
            }
            Err(failure) => {
                successor.failed(&Failure::to_string(&failure));
                Err(failure)
            }
        }
    }

    /// What is left of this process once the next one is ready and the data is closed: nothing, when that one serves, or
    /// everything back.
    ///
    /// # Errors
    /// Where that one does not serve, and the data does not open here either.
    pub(super) fn given_away(
        program: &P,
        handover: Handover,
        connections: Vec<Passed>,
    ) -> Result<Option<Self>, Failure> {
        at(Step::Freed);
        let released = handover.release(&connections);
        at(Step::Given);
        let serves_by = Instant::now() + SERVE_TIMEOUT;
        let Err(lost) = released.and_then(|()| handover.wait(serves_by)) else { return Ok(None) };
        error!(reason = %lost, "the next process does not serve; this one opens its data again and goes on");
        let until = Instant::now() + FREE_TIMEOUT;
        let mut lost = Some(lost);
        let mut serves = false;
        let data = open_when_free(program, || {
            if Instant::now() < serves_by {
                return true;
            }
            // Silent, and it has the data; or it has said that it cannot, and does not end.
            if let Some(lost) = lost.take() {
                serves = matches!(lost, Lost::Silent) && handover.wait(Instant::now()).is_ok();
                if !serves {
                    handover.kill();
                }
            }
            !serves && Instant::now() < until
        });
        if serves {
            info!("the next process serves after all");
            return Ok(None);
        }
        let (data, prepared) = (data?, program.prepare(Start::Again)?);
        Ok(Some(Self { data, prepared, listeners: handover.into_listeners(), connections, successor: None }))
    }
}

/// Opens the data as soon as no other process has it, as long as `goes_on`.
fn open_when_free<P: Program>(program: &P, mut goes_on: impl FnMut() -> bool) -> Result<Data, Failure> {
    loop {
        match program.open() {
            Ok(data) => return Ok(data),
            Err(NotOpened::Busy(_)) if goes_on() => thread::sleep(LOOK),
            Err(fault) => return Err(fault.into_failure()),
        }
    }
}
