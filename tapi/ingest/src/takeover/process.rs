//! Serving and draining, from an [`Opening`] to its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use service::handover::{Offer, Successor};
use service::{AdminServer, Failure, Listeners, Shutdown};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::opening::Opening;
use super::step::{Step, at};
use super::{Data, Drain, Program};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::quotas::Quotas;
use crate::serve::{Signals, Sockets, serve_or_hand_over};

/// What stays the same through all openings of one process.
pub(super) struct Process<'a, P> {
    pub(super) program: &'a P,
    /// The process was asked to stop.
    pub(super) asked: Shutdown,
    pub(super) live: watch::Receiver<Arc<Live>>,
}

impl<P: Program> Process<'_, P> {
    /// Serves until a stop, or until another process serves in place of this one; `None` then. Else what this process has
    /// taken back, to serve again. `ready` is called with both addresses when it serves.
    ///
    /// # Errors
    /// A thread that failed, a buffer that failed to write, data that does not open again.
    pub(super) fn serve(
        &self,
        opening: Opening<P>,
        ready: impl FnOnce(SocketAddr, SocketAddr),
    ) -> Result<Option<Opening<P>>, Failure> {
        let Opening { data: Data { mut queue, lock }, prepared, listeners, connections, successor } = opening;
        let (program, ports) = (self.program, self.program.ports());
        let metrics = Metrics::new(queue.monitor());
        let copies = listeners.try_clone().map_err(Failure::failed)?;
        let Listeners { work, admin } = listeners;
        let listen = work.first().map(TcpListener::local_addr).transpose().map_err(Failure::failed)?;
        let listen = listen.unwrap_or(ports.listen);
        let (drain, about) = program.start(prepared, &mut queue, &metrics, listen)?;
        let admin = admin.map_or_else(|| AdminServer::bind(ports.admin_listen), Ok).map_err(Failure::failed)?;
        let admin = AdminServer::on(admin, about).map_err(Failure::failed)?;
        let quotas = Quotas::keep(program.data(), self.live.clone()).map_err(Failure::failed)?;
        let (signals, offer) = self.offer(copies);
        if let Some(successor) = successor {
            at(Step::Begun);
            Successor::serving(successor);
        }
        ready(listen, admin.local_addr());

        let sockets = Sockets { listeners: work, connections };
        let limits = &program.ingest().limits;
        let (served, handover, drain) = thread::scope(|scope| {
            let conductor = scope.spawn(|| {
                let Some(handover) = offer.as_ref().and_then(Offer::wait) else { return (None, Some(drain)) };
                at(Step::Wanted);
                // Clients are served meanwhile.
                drain.leave();
                signals.hand_over.trigger();
                (Some(handover), None)
            });
            let served = serve_or_hand_over(sockets, limits, &self.live, &queue.appender(), &metrics, &signals);
            // Of a server that ended by itself.
            offer.as_ref().inspect(|offer| offer.end());
            let (handover, drain) = conductor.join().unwrap_or((None, None));
            (served, handover, drain)
        });
        // Before the next process reads them.
        drop(quotas);
        let drained = drain.map_or(Ok(()), Drain::finish);
        let Some(handover) = handover else {
            queue.close().map_err(Failure::failed)?;
            served.map_err(Failure::failed)?;
            return drained.map(|()| None);
        };
        drop(admin);
        let passed = served.map_err(Failure::failed)?;
        if let Err(error) = queue.close() {
            error!(%error, "the local buffer did not close well; what was acknowledged is safe");
        }
        drop(lock);
        info!(connections = passed.len(), "let go of everything for the next process");
        Opening::given_away(program, handover, passed)
    }

    /// What ends the server, and the offer to hand over; none where the data folder takes no socket.
    fn offer(&self, copies: Listeners) -> (Signals, Option<Offer>) {
        let signals = Signals::default();
        match Offer::start(self.program.data(), copies, &self.asked, &signals.stop) {
            Ok(offer) => (signals, Some(offer)),
            Err(error) => {
                warn!(%error, "no other process can take over from this one");
                (Signals { stop: self.asked.clone(), ..signals }, None)
            }
        }
    }
}
