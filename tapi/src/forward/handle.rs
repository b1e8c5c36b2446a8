//! Starting and ending the drain, and what the rest of the process may ask of it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use local_buffer::{Reader, ReaderWaker};
use service::Shutdown;
use tracing::{info, warn};

use super::board::Contacts;
use super::error::DrainError;
use super::figures::{Figures, Snapshot};
use super::forwarder::Forwarder;
use super::memory::Memory;
use super::plan::Plan;
use super::router::Cluster;
use super::standing::Standing;

/// How long a start waits for the clusters. One that is down does not keep tapi from starting; one that is there and
/// wrong does, and is found within this time.
const FIRST_LOOK: Duration = Duration::from_secs(4);

/// What an operator may wish for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Pin(Cluster),
    Release,
}

/// An operator's wish, on its way to the drain.
pub struct Control {
    wish: Mutex<Option<Wish>>,
    waker: ReaderWaker,
}

impl Control {
    pub(super) fn new(waker: ReaderWaker) -> Self {
        Self { wish: Mutex::default(), waker }
    }

    /// Sends everything to one cluster whatever happens, or, with `None`, to the better one again. Takes effect within
    /// milliseconds, until the restart.
    pub fn pin(&self, cluster: Option<Cluster>) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster.map_or(Wish::Release, Wish::Pin));
        self.waker.wake();
    }

    pub(super) fn take(&self) -> Option<Wish> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the rest of the process has of the drain.
#[derive(Clone)]
pub struct Remote {
    figures: Arc<Figures>,
    control: Arc<Control>,
    has_secondary: bool,
}

impl Remote {
    /// The figures of now.
    pub fn snapshot(&self) -> Snapshot {
        self.figures.snapshot()
    }

    /// As [`Control::pin`]; says what was done.
    ///
    /// # Errors
    /// Where there is no such cluster.
    pub fn pin(&self, cluster: Option<Cluster>) -> Result<String, String> {
        if cluster == Some(Cluster::Secondary) && !self.has_secondary {
            return Err("there is no secondary".into());
        }
        self.control.pin(cluster);
        Ok(cluster.map_or_else(
            || "released: the primary while it can, else the secondary".into(),
            |cluster| format!("pinned to the {cluster} until it is released or tapi restarts"),
        ))
    }
}

/// The running drain.
pub struct Forward {
    remote: Remote,
    finish: Shutdown,
    waker: ReaderWaker,
    thread: JoinHandle<()>,
    _contacts: Contacts,
}

impl Forward {
    /// Looks at the clusters and begins to drain. `dir` is where the partition count is remembered.
    ///
    /// # Errors
    /// Where a cluster answers and must not be used, a setting is not taken, or the memory cannot be read or written.
    /// Clusters that do not answer are no error.
    pub fn start(plan: Plan, dir: &Path, reader: Reader) -> Result<Self, DrainError> {
        let mut memory = Memory::open(dir)?;
        let contacts = Contacts::start(&plan.clusters)?;
        contacts.board().wait_for_both(FIRST_LOOK);
        let standings = Standing::of_both(&contacts.board().seen(), memory.count(), plan.events_retention_ms_min);
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(&standings) {
            match standing {
                Standing::Unseen(reason) => {
                    warn!(%cluster, reason, "no answer from the cluster; it is used as soon as it answers");
                }
                Standing::Misfit(misfit) if misfit.may_pass() => {
                    warn!(%cluster, %misfit, "the cluster is not used yet");
                }
                Standing::Misfit(misfit) => return Err(DrainError::Misfit { cluster, misfit: misfit.clone() }),
                Standing::Unconfigured | Standing::Fit(_) => {}
            }
        }
        if let Some(count) = standings.iter().find_map(Standing::partitions) {
            memory.remember(count)?;
        }
        let waker = reader.waker();
        let control = Arc::new(Control::new(waker.clone()));
        let figures = Arc::new(Figures::default());
        let finish = Shutdown::new();
        let has_secondary = plan.cluster(Cluster::Secondary).is_configured();
        let remote = Remote { figures: Arc::clone(&figures), control: Arc::clone(&control), has_secondary };
        let forwarder = Forwarder::new(
            plan,
            memory,
            reader,
            contacts.board(),
            control,
            Arc::clone(&figures),
            finish.clone(),
            Instant::now(),
        )?;
        let thread = thread::Builder::new().name("forward".into()).spawn(move || {
            let _ended = Ended(figures);
            forwarder.run();
        })?;
        Ok(Self { remote, finish, waker, thread, _contacts: contacts })
    }

    /// What the rest of the process may ask of it.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Nothing more comes in: drains what is there, within the time that the settings give it, and ends.
    pub fn finish(self) {
        self.finish.trigger();
        self.waker.wake();
        if self.thread.join().is_ok() {
            info!("the drain has ended");
        }
    }
}

/// Says that the drain has ended, also after a panic.
struct Ended(Arc<Figures>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended();
    }
}
