//! `tapi` as what runs around the server: the drain to Kafka.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ingest::takeover::{Data, Drain, NotOpened, Program, Start};
use ingest::{Metrics, Ports};
use local_buffer::Queue;
use service::{Admin, Failure};

use crate::admin::TapiAdmin;
use crate::config::{Config, Kafka};
use crate::forward::{Forward, Patience, Prepared};

/// The settings of one process.
pub(crate) struct Tapi {
    pub(crate) config: Config,
    pub(crate) kafka: Kafka,
}

impl Program for Tapi {
    type Prepared = Prepared;
    type Drain = Forward;
    const NAME: &'static str = "tapi";

    fn ports(&self) -> Ports {
        self.config.ports()
    }

    fn data(&self) -> &Path {
        &self.config.data
    }

    fn ingest(&self) -> &ingest::Config {
        &self.config.ingest
    }

    fn prepare(&self, start: Start) -> Result<Prepared, Failure> {
        let patience = match start {
            Start::First => Patience::FirstLook,
            Start::Again => Patience::None,
        };
        Prepared::new(self.kafka.plan(), &self.config.data, patience).map_err(Failure::failed)
    }

    fn open(&self) -> Result<Data, NotOpened> {
        // The buffer's own lock is all there is to lock.
        let (queue, _) = self.config.ingest.buffer.open(&self.config.data)?;
        Ok(Data { queue, lock: None })
    }

    fn start(
        &self,
        prepared: Prepared,
        queue: &mut Queue,
        metrics: &Arc<Metrics>,
        listen: SocketAddr,
    ) -> Result<(Forward, Arc<dyn Admin>), Failure> {
        let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader is taken"))?;
        let forward = Forward::start(prepared, reader).map_err(Failure::failed)?;
        let is_open = self.config.ingest.is_open();
        let about = TapiAdmin::new(Arc::clone(metrics), forward.remote(), listen, is_open);
        Ok((forward, Arc::new(about)))
    }
}

impl Drain for Forward {
    fn leave(self) {
        self.hand_over();
    }

    fn finish(self) -> Result<(), Failure> {
        Self::finish(self);
        Ok(())
    }
}
