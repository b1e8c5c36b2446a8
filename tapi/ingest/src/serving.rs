//! A server as a process runs it: until a signal, with settings that can be read again.

use std::io;
use std::sync::{Arc, OnceLock};

use service::{Failure, Shutdown};

use crate::config::Config;
use crate::server::{Running, Server};

/// A server that serves until the process is told to stop.
#[must_use = "wait for it"]
pub struct Serving {
    shutdown: Shutdown,
    running: Arc<OnceLock<Running>>,
}

impl Serving {
    /// Starts to serve. At SIGHUP `settings` are read, and what can change while it runs is used: sources, trusted proxies
    /// and limits per source. Wrong ones change nothing.
    ///
    /// # Errors
    /// Where signals or threads cannot be had.
    pub fn start(
        server: Server,
        settings: impl Fn() -> Result<Config, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let is_open = server.is_open();
        let (shutdown, running) = (Shutdown::new(), Arc::new(OnceLock::<Running>::new()));
        let reloaded = Arc::clone(&running);
        let on_reload = move || match settings() {
            Ok(ingest) => {
                reloaded.get().into_iter().for_each(|running| running.reload(&ingest));
                tracing::info!("sources, trusted proxies and limits per source read again");
            }
            Err(failure) => tracing::error!(%failure, "the settings were not read again; the old ones stay in force"),
        };
        shutdown.on_process_signals(on_reload).map_err(Failure::failed)?;
        let _ = running.set(server.run(&shutdown).map_err(Failure::failed)?);
        if is_open {
            tracing::warn!("no sources are configured: any write key is accepted");
        }
        Ok(Self { shutdown, running })
    }

    /// Waits for SIGTERM or SIGINT, and then until what was begun is answered.
    ///
    /// # Errors
    /// Where a thread did not end as it should.
    pub fn wait(self) -> io::Result<()> {
        self.shutdown.wait();
        tracing::info!("stopping: answering what was begun, then draining the local buffer");
        self.running.get().map_or(Ok(()), Running::join)
    }
}
