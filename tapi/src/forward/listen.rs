//! What the drain hears: of the clusters from those that look at them, and of an operator.

use std::time::Instant;

use tracing::{error, info, warn};
use wire::PartitionCount;

use super::error::DrainError;
use super::fit::{partitions, warnings};
use super::forwarder::Forwarder;
use super::handle::Wish;
use super::router::Cluster;
use super::standing::Standing;

impl Forwarder {
    pub(super) fn hear_clusters(&mut self, now: Instant) {
        let version = self.board.version();
        if self.board_seen == Some(version) {
            return;
        }
        self.board_seen = Some(version);
        let seen = self.board.seen();
        let mut standings = Standing::of_both(&seen, self.memory.count(), self.plan.events_retention_ms_min);
        if let Err(error) = self.remember(&standings, now) {
            // Looked at again with the next loop.
            self.board_seen = None;
            let fits = standings.iter_mut().filter(|standing| standing.is_fit());
            fits.for_each(|standing| *standing = Standing::Unseen(error.to_string()));
        }
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(standings) {
            self.stand(cluster, standing, now);
        }
    }

    /// The first cluster that fits decides the partition count.
    fn remember(&mut self, standings: &[Standing; 2], now: Instant) -> Result<(), DrainError> {
        if self.memory.count().is_none()
            && let Some(count) = standings.iter().find_map(Standing::partitions)
        {
            self.memory.remember(count)?;
            self.use_partitions(count, now);
        }
        Ok(())
    }

    pub(super) fn use_partitions(&mut self, count: PartitionCount, now: Instant) {
        self.outlets.iter_mut().for_each(|outlet| outlet.set_tracks(count.get() as usize + 1, now));
        self.figures.partitions = Some(count.get());
    }

    fn stand(&mut self, cluster: Cluster, standing: Standing, now: Instant) {
        let before = self.standings[cluster as usize].replace(standing.clone());
        if before.as_ref() == Some(&standing) {
            return;
        }
        match &standing {
            Standing::Unconfigured => info!(%cluster, "there is no such cluster"),
            // Why it cannot be seen may change with each look; that it cannot is said once.
            Standing::Unseen(_) if matches!(before, Some(Standing::Unseen(_))) => {}
            Standing::Unseen(reason) => info!(%cluster, reason, "the cluster cannot be looked at yet"),
            Standing::Misfit(misfit) => error!(%cluster, %misfit, "the cluster gets no records"),
            Standing::Fit(facts) => {
                info!(%cluster, id = facts.cluster_id(), partitions = partitions(facts), "the cluster can be used");
                for warning in warnings(facts) {
                    warn!(%cluster, "{warning}");
                }
            }
        }
        self.router.set_usable(cluster, standing.is_fit());
        self.figures.of(cluster).standing = standing;
        if before.is_some_and(|before| before.is_fit()) && !self.router.is_usable(cluster) {
            self.take_back(cluster, now);
        }
    }

    pub(super) fn hear_operator(&mut self) {
        let pin = match self.control.take() {
            None => return,
            Some(Wish::Pin(cluster)) => Some(cluster),
            Some(Wish::Release) => None,
        };
        info!(pin = pin.map(Cluster::name), "an operator chose");
        self.router.set_pin(pin);
    }
}
