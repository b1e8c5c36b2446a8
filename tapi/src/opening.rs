//! What this process has before it serves: at a start, from the process before it, or back from the one that failed to
//! come after it.

use std::thread;
use std::time::{Duration, Instant};

use local_buffer::{OpenError, Queue};
use service::handover::{Handover, Left, Lost, Passed, Successor};
use service::{Failure, Listeners};
use tracing::{error, info};

use crate::config::{Config, Kafka};
use crate::crash::{self, Step};
use crate::forward::{Patience, Prepared};

/// How long the buffer may stay in another process's hands when it ought to be free: longer than a process that ends by
/// itself takes to drain.
const FREE_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the next process to serve once the buffer is free. Clients wait meanwhile.
const SERVE_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks at whether the buffer is free.
const LOOK: Duration = Duration::from_millis(5);

/// Everything that is opened before serving.
pub(crate) struct Opening {
    pub(crate) queue: Queue,
    pub(crate) prepared: Prepared,
    pub(crate) listeners: Listeners,
    pub(crate) connections: Vec<Passed>,
    /// To be told that this process serves.
    pub(crate) successor: Option<Successor>,
}

impl Opening {
    /// A start where no process runs, with the sockets it was given.
    ///
    /// # Errors
    /// A buffer that does not open, a port that is taken, a Kafka cluster that must not be used.
    pub(crate) fn fresh(config: &Config, kafka: &Kafka, given: Option<Listeners>) -> Result<Self, Failure> {
        let (queue, _) = config.ingest.buffer.open(&config.data).map_err(Failure::failed)?;
        let listeners = config.ports().complete(given)?;
        let prepared = prepare(config, kafka, Patience::FirstLook)?;
        Ok(Self { queue, prepared, listeners, connections: Vec::new(), successor: None })
    }

    /// In place of the process that runs, once it has let go.
    ///
    /// # Errors
    /// Where it goes on because this one cannot, with the reason, or because it takes too long.
    pub(crate) fn taken_over(
        config: &Config,
        kafka: &Kafka,
        successor: Successor,
        listeners: Listeners,
    ) -> Result<Self, Failure> {
        let open = || {
            config.ports().check(&listeners)?;
            let prepared = prepare(config, kafka, Patience::FirstLook)?;
            crash::at(Step::Prepared);
            let Left { connections, is_free } = successor.ready()?;
            crash::at(Step::Released);
            let until = Instant::now() + if is_free { SERVE_TIMEOUT } else { FREE_TIMEOUT };
            let queue = open_when_free(config, || Instant::now() < until)?;
            crash::at(Step::Opened);
            Ok((queue, prepared, connections))
        };
        match open() {
            Ok((queue, prepared, connections)) => {
                info!(connections = connections.len(), "took over");
                Ok(Self { queue, prepared, listeners, connections, successor: Some(successor) })
            }
            Err(failure) => {
                successor.failed(&Failure::to_string(&failure));
                Err(failure)
            }
        }
    }

    /// What is left of this process once the next one is ready and the buffer is closed: nothing, when that one serves, or
    /// everything back.
    ///
    /// # Errors
    /// Where that one does not serve, and the buffer does not open here either.
    pub(crate) fn given_away(
        config: &Config,
        kafka: &Kafka,
        handover: Handover,
        connections: Vec<Passed>,
    ) -> Result<Option<Self>, Failure> {
        crash::at(Step::Freed);
        let released = handover.release(&connections);
        crash::at(Step::Given);
        let serves_by = Instant::now() + SERVE_TIMEOUT;
        let Err(lost) = released.and_then(|()| handover.wait(serves_by)) else { return Ok(None) };
        error!(reason = %lost, "the next process does not serve; this one opens its data again and goes on");
        let until = Instant::now() + FREE_TIMEOUT;
        let mut lost = Some(lost);
        let mut serves = false;
        let queue = open_when_free(config, || {
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
        let (queue, prepared) = (queue?, prepare(config, kafka, Patience::None)?);
        Ok(Some(Self { queue, prepared, listeners: handover.into_listeners(), connections, successor: None }))
    }
}

fn prepare(config: &Config, kafka: &Kafka, patience: Patience) -> Result<Prepared, Failure> {
    Prepared::new(kafka.plan(), &config.data, patience).map_err(Failure::failed)
}

/// Opens the buffer as soon as no other process has it, as long as `goes_on`.
fn open_when_free(config: &Config, mut goes_on: impl FnMut() -> bool) -> Result<Queue, Failure> {
    loop {
        match config.ingest.buffer.open(&config.data) {
            Ok((queue, _)) => return Ok(queue),
            Err(OpenError::Locked { .. }) if goes_on() => thread::sleep(LOOK),
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}
