//! What is known of the two clusters.
//!
//! Threads look at them and write on the [`board`] what they see. Each time something new is on it both are judged
//! again, in the same way before the drain starts and while it runs: a [`Standing`] each, by what each has to be by
//! itself ([`fit`]), beside the other one, and by the number of [`lanes`]. Only what follows differs: a
//! cluster that must not be used keeps tapi from starting; later it gets nothing.

mod board;
mod fit;
mod growth;
mod index;
mod lanes;
mod memory;
mod standing;

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};
use wire::LaneCount;
use wire::topic::Retention;

use self::board::Contacts;
use self::fit::{partitions, warnings};
use self::memory::Memory;
use super::choice::Choice;
use super::error::DrainError;
use super::plan::Plan;
use super::router::Cluster;

pub(crate) use fit::Misfit;
pub(crate) use lanes::Lanes;
pub(crate) use standing::Standing;

/// How long a start waits for the clusters. One that is down does not keep tapi from starting; one that is there and
/// wrong does, and is found within this time.
const FIRST_LOOK: Duration = Duration::from_secs(4);

/// How a start waits for the clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// [Until both have been seen](FIRST_LOOK), so that one that is wrong is found before anything begins.
    FirstLook,
    /// Not at all: clients wait, and both were looked at before.
    None,
}

/// What is known of the two clusters.
#[derive(Debug)]
pub(crate) struct Clusters {
    contacts: Contacts,
    /// The version of the board that was judged; `None` to judge it once more.
    judged: Option<u64>,
    standings: [Standing; 2],
    memory: Memory,
    setting: Option<LaneCount>,
    lanes: Lanes,
    retention: Retention,
}

impl Clusters {
    /// Begins to look at the clusters and judges what is seen of them, within what `patience` says. `dir` is
    /// where the number of lanes is remembered.
    ///
    /// # Errors
    /// Where a cluster answers and must not be used, librdkafka does not take a setting, or the memory cannot be read
    /// or written. Clusters that do not answer are no error.
    pub(crate) fn start(plan: &Plan, dir: &Path, patience: Patience) -> Result<Self, DrainError> {
        let memory = Memory::open(dir)?;
        let contacts = Contacts::start(&plan.clusters)?;
        if patience == Patience::FirstLook {
            contacts.board().wait_for_both(FIRST_LOOK);
        }
        Self::judged_first(contacts, memory, plan.lanes, plan.retention)
    }

    /// Another process has drained since the start: what it remembered counts, by the next judgement.
    ///
    /// # Errors
    /// Where the memory cannot be read.
    pub(crate) fn remember_again(&mut self, dir: &Path) -> Result<(), DrainError> {
        self.memory = Memory::open(dir)?;
        self.judged = None;
        Ok(())
    }

    /// As they stand before anything is drained.
    fn judged_first(
        contacts: Contacts,
        memory: Memory,
        setting: Option<LaneCount>,
        retention: Retention,
    ) -> Result<Self, DrainError> {
        let judged = Some(contacts.board().version());
        let indexes = contacts.board().indexes();
        let lanes = Lanes::of(setting, memory.lanes(), indexes.each_ref());
        if let Lanes::Conflict(sentence) = lanes {
            return Err(DrainError::Lanes(sentence));
        }
        let standings = Standing::of_both(&contacts.board().seen(), lanes.known(), retention);
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(&standings) {
            may_start(cluster, standing)?;
        }
        for (cluster, standing) in Cluster::BOTH.into_iter().zip(&standings) {
            tell(cluster, None, standing, lanes.known(), retention);
        }
        tell_lanes(&lanes);
        Ok(Self { contacts, judged, standings, memory, setting, lanes, retention })
    }

    /// Judges what is new on the board, if anything is. Says whether a standing has changed.
    pub(crate) fn hear(&mut self) -> bool {
        let version = self.contacts.board().version();
        if self.judged == Some(version) {
            return false;
        }
        self.judged = Some(version);
        let seen = self.contacts.board().seen();
        let indexes = self.contacts.board().indexes();
        let lanes = Lanes::of(self.setting, self.memory.lanes(), indexes.each_ref());
        let news = lanes != self.lanes;
        if news {
            tell_lanes(&lanes);
            self.lanes = lanes;
        }
        let standings = Standing::of_both(&seen, self.lanes.known(), self.retention);
        let before = std::mem::replace(&mut self.standings, standings);
        for cluster in Cluster::BOTH {
            let (before, standing) = (&before[cluster as usize], self.standing(cluster));
            // A partition that is left out is said by whoever leaves it out.
            if before.differs(standing) {
                tell(cluster, Some(before), standing, self.lanes.known(), self.retention);
            }
        }
        news || before != self.standings
    }

    /// What one of them is.
    pub(crate) fn standing(&self, cluster: Cluster) -> &Standing {
        &self.standings[cluster as usize]
    }

    /// How many lanes there are, as far as is known.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The partitions of a cluster that records go to; `None` where it gets none.
    pub(crate) fn choice(&self, cluster: Cluster) -> Option<Choice> {
        Choice::new(self.lanes.known()?, self.standing(cluster).partitions()?)
    }

    /// Looks at who leads, and which replicas are in sync, many times a second for a while.
    pub(crate) fn look_at_leaders(&self, cluster: Cluster) {
        if let Some(leadership) = self.contacts.leadership(cluster) {
            leadership.look_closely();
        }
    }

    /// How long ago that was seen to change, if ever.
    pub(crate) fn moved_ago(&self, cluster: Cluster, now: Instant) -> Option<Duration> {
        let changed = self.contacts.leadership(cluster)?.changed()?;
        Some(now.saturating_duration_since(changed))
    }

    /// A record was acknowledged: the lanes that it was sent by stay, durably so on return.
    ///
    /// # Errors
    /// Where that cannot be written; nothing must be forgotten then.
    pub(crate) fn acknowledged(&mut self) -> Result<(), DrainError> {
        self.lanes.known().map_or(Ok(()), |lanes| self.memory.remember(lanes))
    }
}

/// Logs how many lanes there are, or why that is not known.
fn tell_lanes(lanes: &Lanes) {
    match lanes {
        Lanes::Known(lanes) => info!(lanes = lanes.get(), "the number of lanes is known"),
        Lanes::Waiting(reason) => info!(reason, "nothing is drained before the number of lanes is known"),
        Lanes::Unknown(reason) | Lanes::Conflict(reason) => {
            error!(reason, "nothing is drained before the number of lanes is known");
        }
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

/// Logs what a cluster is now, which it was not `before`.
fn tell(cluster: Cluster, before: Option<&Standing>, now: &Standing, lanes: Option<LaneCount>, retention: Retention) {
    match now {
        Standing::Unconfigured => info!(%cluster, "there is no such cluster"),
        // Why it cannot be seen may change with each look; that it cannot is said once.
        Standing::Unseen(_) if matches!(before, Some(Standing::Unseen(_))) => {}
        Standing::Unseen(reason) => info!(%cluster, reason, "the cluster cannot be looked at yet"),
        Standing::Misfit(misfit) => error!(%cluster, %misfit, "the cluster gets no records"),
        Standing::Fit(facts) => {
            info!(%cluster, id = facts.cluster_id(), partitions = partitions(facts), "the cluster can be used");
            let (count, lanes) = (partitions(facts), lanes.map_or(1, LaneCount::get));
            if count % lanes != 0 {
                warn!(%cluster, partitions = count, lanes, "its partitions are no multiple of the lanes; the rest is not used");
            }
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

    use super::lanes::Index;

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
            Clusters::judged_first(self.contacts.take().unwrap(), self.memory(), None, Retention::default())
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
            self.lanes.known().map(LaneCount::get)
        }
    }

    fn facts(id: &str, partition_count: u32) -> Facts {
        let topic = TopicFacts {
            cluster_id: id.into(),
            topic_id: [1; 16],
            partition_count,
            replicas_min: 3,
            ..TopicFacts::default()
        };
        let topics = (partition_count > 0).then_some((EVENTS, topic));
        Facts { topics: topics.into_iter().collect(), ..Facts::default() }
    }

    fn down() -> Look {
        Err("down".into())
    }

    #[test]
    fn the_lanes_are_remembered_with_the_first_acknowledgement_and_not_before() {
        let mut rig = Rig::new();
        let mut clusters = rig.start().unwrap();
        assert_eq!((clusters.count(), rig.memory().lanes()), (None, None));
        clusters.contacts.board().index(Secondary, Index::Genesis(LaneCount::try_new(4).unwrap()));
        assert!(clusters.sees(Secondary, Ok(facts("b", 8))));
        assert_eq!((clusters.count(), rig.memory().lanes()), (Some(4), None), "nothing was acknowledged");
        assert!(clusters.choice(Primary).is_none() && clusters.choice(Secondary).is_some());
        clusters.acknowledged().unwrap();
        assert_eq!(rig.memory().lanes(), LaneCount::try_new(4));
        clusters.contacts.board().index(Primary, Index::Genesis(LaneCount::try_new(8).unwrap()));
        assert!(clusters.hear() && matches!(clusters.lanes(), Lanes::Conflict(_)));
        assert!(clusters.choice(Secondary).is_none(), "nothing goes anywhere");
    }

    #[test]
    fn the_start_and_the_loop_judge_alike() {
        let same_cluster = || (facts("a", 8), facts("a", 8));
        let too_many = || (facts("a", 8), facts("b", 70_000));
        for looks in [same_cluster, too_many] {
            let (primary, secondary) = looks();
            let mut running = Rig::new().start().unwrap();
            running.contacts.board().look(Primary, Ok(primary));
            running.sees(Secondary, Ok(secondary));
            let (primary, secondary) = looks();
            let mut rig = Rig::new().sees(Primary, Ok(primary)).sees(Secondary, Ok(secondary));
            let Err(DrainError::Misfit { cluster, misfit }) = rig.start() else { panic!("it starts") };
            assert_eq!(running.standing(cluster), &Standing::Misfit(misfit));
            assert_eq!(rig.memory().lanes(), None, "a start that is refused leaves nothing behind");
        }
    }

    #[test]
    fn a_start_waits_for_nobody_and_refuses_what_waiting_does_not_mend() {
        let clusters = Rig::new().start().unwrap();
        assert_eq!(clusters.standings, [Standing::Unconfigured, Standing::Unconfigured]);
        let clusters = Rig::new().sees(Primary, down()).sees(Secondary, Ok(facts("b", 8))).start().unwrap();
        assert_eq!(clusters.standing(Primary), &Standing::Unseen("down".into()));
        assert!(clusters.standing(Secondary).is_fit());
        let clusters = Rig::new().sees(Primary, Ok(facts("a", 0))).sees(Secondary, Ok(facts("b", 8))).start().unwrap();
        assert_eq!(clusters.standing(Primary), &Standing::Misfit(Misfit::NoTopic));
        assert!(clusters.standing(Secondary).is_fit(), "the first that fits");
        let refused = Rig::new().sees(Primary, Ok(facts("a", 70_000))).start().unwrap_err().to_string();
        assert!(refused.starts_with("the primary Kafka cluster cannot be used"), "{refused}");
    }

    #[test]
    fn what_cannot_be_remembered_is_said_and_tried_again() {
        let mut rig = Rig::new();
        let mut clusters = rig.start().unwrap();
        clusters.contacts.board().index(Primary, Index::Empty(8));
        assert!(clusters.hear());
        let dir = rig.dir.path().to_owned();
        std::fs::remove_dir(&dir).unwrap();
        assert!(clusters.acknowledged().unwrap_err().to_string().contains("lanes: "));
        std::fs::create_dir(&dir).unwrap();
        clusters.acknowledged().unwrap();
        assert_eq!(rig.memory().lanes(), LaneCount::try_new(8));
    }
}
