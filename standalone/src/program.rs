//! `turnstile` as what runs around the server: the drain to the output files.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ingest::takeover::{Data, Drain as Draining, NotOpened, Program, Start};
use ingest::{Metrics, Ports};
use local_buffer::{Queue, ReaderWaker};
use service::{Admin, DataDir, Failure, Shutdown};

use crate::admin::TurnstileAdmin;
use crate::config::Config;
use crate::drain::Drain;
use crate::figures::Figures;
use crate::run::new_genesis;
use crate::time;

/// The settings of one process.
pub(crate) struct Turnstile {
    pub(crate) config: Config,
    pub(crate) believes_wall: bool,
}

/// The thread of the drain, and what ends it.
pub(crate) struct Thread {
    finish: Shutdown,
    leave: Shutdown,
    waker: ReaderWaker,
    handle: JoinHandle<()>,
}

impl Program for Turnstile {
    type Prepared = ();
    type Drain = Thread;
    const NAME: &'static str = "turnstile";

    fn ports(&self) -> Ports {
        self.config.ports()
    }

    fn data(&self) -> &Path {
        &self.config.data
    }

    fn ingest(&self) -> &ingest::Config {
        &self.config.ingest
    }

    fn prepare(&self, _: Start) -> Result<(), Failure> {
        Ok(())
    }

    fn open(&self) -> Result<Data, NotOpened> {
        let lock = match DataDir::try_lock(self.data()) {
            Ok(Some(lock)) => lock,
            Ok(None) => DataDir::lock(self.data(), Self::NAME, "TURNSTILE_DATA").map_err(NotOpened::Busy)?,
            Err(error) => return Err(NotOpened::Failed(DataDir::cannot(self.data(), &error))),
        };
        let (queue, recovered) = self.config.ingest.buffer.open(&self.config.buffer_dir())?;
        tracing::info!(?recovered, "local buffer open");
        Ok(Data { queue, lock: Some(lock) })
    }

    fn start(
        &self,
        (): (),
        queue: &mut Queue,
        metrics: &Arc<Metrics>,
        listen: SocketAddr,
    ) -> Result<(Thread, Arc<dyn Admin>), Failure> {
        let figures = Arc::new(Figures::default());
        let about = TurnstileAdmin::new(Arc::clone(metrics), &figures, listen, self.config.ingest.is_open());
        let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader was taken"))?;
        let (waker, finish, leave) = (reader.waker(), Shutdown::new(), Shutdown::new());
        let drain = Drain {
            reader,
            instance: queue.instance(),
            layout: self.config.layout(),
            new_genesis: new_genesis()?,
            options: self.config.index_options(),
            clocks: time::HOST,
            believes_wall: self.believes_wall,
            figures,
            finish: finish.clone(),
            leave: leave.clone(),
        };
        let handle = drain.spawn().map_err(Failure::failed)?;
        Ok((Thread { finish, leave, waker, handle }, Arc::new(about)))
    }
}

impl Draining for Thread {
    fn leave(self) {
        self.leave.trigger();
        // What it could not do the next process does.
        let _ = self.finish();
    }

    fn finish(self) -> Result<(), Failure> {
        self.finish.trigger();
        self.waker.wake();
        self.handle.join().map_err(|_| Failure::failed("the drain panicked; nothing is lost, the next start continues"))
    }
}
