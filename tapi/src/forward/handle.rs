//! Starting and ending the drain, and what the rest of the process may ask of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use local_buffer::Reader;
use tracing::info;

use super::clusters::{Clusters, Patience};
use super::control::Control;
use super::error::DrainError;
use super::figures::{Figures, Snapshot};
use super::forwarder::Forwarder;
use super::plan::Plan;
use super::router::Cluster;

/// What the rest of the process has of the drain.
#[derive(Clone)]
pub(crate) struct Remote {
    figures: Arc<Figures>,
    control: Arc<Control>,
    has_secondary: bool,
}

impl Remote {
    /// The figures of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.figures.snapshot()
    }

    /// Sends everything to one cluster whatever happens, or, with `None`, to the better one again. Takes effect within
    /// milliseconds, until the restart. Says what was done.
    ///
    /// # Errors
    /// Where there is no such cluster.
    pub(crate) fn pin(&self, cluster: Option<Cluster>) -> Result<String, String> {
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
pub(crate) struct Forward {
    remote: Remote,
    thread: JoinHandle<()>,
}

/// The drain as far as it can begin without the buffer.
pub(crate) struct Prepared {
    plan: Plan,
    dir: PathBuf,
    clusters: Clusters,
}

impl Prepared {
    /// Looks at the clusters. `dir` is where the number of lanes is remembered.
    ///
    /// # Errors
    /// Where a cluster answers and must not be used, a setting is not taken, or the memory cannot be read. Clusters that
    /// do not answer are no error.
    pub(crate) fn new(plan: Plan, dir: &Path, patience: Patience) -> Result<Self, DrainError> {
        let clusters = Clusters::start(&plan, dir, patience)?;
        Ok(Self { plan, dir: dir.into(), clusters })
    }
}

impl Forward {
    /// Begins to drain.
    ///
    /// # Errors
    /// Where a setting is not taken, or the memory cannot be read or written.
    pub(crate) fn start(prepared: Prepared, reader: Reader) -> Result<Self, DrainError> {
        let Prepared { plan, dir, mut clusters } = prepared;
        clusters.remember_again(&dir)?;
        let control = Arc::new(Control::new(reader.waker()));
        let has_secondary = plan.cluster(Cluster::Secondary).is_configured();
        let forwarder = Forwarder::new(&plan, clusters, reader, Arc::clone(&control))?;
        let figures = forwarder.figures();
        let remote = Remote { figures: Arc::clone(&figures), control, has_secondary };
        let thread = thread::Builder::new().name("forward".into()).spawn(move || {
            let _ended = Ended(figures);
            forwarder.run();
        })?;
        Ok(Self { remote, thread })
    }

    /// What the rest of the process may ask of it.
    pub(crate) fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Another process is about to take over: takes no more from the buffer, waits a little for what is on its way, and ends.
    pub(crate) fn hand_over(self) {
        self.remote.control.hand_over();
        self.join();
    }

    /// Nothing more comes in: drains what is there, within the time that the settings give it, and ends.
    pub(crate) fn finish(self) {
        self.remote.control.finish();
        self.join();
    }

    fn join(self) {
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
