//! Serving and draining, from an [`Opening`] to its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use ingest::{Live, Metrics, Quotas, Signals, Sockets};
use service::handover::{Offer, Successor};
use service::{AdminServer, Failure, Listeners, Shutdown};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::TapiAdmin;
use crate::config::{Config, Kafka};
use crate::crash::{self, Step};
use crate::forward::Forward;
use crate::opening::Opening;

/// What stays the same through all openings of one process.
pub(crate) struct Process {
    pub(crate) config: Config,
    pub(crate) kafka: Kafka,
    /// The process was asked to stop.
    pub(crate) asked: Shutdown,
    pub(crate) live: watch::Receiver<Arc<Live>>,
}

impl Process {
    /// Serves until a stop, or until another process serves in place of this one; `None` then. Else what this process has
    /// taken back, to serve again. `ready` is called with both addresses when it serves.
    ///
    /// # Errors
    /// A thread that failed, a buffer that failed to write or does not open again.
    pub(crate) fn serve(
        &self,
        opening: Opening,
        ready: impl FnOnce(SocketAddr, SocketAddr),
    ) -> Result<Option<Opening>, Failure> {
        let Opening { mut queue, prepared, listeners, connections, successor } = opening;
        let metrics = Metrics::new(queue.monitor());
        let reader = queue.take_reader().ok_or_else(|| Failure::failed("the buffer's reader is taken"))?;
        let forward = Forward::start(prepared, reader).map_err(Failure::failed)?;
        let copies = listeners.try_clone().map_err(Failure::failed)?;
        let Listeners { work, admin } = listeners;
        let listen = work.first().map(TcpListener::local_addr).transpose().map_err(Failure::failed)?;
        let listen = listen.unwrap_or(self.config.listen);
        let about = TapiAdmin::new(Arc::clone(&metrics), forward.remote(), listen, self.config.ingest.is_open());
        let admin = admin.map_or_else(|| AdminServer::bind(self.config.admin_listen), Ok).map_err(Failure::failed)?;
        let admin = AdminServer::on(admin, Arc::new(about)).map_err(Failure::failed)?;
        let quotas = Quotas::keep(&self.config.data, self.live.clone()).map_err(Failure::failed)?;
        let (signals, offer) = self.offer(copies);
        if let Some(successor) = successor {
            crash::at(Step::Begun);
            Successor::serving(successor);
        }
        ready(listen, admin.local_addr());

        let sockets = Sockets { listeners: work, connections };
        let limits = &self.config.ingest.limits;
        let (served, handover, forward) = thread::scope(|scope| {
            let conductor = scope.spawn(|| {
                let Some(handover) = offer.as_ref().and_then(Offer::wait) else { return (None, Some(forward)) };
                crash::at(Step::Wanted);
                // Clients are served meanwhile.
                forward.hand_over();
                signals.hand_over.trigger();
                (Some(handover), None)
            });
            let served = ingest::serve_or_hand_over(sockets, limits, &self.live, &queue.appender(), &metrics, &signals);
            // Of a server that ended by itself.
            offer.as_ref().inspect(|offer| offer.end());
            let (handover, forward) = conductor.join().unwrap_or((None, None));
            (served, handover, forward)
        });
        // Before the next process reads them.
        drop(quotas);
        forward.into_iter().for_each(Forward::finish);
        let Some(handover) = handover else {
            queue.close().map_err(Failure::failed)?;
            return served.map(|_| None).map_err(Failure::failed);
        };
        drop(admin);
        let passed = served.map_err(Failure::failed)?;
        if let Err(error) = queue.close() {
            error!(%error, "the local buffer did not close well; what was acknowledged is safe");
        }
        info!(connections = passed.len(), "let go of everything for the next process");
        Opening::given_away(&self.config, &self.kafka, handover, passed)
    }

    /// What ends the server, and the offer to hand over; none where the data folder takes no socket.
    fn offer(&self, copies: Listeners) -> (Signals, Option<Offer>) {
        let signals = Signals::default();
        match Offer::start(&self.config.data, copies, &self.asked, &signals.stop) {
            Ok(offer) => (signals, Some(offer)),
            Err(error) => {
                warn!(%error, "no other process can take over from this one");
                (Signals { stop: self.asked.clone(), ..signals }, None)
            }
        }
    }
}
