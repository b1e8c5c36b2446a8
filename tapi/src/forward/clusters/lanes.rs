//! How many lanes there are, by all who say so. Pure.
//!
//! | who | what it is worth |
//! |---|---|
//! | the setting `kafka.lanes`, the memory beside the buffer, the genesis in `events.index` of each cluster | it is so; where two of them differ, nothing is drained |
//! | partitions of an `events.index` whose partition 0 is empty | it will be so, for the first genesis is made of it; believed only while none of those above says anything, and once every cluster has been looked at, because another one may have the genesis |

use std::fmt;

use wire::LaneCount;
use wire::limits::LANES_MAX;
use wire::topic::EVENTS_INDEX;

use crate::forward::router::Cluster;

/// What the topic `events.index` of a cluster says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Index {
    /// It has not been looked at yet.
    #[default]
    Nothing,
    /// There is no such cluster.
    NoCluster,
    /// The cluster has no such topic.
    NoTopic,
    /// It cannot be told, for this reason.
    Untold(String),
    /// Nobody has begun it; it has so many partitions.
    Empty(u32),
    /// Its genesis.
    Genesis(LaneCount),
}

/// How many lanes there are, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// So many.
    Known(LaneCount),
    /// Nobody can say yet, for this reason; waiting may mend it.
    Waiting(String),
    /// Nobody says, for this reason.
    Unknown(String),
    /// Those who say so differ, as this sentence tells.
    Conflict(String),
}

impl Default for Lanes {
    fn default() -> Self {
        Self::Waiting("no cluster has been looked at yet".into())
    }
}

/// Where a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Setting,
    Memory,
    Genesis(Cluster),
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting => out.write_str("the setting kafka.lanes"),
            Self::Memory => out.write_str("the data directory (its file lanes)"),
            Self::Genesis(cluster) => write!(out, "the genesis in {EVENTS_INDEX} of the {cluster} cluster"),
        }
    }
}

impl Lanes {
    /// By the setting, the memory, and what each cluster says.
    pub(super) fn of(setting: Option<LaneCount>, remembered: Option<LaneCount>, indexes: [&Index; 2]) -> Self {
        let genesis = Cluster::BOTH.into_iter().zip(indexes).map(|(cluster, index)| match index {
            Index::Genesis(lanes) => (Source::Genesis(cluster), Some(*lanes)),
            _ => (Source::Genesis(cluster), None),
        });
        let said = [(Source::Setting, setting), (Source::Memory, remembered)].into_iter().chain(genesis);
        let mut said = said.filter_map(|(source, lanes)| Some((source, lanes?)));
        let Some((first, lanes)) = said.next() else { return Self::planned(indexes) };
        match said.find(|(_, other)| *other != lanes) {
            Some(other) => Self::Conflict(conflict((first, lanes), other)),
            None => Self::Known(lanes),
        }
    }

    /// While no genesis is made.
    fn planned(indexes: [&Index; 2]) -> Self {
        let both = || Cluster::BOTH.into_iter().zip(indexes);
        if let Some((cluster, _)) = both().find(|(_, index)| **index == Index::Nothing) {
            return Self::Waiting(format!("the {cluster} cluster has not been looked at yet"));
        }
        let untold = both().find_map(|(cluster, index)| match index {
            Index::Untold(reason) => Some((cluster, reason)),
            _ => None,
        });
        if let Some((cluster, reason)) = untold {
            return Self::Waiting(format!(
                "{EVENTS_INDEX} of the {cluster} cluster does not tell: {reason}; where it may not be read, set \
                 kafka.lanes to the number of its partitions that are used"
            ));
        }
        let mut counts = both().filter_map(|(cluster, index)| match index {
            Index::Empty(count) => Some((cluster, *count)),
            _ => None,
        });
        let Some((cluster, count)) = counts.next() else {
            return Self::Unknown(format!("no cluster has a topic {EVENTS_INDEX}; create it, or set kafka.lanes"));
        };
        if let Some((other, another)) = counts.find(|(_, another)| *another != count) {
            return Self::Unknown(format!(
                "{EVENTS_INDEX} is empty on both clusters and has {count} partitions on the {cluster}, {another} on the \
                 {other}; set kafka.lanes to the right one"
            ));
        }
        LaneCount::try_new(count).map_or_else(
            || Self::Unknown(format!("{EVENTS_INDEX} has {count} partitions, {LANES_MAX} are the most")),
            Self::Known,
        )
    }

    /// The number, where it is known.
    pub(crate) fn known(&self) -> Option<LaneCount> {
        match self {
            Self::Known(lanes) => Some(*lanes),
            Self::Waiting(_) | Self::Unknown(_) | Self::Conflict(_) => None,
        }
    }

    /// Why it is not known.
    pub(crate) fn why_not(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Waiting(reason) | Self::Unknown(reason) | Self::Conflict(reason) => Some(reason),
        }
    }
}

/// Two who differ, and what to do.
fn conflict((one, lanes): (Source, LaneCount), (other, others): (Source, LaneCount)) -> String {
    let (lanes, others) = (lanes.get(), others.get());
    let remedy = match (one, other) {
        (Source::Setting, _) => format!("set kafka.lanes to {others}, or leave it out"),
        (Source::Memory, _) => "events were sent by the former: make sure that these are the clusters of this data \
                                directory, or begin with an empty one once it is drained"
            .into(),
        (Source::Genesis(_), _) => format!("delete {EVENTS_INDEX} on the cluster that no worker writes to"),
    };
    format!("{one} says {lanes} lanes, {other} says {others}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(count: u32) -> LaneCount {
        LaneCount::try_new(count).unwrap()
    }

    fn genesis(lanes: u32) -> Index {
        Index::Genesis(count(lanes))
    }

    #[expect(clippy::needless_pass_by_value, reason = "each is made for one call")]
    fn seen(primary: Index, secondary: Index) -> Lanes {
        Lanes::of(None, None, [&primary, &secondary])
    }

    #[test]
    fn whoever_says_so_first_is_believed_while_the_others_agree() {
        let known = Lanes::Known(count(4));
        let nothing = [&Index::Nothing, &Index::Nothing];
        assert_eq!(Lanes::of(Some(count(4)), None, nothing), known);
        assert_eq!(Lanes::of(None, Some(count(4)), nothing), known);
        assert_eq!(Lanes::of(Some(count(4)), Some(count(4)), [&genesis(4), &genesis(4)]), known);
        assert_eq!(seen(Index::Nothing, genesis(4)), known, "a genesis is never made again");
        assert_eq!(seen(Index::Empty(8), genesis(4)), known, "what is empty decides nothing beside a genesis");
        assert_eq!(Lanes::of(None, Some(count(4)), [&Index::Empty(8), &Index::NoTopic]), known);
    }

    #[test]
    fn those_who_differ_are_named_with_what_to_do() {
        let none = Index::NoCluster;
        for (lanes, says) in [
            (Lanes::of(Some(count(8)), Some(count(4)), [&none, &none]), "set kafka.lanes to 4"),
            (Lanes::of(Some(count(8)), None, [&none, &genesis(4)]), "events.index of the secondary cluster says 4"),
            (Lanes::of(None, Some(count(8)), [&genesis(4), &none]), "the data directory (its file lanes) says 8 lanes"),
            (seen(genesis(4), genesis(8)), "delete events.index"),
        ] {
            let Lanes::Conflict(said) = lanes else { panic!("{says}: {lanes:?}") };
            assert!(said.contains(says), "{said}");
        }
    }

    #[test]
    fn an_empty_topic_is_believed_once_every_cluster_was_looked_at() {
        assert_eq!(seen(Index::Empty(4), Index::NoCluster), Lanes::Known(count(4)));
        assert_eq!(seen(Index::NoTopic, Index::Empty(4)), Lanes::Known(count(4)));
        assert_eq!(seen(Index::Empty(4), Index::Empty(4)), Lanes::Known(count(4)));
        assert!(matches!(seen(Index::Nothing, Index::Empty(4)), Lanes::Waiting(_)), "it may have the genesis");
        assert!(matches!(seen(Index::Empty(4), Index::Untold("denied".into())), Lanes::Waiting(_)));
        assert!(matches!(seen(Index::Empty(4), Index::Empty(8)), Lanes::Unknown(_)));
        assert!(matches!(seen(Index::NoTopic, Index::NoTopic), Lanes::Unknown(_)));
        assert!(matches!(seen(Index::Empty(LANES_MAX + 1), Index::NoCluster), Lanes::Unknown(_)));
    }
}
