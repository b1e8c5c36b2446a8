//! Who is in the group of workers, and which partitions of `events.index`, each a lane, the group has given to whom.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::groups::GroupMemberInfo;
use wire::topic::EVENTS_INDEX;

use crate::{Failure, Probe};

/// One worker as the group knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the group gave it.
    pub id: String,
    /// The address that it came from.
    pub host: String,
    /// Partitions of [`EVENTS_INDEX`], and so lanes, that it should own.
    pub partitions: Vec<u32>,
}

impl Member {
    /// The members of the group called `name`, in the order of their ids.
    ///
    /// # Errors
    /// Where the cluster does not answer within `timeout`.
    pub fn all(probe: &Probe, name: &str, timeout: Duration) -> Result<Vec<Self>, Failure> {
        let list = probe.client().fetch_group_list(Some(name), timeout);
        let list = list.map_err(Failure::of("ask for the group"))?;
        let mut members: Vec<_> =
            list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members).map(Self::of).collect();
        members.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(members)
    }

    fn of(member: &GroupMemberInfo) -> Self {
        Self {
            id: member.id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: partitions(member.assignment().unwrap_or_default()).unwrap_or_default(),
        }
    }
}

/// The partitions of [`EVENTS_INDEX`] in an assignment as Kafka's consumer protocol writes it: a version, then each topic
/// with its partitions, all lengths and numbers big-endian.
fn partitions(assignment: &[u8]) -> Option<Vec<u32>> {
    let (_version, rest) = assignment.split_first_chunk::<2>()?;
    let (topics, mut rest) = rest.split_first_chunk()?;
    let mut partitions = Vec::new();
    for _ in 0..u32::from_be_bytes(*topics) {
        let (length, after) = rest.split_first_chunk()?;
        let (topic, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let (count, after) = after.split_first_chunk()?;
        rest = after;
        for _ in 0..u32::from_be_bytes(*count) {
            let (partition, after) = rest.split_first_chunk()?;
            rest = after;
            if topic == EVENTS_INDEX.as_bytes() {
                partitions.push(u32::from_be_bytes(*partition));
            }
        }
    }
    partitions.sort_unstable();
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_names_topics_and_partitions() {
        let topic = |name: &str, partitions: &[u32]| {
            let mut bytes = (name.len() as u16).to_be_bytes().to_vec();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&(partitions.len() as u32).to_be_bytes());
            bytes.extend(partitions.iter().flat_map(|partition| partition.to_be_bytes()));
            bytes
        };
        let head = [0, 1, 0, 0, 0, 2];
        let assignment = [&head[..], &topic("other", &[9]), &topic(EVENTS_INDEX, &[3, 1])].concat();
        assert_eq!(partitions(&assignment), Some(vec![1, 3]));
        assert_eq!(partitions(&[]), None);
        for end in 0..assignment.len() {
            assert_eq!(partitions(&assignment[..end]), None, "cut after {end} bytes");
        }
    }
}
