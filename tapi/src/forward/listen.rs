//! What the drain hears: of the clusters from those that look at them, and of an operator.

use std::time::Instant;

use kafka::Facts;
use tracing::{error, info, warn};
use wire::PartitionCount;

use super::figures::NOT_CONFIGURED;
use super::fit::{Misfit, fit, partitions, warnings};
use super::forwarder::Forwarder;
use super::handle::Wish;
use super::router::Cluster;

/// What is known of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Unseen(String),
    Fit(Facts),
    Misfit(Misfit),
}

impl Forwarder {
    pub(super) fn hear_clusters(&mut self, now: Instant) {
        let version = self.board.version();
        if self.board_seen == Some(version) {
            return;
        }
        self.board_seen = Some(version);
        let looks = self.board.looks();
        let facts = looks.each_ref().map(|look| look.as_ref().and_then(|look| look.as_ref().ok()));
        for cluster in Cluster::BOTH {
            let standing = match (&looks[cluster as usize], facts[cluster as usize]) {
                (_, Some(seen)) => {
                    let other = facts[cluster.other() as usize];
                    let least_ms = self.kafka.events_retention_ms_min;
                    match fit(cluster, seen, other, self.memory.count(), least_ms) {
                        Ok(()) => self.remember(seen, now),
                        Err(misfit) => Standing::Misfit(misfit),
                    }
                }
                (Some(Err(reason)), _) => Standing::Unseen(reason.clone()),
                (None | Some(Ok(_)), _) => Standing::Unseen("no answer yet".into()),
            };
            self.stand(cluster, standing, now);
        }
    }

    /// The first cluster that fits decides the partition count.
    fn remember(&mut self, seen: &Facts, now: Instant) -> Standing {
        if self.memory.count().is_none()
            && let Some(count) = PartitionCount::try_new(partitions(seen))
        {
            if let Err(error) = self.memory.remember(count) {
                // Looked at again with the next loop.
                self.board_seen = None;
                return Standing::Unseen(error.to_string());
            }
            self.use_partitions(count, now);
        }
        Standing::Fit(seen.clone())
    }

    pub(super) fn use_partitions(&mut self, count: PartitionCount, now: Instant) {
        self.outlets.iter_mut().for_each(|outlet| outlet.set_tracks(count.get() as usize + 1, now));
        self.figures.partitions = Some(count.get());
    }

    fn stand(&mut self, cluster: Cluster, standing: Standing, now: Instant) {
        if self.standings[cluster as usize] == standing {
            return;
        }
        let figures = self.figures.of(cluster);
        figures.misfit = matches!(&standing, Standing::Misfit(misfit) if !misfit.may_pass());
        figures.unusable = match &standing {
            Standing::Unseen(reason) => reason.clone(),
            Standing::Misfit(misfit) => misfit.to_string(),
            Standing::Fit(_) => String::new(),
        };
        let was_unseen = matches!(&self.standings[cluster as usize], Standing::Unseen(reason) if !reason.is_empty());
        let was_fit = matches!(self.standings[cluster as usize], Standing::Fit(_));
        match &standing {
            Standing::Unseen(reason) if reason == NOT_CONFIGURED => info!(%cluster, "there is no such cluster"),
            // Why it cannot be seen may change with each look; that it cannot is said once.
            Standing::Unseen(reason) if !was_unseen => {
                info!(%cluster, reason, "the cluster cannot be looked at yet");
            }
            Standing::Unseen(_) => {}
            Standing::Misfit(misfit) => error!(%cluster, %misfit, "the cluster gets no records"),
            Standing::Fit(facts) => {
                info!(%cluster, id = facts.cluster_id(), partitions = partitions(facts), "the cluster can be used");
                for warning in warnings(facts) {
                    warn!(%cluster, "{warning}");
                }
            }
        }
        self.router.set_usable(cluster, matches!(standing, Standing::Fit(_)));
        self.standings[cluster as usize] = standing;
        if was_fit && !self.router.is_usable(cluster) {
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
