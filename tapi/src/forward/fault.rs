//! What each error of a delivery means for the record, and for the cluster.

use kafka::Code;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// We took the record back; nobody is to blame.
    TakenBack,
    /// The cluster did not take it now: it goes out again, and counts against the cluster.
    Cluster,
    /// The cluster takes no record of this topic: it is missing, or access to it is denied.
    Topic,
    /// The partition is not there, as far as the producer or the broker knows, or it was left out: another one is
    /// chosen.
    Partition,
    /// The record itself is refused, or another one of its batch: it is tried alone.
    Record,
    /// The producer can do nothing any more: a new one takes its place.
    Producer,
}

impl Fault {
    /// Every fault.
    pub(crate) const ALL: [Self; 6] =
        [Self::TakenBack, Self::Cluster, Self::Topic, Self::Partition, Self::Record, Self::Producer];

    /// Name for people and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TakenBack => "taken_back",
            Self::Cluster => "cluster",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Record => "record",
            Self::Producer => "producer",
        }
    }

    /// The fault that an error code means. A code that is not named here counts against the cluster: the record is
    /// kept and sent again.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::PurgeQueue | Code::PurgeInflight => Self::TakenBack,
            code if is_too_large(code) => Self::Record,
            Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation => Self::Record,
            Code::UnknownTopicOrPartition | Code::UnknownPartition => Self::Partition,
            Code::UnknownTopic
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed => Self::Topic,
            Code::Fatal
            | Code::Fenced
            | Code::GaplessGuarantee
            | Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerEpoch
            | Code::State => Self::Producer,
            _ => Self::Cluster,
        }
    }
}

/// Whether a record, or the batch that it was sent in, is larger than its topic takes, or than a segment of it.
pub(crate) fn is_too_large(code: Code) -> bool {
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_reaction() {
        for (code, fault) in [
            (Code::PurgeQueue, Fault::TakenBack),
            (Code::PurgeInflight, Fault::TakenBack),
            (Code::MessageTimedOut, Fault::Cluster),
            (Code::NotEnoughReplicas, Fault::Cluster),
            (Code::BrokerTransportFailure, Fault::Cluster),
            (Code::MessageSizeTooLarge, Fault::Record),
            (Code::MessageBatchTooLarge, Fault::Record),
            (Code::InvalidTimestamp, Fault::Record),
            (Code::UnknownTopicOrPartition, Fault::Partition),
            (Code::UnknownTopic, Fault::Topic),
            (Code::TopicAuthorizationFailed, Fault::Topic),
            (Code::Fatal, Fault::Producer),
            (Code::UnknownProducerId, Fault::Producer),
        ] {
            assert_eq!(Fault::of(code), fault, "{code:?}");
        }
    }
}
