//! What is known of the two clusters.
//!
//! Threads look at them and write on the [`board`] what they see. Each time something new is on it both are judged
//! again, in the same way before the drain starts and while it runs: a [`Standing`] each, by what each has to be by
//! itself ([`fit`]), beside the other one, and by the partition count in the [`memory`]. Only what follows differs: a
//! cluster that must not be used keeps tapi from starting; later it gets nothing.

mod board;
mod fit;
mod memory;
mod standing;

use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};
use wire::PartitionCount;
use wire::topic::Retention;

use self::board::Contacts;
use self::fit::{partitions, warnings};
use self::memory::Memory;
use super::error::DrainError;
use super::plan::Plan;
use super::router::Cluster;

pub(crate) use fit::Misfit;
pub(crate) use standing::Standing;

/// How long a start waits for the clusters. One that is down does not keep tapi from starting; one that is there and
/// wrong does, and is found within this time.
const FIRST_LOOK: Duration = Duration::from_secs(4);

/// What is known of the two clusters.
#[derive(Debug)]
pub(crate) struct Clusters {
    contacts: Contacts,
    /// The version of the board that was judged; `None` to judge it once more.
    judged: Option<u64>,
    standings: [Standing; 2],
    memory: Memory,
    retention: Retention,
}

impl Clusters {
    /// Begins to look at the clusters and judges what is seen of them, within [a few seconds](FIRST_LOOK). `dir` is
    /// where the partition count is remembered.
    ///
    /// # Errors
    /// Where a cluster answers and must not be used, librdkafka does not take a setting, or the memory cannot be read
    /// or written. Clusters that do not answer are no error.
    pub(crate) fn start(plan: &Plan, dir: &Path) -> Result<Self, DrainError> {
        let memory = Memory::open(dir)?;
        let contacts = Contacts::start(&plan.clusters)?;
        contacts.board().wait_for_both(FIRST_LOOK);
        Self::judged_first(contacts, memory, plan.retention)
    }

    /// As they stand before anything is drained.
    fn judged_first(contacts: Contacts, mut memory: Memory, retention: Retention) -> Result<Self, DrainError> {
        let judged = Some(contacts.board().version());
        let standings = Standing::of_both(&contacts.board().seen(), memory.count(), retention);
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(&standings) {
            may_start(cluster, standing)?;
        }
        remember(&mut memory, &standings)?;
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(&standings) {
            tell(cluster, None, standing, retention);
        }
        Ok(Self { contacts, judged, standings, memory, retention })
    }

    /// Judges what is new on the board, if anything is. Says whether a standing has changed.
    pub(crate) fn hear(&mut self) -> bool {
        let version = self.contacts.board().version();
        if self.judged == Some(version) {
            return false;
        }
        self.judged = Some(version);
        let seen = self.contacts.board().seen();
        let mut standings = Standing::of_both(&seen, self.memory.count(), self.retention);
        if let Err(error) = remember(&mut self.memory, &standings) {
            // Tried again with the next call.
            self.judged = None;
            let fits = standings.iter_mut().filter(|standing| standing.is_fit());
            fits.for_each(|standing| *standing = Standing::Unseen(error.to_string()));
        }
        let before = std::mem::replace(&mut self.standings, standings);
        for cluster in Cluster::BOTH {
            let (before, standing) = (&before[cluster as usize], self.standing(cluster));
            if before != standing {
                tell(cluster, Some(before), standing, self.retention);
            }
        }
        before != self.standings
    }

    /// What one of them is.
    pub(crate) fn standing(&self, cluster: Cluster) -> &Standing {
        &self.standings[cluster as usize]
    }

    /// The partition count of `events`, on both and for good, from the first contact on.
    pub(crate) fn partitions(&self) -> Option<PartitionCount> {
        self.memory.count()
    }
}

/// Whether tapi may start with a cluster that stands so.
fn may_start(cluster: Cluster, standing: &Standing) -> Result<(), DrainError> {
    match standing {
        Standing::Unseen(reason) => {
            warn!(%cluster, reason, "no answer from the cluster; it is used as soon as it answers");
        }
        Standing::Misfit(misfit) if misfit.may_pass() => warn!(%cluster, %misfit, "the cluster is not used yet"),
        Standing::Misfit(misfit) => return Err(DrainError::Misfit { cluster, misfit: misfit.clone() }),
        Standing::Unconfigured | Standing::Fit(_) => {}
    }
    Ok(())
}

/// The first cluster that fits decides the partition count.
fn remember(memory: &mut Memory, standings: &[Standing; 2]) -> Result<(), DrainError> {
    standings.iter().find_map(Standing::partitions).map_or(Ok(()), |count| memory.remember(count))
}

/// Logs what a cluster is now, which it was not `before`.
fn tell(cluster: Cluster, before: Option<&Standing>, now: &Standing, retention: Retention) {
    match now {
        Standing::Unconfigured => info!(%cluster, "there is no such cluster"),
        // Why it cannot be seen may change with each look; that it cannot is said once.
        Standing::Unseen(_) if matches!(before, Some(Standing::Unseen(_))) => {}
        Standing::Unseen(reason) => info!(%cluster, reason, "the cluster cannot be looked at yet"),
        Standing::Misfit(misfit) => error!(%cluster, %misfit, "the cluster gets no records"),
        Standing::Fit(facts) => {
            info!(%cluster, id = facts.cluster_id(), partitions = partitions(facts), "the cluster can be used");
            for warning in warnings(facts, retention) {
                warn!(%cluster, "{warning}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka::{Facts, Look, TopicFacts};
    use service::Properties;
    use wire::topic::EVENTS;

    use super::Cluster::{Primary, Secondary};
    use super::*;

    /// Looks that are put on the board by hand, and the memory's directory.
    struct Rig {
        contacts: Option<Contacts>,
        dir: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            let nobody = Cluster::BOTH.map(|of| kafka::Cluster::new("tapi", of.name(), "", Properties::default()));
            Self { contacts: Some(Contacts::start(&nobody).unwrap()), dir: tempfile::tempdir().unwrap() }
        }

        fn start(&mut self) -> Result<Clusters, DrainError> {
            Clusters::judged_first(self.contacts.take().unwrap(), self.memory(), Retention::default())
        }

        /// As the next start reads it.
        fn memory(&self) -> Memory {
            Memory::open(self.dir.path()).unwrap()
        }

        fn sees(self, cluster: Cluster, look: Look) -> Self {
            self.contacts.as_ref().unwrap().board().look(cluster, look);
            self
        }
    }

    impl Clusters {
        fn sees(&mut self, cluster: Cluster, look: Look) -> bool {
            self.contacts.board().look(cluster, look);
            self.hear()
        }

        fn count(&self) -> Option<u32> {
            self.partitions().map(PartitionCount::get)
        }
    }

    fn facts(id: &str, partition_count: u32) -> Facts {
        let topic = TopicFacts { cluster_id: id.into(), topic_id: [1; 16], partition_count, replicas_min: 3 };
        let topics = (partition_count > 0).then_some((EVENTS, topic));
        Facts { topics: topics.into_iter().collect(), ..Facts::default() }
    }

    fn down() -> Look {
        Err("down".into())
    }

    #[test]
    fn the_first_that_fits_decides_the_count_once_and_for_good() {
        let mut rig = Rig::new().sees(Primary, down()).sees(Secondary, down());
        let mut clusters = rig.start().unwrap();
        assert_eq!((clusters.count(), rig.memory().count()), (None, None));
        assert!(!clusters.hear(), "nothing is new");
        assert!(clusters.sees(Secondary, Ok(facts("b", 8))));
        assert_eq!((clusters.count(), rig.memory().count()), (Some(8), PartitionCount::try_new(8)));
        assert!(clusters.sees(Primary, Ok(facts("a", 9))));
        assert_eq!(
            clusters.standing(Primary),
            &Standing::Misfit(Misfit::NotAsRemembered { cluster: 9, remembered: 8 })
        );
        assert!(clusters.sees(Secondary, Ok(facts("b", 9))), "grown");
        assert!(!clusters.standing(Secondary).is_fit());
        assert!(clusters.sees(Secondary, Ok(facts("b", 8))) && clusters.standing(Secondary).is_fit());
        assert_eq!((clusters.count(), rig.memory().count()), (Some(8), PartitionCount::try_new(8)));
    }

    #[test]
    fn the_start_and_the_loop_judge_alike() {
        let other_count = || (facts("a", 8), facts("b", 6));
        let same_cluster = || (facts("a", 8), facts("a", 8));
        let too_many = || (facts("a", 8), facts("b", 70_000));
        for looks in [other_count, same_cluster, too_many] {
            let (primary, secondary) = looks();
            let mut running = Rig::new().start().unwrap();
            running.contacts.board().look(Primary, Ok(primary));
            running.sees(Secondary, Ok(secondary));
            let (primary, secondary) = looks();
            let mut rig = Rig::new().sees(Primary, Ok(primary)).sees(Secondary, Ok(secondary));
            let Err(DrainError::Misfit { cluster, misfit }) = rig.start() else { panic!("it starts") };
            assert_eq!(running.standing(cluster), &Standing::Misfit(misfit));
            assert_eq!(rig.memory().count(), None, "a start that is refused leaves nothing behind");
        }
    }

    #[test]
    fn a_start_waits_for_nobody_and_refuses_what_waiting_does_not_mend() {
        let clusters = Rig::new().start().unwrap();
        assert_eq!(clusters.standings, [Standing::Unconfigured, Standing::Unconfigured]);
        let clusters = Rig::new().sees(Primary, down()).sees(Secondary, Ok(facts("b", 8))).start().unwrap();
        assert_eq!(clusters.standing(Primary), &Standing::Unseen("down".into()));
        assert!(clusters.standing(Secondary).is_fit() && clusters.count() == Some(8));
        let clusters = Rig::new().sees(Primary, Ok(facts("a", 0))).sees(Secondary, Ok(facts("b", 8))).start().unwrap();
        assert_eq!(clusters.standing(Primary), &Standing::Misfit(Misfit::NoTopic));
        assert!(clusters.standing(Secondary).is_fit() && clusters.count() == Some(8), "the first that fits");
        let refused = Rig::new().sees(Primary, Ok(facts("a", 70_000))).start().unwrap_err().to_string();
        assert!(refused.starts_with("the primary Kafka cluster cannot be used"), "{refused}");
    }

    #[test]
    fn what_cannot_be_remembered_is_not_used_and_tried_again() {
        let mut rig = Rig::new();
        let mut clusters = rig.start().unwrap();
        let dir = rig.dir.path().to_owned();
        std::fs::remove_dir(&dir).unwrap();
        assert!(clusters.sees(Primary, Ok(facts("a", 8))));
        assert!(matches!(clusters.standing(Primary), Standing::Unseen(reason) if reason.contains("partitions: ")));
        assert!(!clusters.hear() && clusters.count().is_none(), "it still cannot");
        std::fs::create_dir(&dir).unwrap();
        assert!(clusters.hear() && clusters.standing(Primary).is_fit());
        assert_eq!((clusters.count(), rig.memory().count()), (Some(8), PartitionCount::try_new(8)));
    }
}
